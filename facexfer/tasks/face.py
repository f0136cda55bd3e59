"""Face recognition: crops from a manifest, identities as classes, TAR at FAR on other identities."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from torch import nn

from facexfer.backbones.parts.info import BackboneInfo
from facexfer.data.augmentation import is_rendering, training_transform
from facexfer.data.companions import Companions, Pictures, bytes_fingerprint, own_companions
from facexfer.data.crop_store import CropStore
from facexfer.data.crops import CropDataset
from facexfer.data.images import check_crops
from facexfer.data.manifest import Manifest, read_manifest
from facexfer.data.mixture import Part
from facexfer.data.pictures.depths import Depths, find_depths
from facexfer.data.repeats import check_pictures_apart, distinct_images, say_repeats
from facexfer.data.splits import check_disjoint, check_trainable
from facexfer.errors import InputError
from facexfer.eval.pairwise.inputs import Keys, pairs_that_share
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import operating_points
from facexfer.networks.embedding import embed_dataset
from facexfer.recipe import EvaluationSection, PairsSection, Recipe
from facexfer.runs.face_images import RunImages, run_images, training_and_validation
from facexfer.tasks.task import Task, TaskKind


def face_task(recipe: Recipe, info: BackboneInfo) -> Task:
    """Read and check the data of a face recipe.

    Args:
        recipe: The run.
        info: The backbone's facts; its input size is that of the crops.

    Returns:
        The task.

    Raises:
        InputError: If the manifest, a split or an image is not fit for the run; nothing has been trained yet.
    """
    if recipe.data.manifest is None:
        raise InputError("expected data.manifest in a face recipe, got none; name the CSV of the crops")
    manifest = read_manifest(recipe.data.manifest)
    training, validation = training_and_validation(manifest, recipe.data)
    check_trainable(training)
    check_disjoint(training, validation)
    images = run_images(recipe, manifest, training, validation)
    depths = images.depths()
    pictures = check_crops([*training.images, *validation.images], info.input_size, depths)
    trained, measured = pictures[: len(training.images)], pictures[len(training.images) :]
    check_pictures_apart(training, trained, validation, measured)
    say_repeats(training, trained)
    labels = [int(label) for label in training.labels()]
    store = CropStore(training.images, info.input_size, recipe.data.cache, depths=depths)
    plain, augmented = (
        CropDataset(
            training.images,
            labels,
            info.input_size,
            training_transform(preset, recipe.seed),
            seed=recipe.seed,
            store=store,
            preset=preset,
        )
        for preset in ("none", recipe.data.augmentation)
    )
    evaluator = FaceEvaluator(validation, measured, info, recipe.evaluation, depths)
    fingerprints = _fingerprints(training, validation)
    notes = _note_bits(depths, fingerprints)
    source_set = None
    if images.source is not None:
        source_set = _plain_crops(images.source, info.input_size, None, depths, (validation, measured))
        fingerprints["source"] = images.source.fingerprint()
    companions, more = _companions(recipe, images, measured, plain, fingerprints)
    return Task(
        classes=training.identities,
        training_set=augmented,
        plain_training_set=plain,
        evaluate=evaluator.evaluate,
        fingerprints=fingerprints,
        source_set=source_set,
        plain_source_set=source_set,
        test_set=evaluator.dataset(recipe.evaluation.pairs[0].probe),
        companions=companions,
        more=more,
        notes=notes,
        spectra=_spectra(training, recipe.data.modality),
        is_rendered=is_rendering(recipe.data.augmentation),
    )


def face_fingerprints(recipe: Recipe) -> dict[str, str]:
    """Identify all pictures of a recipe, and which accompany which, as a task of it does.

    Args:
        recipe: The run.

    Returns:
        Fingerprints by part.

    Raises:
        InputError: If a manifest is missing or damaged, or a picture cannot be read.
    """
    if recipe.data.manifest is None:
        return {}
    manifest = read_manifest(recipe.data.manifest)
    training, validation = training_and_validation(manifest, recipe.data)
    images = run_images(recipe, manifest, training, validation)
    depths = images.depths()
    fingerprints = _fingerprints(training, validation)
    if images.source is not None:
        fingerprints["source"] = images.source.fingerprint()
    if images.companions is not None:
        fingerprints |= _of_companions(bytes_fingerprint(images.companions[0].images, depths), images.companions[1])
    if images.pool is not None:
        fingerprints["pool"] = bytes_fingerprint(images.pool.images, depths)
    return fingerprints


def _of_companions(pictures: str, of_image: Sequence[Sequence[int]]) -> dict[str, str]:
    mapped = hashlib.sha256(repr([tuple(places) for places in of_image]).encode()).hexdigest()
    return {"companions": pictures, "which companions belong to an image": mapped}


def _fingerprints(training: Manifest, validation: Manifest) -> dict[str, str]:
    return {"training": training.fingerprint(), "validation": validation.fingerprint()}


def _spectra(training: Manifest, modalities: str | tuple[str, ...]) -> tuple[int, ...] | None:
    """Each training image's place in the recipe's list of modalities; None without such a list."""
    if isinstance(modalities, str) or len(modalities) < 2:
        return None
    return tuple(modalities.index(image.modality) for image in training.images)


def _note_bits(depths: Depths, fingerprints: dict[str, str]) -> tuple[str, ...]:
    """Report by how many bits deep pictures are read, and add it to what identifies the data."""
    if not depths.text:
        return ()
    fingerprints["bits"] = depths.text
    return (f"bits per channel: {depths.text}",)


def _companions(
    recipe: Recipe, read: RunImages, measured: Sequence[str], plain: CropDataset, fingerprints: dict[str, str]
) -> tuple[Companions | None, tuple[Part, ...]]:
    """Find what accompanies the training images, and what else the batches hold."""
    chosen, companions, more = recipe.companions, None, []
    depths = plain.store.depths

    def as_they_are(images: Manifest) -> Pictures:
        crops = _plain_crops(images, plain.size, recipe.data.cache, depths, (read.validation, measured))
        return Pictures(crops, bytes_fingerprint(images.images, depths))

    if chosen is not None and chosen.match == "simulated":
        if chosen.share > 0:
            raise InputError(
                f'expected no companions.share with companions.match = "simulated", got {chosen.share:g}; there the '
                "training images are rendered themselves"
            )
        pictures = Pictures(plain, bytes_fingerprint(read.training.images, depths))
        companions = own_companions(pictures)
        more += _parts("companions", read.training, pictures, recipe, (("flip", chosen.keep),))
    elif chosen is not None:
        assert read.companions is not None
        images, of_image = read.companions
        pictures = as_they_are(images)
        companions = Companions(pictures, of_image, of_one_shot=chosen.match == "capture")
        uses = ((chosen.augmentation, chosen.share), ("flip", chosen.keep))
        more += _parts("companions", images, pictures, recipe, uses)
        fingerprints |= _of_companions(pictures.fingerprint, of_image)
    pool = read.pool
    if recipe.pool is not None and pool is not None:
        check_disjoint(pool, read.validation)
        uses = ((recipe.pool.augmentation, recipe.pool.share), ("flip", recipe.pool.keep))
        photos = as_they_are(pool)
        more += _parts("pool", pool, photos, recipe, uses)
        fingerprints["pool"] = photos.fingerprint
    if (shares := sum(part.share for part in more)) > 1 + 1e-9:
        raise InputError(
            "expected pool.share, pool.keep, companions.share and companions.keep to sum to at most 1, got "
            f"{shares:g}; they are parts of one batch"
        )
    return companions, tuple(more)


def _parts(
    name: str, images: Manifest, pictures: Pictures, recipe: Recipe, uses: tuple[tuple[str, float], ...]
) -> list[Part]:
    """Make the parts of a batch that show some images, one for each augmentation with a share."""
    plain = cast(CropDataset, pictures.images)
    parts = []
    for preset, share in uses:
        if share > 0:
            transform = training_transform(preset, recipe.seed)
            crops = CropDataset(images.images, plain.labels, plain.size, transform, recipe.seed, plain.store, preset)
            is_kept = preset in ("flip", "none")
            parts.append(
                Part(f"{name} ({preset})", crops, share, is_labelled=False, pictures=pictures, is_kept=is_kept)
            )
    return parts


def _plain_crops(
    images: Manifest,
    size: tuple[int, int],
    cache: Path | None,
    depths: Depths,
    held_out: tuple[Manifest, Sequence[str]],
) -> CropDataset:
    """Take images as they are; none of them is measured on."""
    check_pictures_apart(images, check_crops(images.images, size, depths), *held_out)
    labels = [int(label) for label in images.labels()]
    store = CropStore(images.images, size, cache, depths=depths)
    return CropDataset(images.images, labels, size, training_transform("none", 0), store=store)


class FaceEvaluator:
    """TAR at FAR of a backbone on the validation images.

    Args:
        manifest: The validation images, of all modalities that are asked for.
        pictures: `facexfer.data.repeats.hash_picture` of each; one that is listed again counts once.
        info: The facts of the backbones to come.
        settings: The false accept rates and the pairs.
        depths: Of the images and what else is read with them; None looks at the images alone.

    Raises:
        InputError: If a modality that the pairs name is not there, some pairs cannot be formed, or those that a network
            is chosen by do not support the FAR that it is chosen at.
    """

    def __init__(
        self,
        manifest: Manifest,
        pictures: Sequence[str],
        info: BackboneInfo,
        settings: EvaluationSection,
        depths: Depths | None = None,
    ) -> None:
        depths = find_depths(manifest.images) if depths is None else depths
        self.fars = settings.fars
        modalities = {pairs.probe for pairs in settings.pairs} | {p.gallery for p in settings.pairs if p.gallery}
        self._manifests: dict[str, Manifest] = {}
        self._keys: dict[str, Keys] = {}
        for modality in sorted(modalities):
            listed = manifest.select(modality=modality)
            shown = [each for image, each in zip(manifest.images, pictures, strict=True) if image.modality == modality]
            distinct = distinct_images(listed, shown)
            self._manifests[modality] = Manifest(listed.path, tuple(listed.images[place] for place in distinct.kept))
            self._keys[modality] = (distinct.pictures, distinct.shots)
        names = {identity: label for label, identity in enumerate(manifest.identities)}
        self._labels = {
            modality: np.array([names[image.identity] for image in selected.images])
            for modality, selected in self._manifests.items()
        }
        self._datasets = {
            modality: CropDataset(
                selected.images,
                list(self._labels[modality]),
                info.input_size,
                training_transform("none", 0),
                store=CropStore(selected.images, info.input_size, depths=depths),
            )
            for modality, selected in self._manifests.items()
        }
        # Before training, whatever the embeddings will be.
        blank = {modality: np.ones((len(labels), 1), np.float32) for modality, labels in self._labels.items()}
        for each in settings.pairs:
            try:
                compared = self._compare(each, blank)
            except InputError as error:
                raise InputError(f"evaluation.pairs, {each.name}: {error}") from error
            if each is settings.pairs[0] and settings.best_far is not None:
                _check_best_far(settings.best_far, compared.impostor_pairs, each.name)

    def dataset(self, modality: str) -> CropDataset:
        """The validation crops of a modality."""
        return self._datasets[modality]

    def evaluate(
        self, backbone: nn.Module, head: nn.Module | None, pairs: Sequence[PairsSection]
    ) -> dict[str, float | None]:
        """Measure a backbone.

        Args:
            backbone: A network with `info`.
            head: Of the training identities; verification ignores it.
            pairs: Which comparisons to make.

        Returns:
            ``"nir/tar@0.001"`` and the like -> TAR as a fraction; None where the set cannot support the FAR.
        """
        needed = {each.probe for each in pairs} | {each.gallery for each in pairs if each.gallery}
        embeddings = {modality: embed_dataset(backbone, self._datasets[modality]).numpy() for modality in needed}
        figures: dict[str, float | None] = {}
        for each in pairs:
            for point in operating_points(self._compare(each, embeddings), self.fars):
                figures[_figure(each, point.far)] = point.tar if point.supported else None
        return figures

    def _compare(self, pairs: PairsSection, embeddings: Mapping[str, np.ndarray]) -> PairSet:
        probe = embeddings[pairs.probe]
        if pairs.gallery is None:
            left_out = pairs_that_share(self._keys[pairs.probe])
            return PairSet.within(probe, self._labels[pairs.probe], left_out=left_out)
        return PairSet.against(
            embeddings[pairs.gallery],
            self._labels[pairs.gallery],
            probe,
            self._labels[pairs.probe],
            self._manifests[pairs.gallery].captures(),
            self._manifests[pairs.probe].captures(),
            left_out=pairs_that_share(self._keys[pairs.gallery], self._keys[pairs.probe]),
        )


def _check_best_far(far: float, impostor_pairs: int, name: str) -> None:
    """Refuse to choose a network by a rate that has no figure."""
    if far * impostor_pairs < 1:
        raise InputError(
            f"evaluation.best_far: expected a FAR that the validation pairs support, {1 / impostor_pairs:.1e} or more "
            f"with the {impostor_pairs:,} impostor pairs of {name}, got {far:g}; take a larger one"
        )


def _figure(pairs: PairsSection, far: float) -> str:
    return f"{pairs.name}/tar@{far:g}"


def _figures(recipe: Recipe) -> list[str]:
    settings = recipe.evaluation
    return [_figure(pairs, far) for pairs in settings.pairs for far in settings.fars]


FACE = TaskKind(
    face_task,
    reads=(
        "data.manifest", "data.modality", "data.train_split", "data.val_split", "data.images_per_identity",
        "data.train_identities", "data.search_identities", "data.folds", "data.fold", "data.draw_seed", "data.cache",
        "source_data.manifest", "source_data.modality", "source_data.split", "companions.*", "pool.*",
        "evaluation.fars", "evaluation.pairs", "evaluation.best_far", "evaluation.patience",
    ),
    figures=_figures,
    fingerprints=face_fingerprints,
)  # fmt: skip
"""The task ``face``."""
