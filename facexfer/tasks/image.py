"""Image classification: images of a data set in its official layout, top-1, top-5 and per-class accuracy."""

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneInfo
from facexfer.data.augmentation import is_rendering
from facexfer.data.companions import Pictures, own_companions
from facexfer.data.datasets import DATASETS
from facexfer.data.image_dataset import ImageDataset, image_store
from facexfer.data.image_set import ImageSet, LabelledImage
from facexfer.data.images import READER
from facexfer.data.pictures.depths import find_depths
from facexfer.errors import InputError
from facexfer.eval.classification import CLASSIFICATION_METRICS, per_class_accuracy
from facexfer.files.digest import join_digests, picture_digests
from facexfer.networks.embedding import embed_dataset
from facexfer.recipe import PairsSection, Recipe
from facexfer.tasks.task import Task, TaskKind


def image_task(recipe: Recipe, info: BackboneInfo) -> Task:
    """Read and check the data of an image recipe.

    Args:
        recipe: The run.
        info: The backbone's facts; its input size is that of the crops.

    Returns:
        The task.

    Raises:
        InputError: If the data set is not there or not in its layout, or an image cannot be read.
    """
    images = image_set(recipe)
    size = info.input_size
    # One count for both parts, so that the pictures of one camera are read alike.
    depths = find_depths((*images.train, *images.test))
    test_set = ImageDataset(images.test, size, "none", store=image_store(images.test, size, depths))
    evaluator = ImageEvaluator(images, test_set)
    digests, tested = _digests(images.train), _digests(images.test)
    fingerprints = {"training": _fingerprint(images.train, digests), "test": _fingerprint(images.test, tested)}
    store = image_store(images.train, size, depths)
    source_set = plain_source_set = None
    if recipe.source_data is not None:
        originals = _originals(recipe)
        source_set = ImageDataset(originals.train, size, "flip", recipe.seed)
        plain_source_set = ImageDataset(originals.train, size, "none")
        fingerprints["source"] = _fingerprint(originals.train, _digests(originals.train))
    plain = ImageDataset(images.train, size, "none", store=store)
    companions = None
    if recipe.companions is not None:
        if recipe.companions.match != "simulated":
            raise InputError(
                'expected companions.match = "simulated" in an image recipe, where each image accompanies itself, got '
                f'"{recipe.companions.match}"; people and shots are known of faces only'
            )
        companions = own_companions(Pictures(plain, join_digests([READER, *digests])))
    return Task(
        classes=images.classes,
        training_set=ImageDataset(images.train, size, recipe.data.augmentation, recipe.seed, store),
        plain_training_set=plain,
        evaluate=evaluator.evaluate,
        fingerprints=fingerprints,
        source_set=source_set,
        plain_source_set=plain_source_set,
        details=evaluator.details,
        test_set=test_set,
        is_closed=True,
        companions=companions,
        notes=_note_shared(digests, tested),
        is_rendered=is_rendering(recipe.data.augmentation),
    )


def image_fingerprints(recipe: Recipe) -> dict[str, str]:
    """Identify all pictures of a recipe, as a task of it does.

    Args:
        recipe: The run.

    Returns:
        Fingerprints by part.

    Raises:
        InputError: As `image_set`, or if a picture cannot be read.
    """
    images = image_set(recipe)
    parts = {"training": images.train, "test": images.test}
    if recipe.source_data is not None:
        parts["source"] = _originals(recipe).train
    return {part: _fingerprint(chosen, _digests(chosen)) for part, chosen in parts.items()}


def _originals(recipe: Recipe) -> ImageSet:
    chosen = recipe.source_data
    if chosen is None or chosen.dataset is None or chosen.root is None:
        raise InputError("expected source_data.dataset and source_data.root in an image recipe, got neither or one")
    return DATASETS[chosen.dataset](chosen.root, recipe.data.draw_seed)


def _digests(images: Sequence[LabelledImage]) -> list[str]:
    return picture_digests([image.path for image in images])


def image_set(recipe: Recipe) -> ImageSet:
    """Read the images that a recipe chooses.

    Args:
        recipe: The run.

    Returns:
        Training and test images; with `search_share`, both from the training part.

    Raises:
        InputError: If the data set is not named, not there, or a choice cannot be met.
    """
    data = recipe.data
    if data.dataset is None or data.root is None:
        raise InputError("expected data.dataset and data.root in an image recipe, got neither or one; name the layout")
    images = DATASETS[data.dataset](data.root, data.draw_seed)
    if data.images_per_class is not None:
        images = images.limited(data.images_per_class, data.draw_seed)
    if data.search_share > 0:
        images = images.for_search(data.search_share, data.draw_seed)
    for part, chosen in (("training", images.train), ("test", images.test)):
        if not chosen:
            raise InputError(f"{data.root}: expected {part} pictures, found none ({'; '.join(images.notes)})")
    return images


def measure_scores(scores: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """Compute all of `CLASSIFICATION_METRICS` of logits (N, K) and labels (N,), by name."""
    return {name: measure(scores, labels) for name, measure in CLASSIFICATION_METRICS.items()}


class ImageEvaluator:
    """Accuracy of a backbone with its head on the test images.

    Args:
        images: The set.
        dataset: Its test images.
    """

    def __init__(self, images: ImageSet, dataset: ImageDataset) -> None:
        self._images = images
        self._dataset = dataset
        self._labels = np.array([image.label for image in images.test])

    def evaluate(
        self, backbone: nn.Module, head: nn.Module | None, pairs: Sequence[PairsSection]
    ) -> dict[str, float | None]:
        """Measure a classifier.

        Args:
            backbone: A network with `info`.
            head: Of the set's classes; without one there is nothing to measure.
            pairs: Ignored: classification compares no pairs.

        Returns:
            ``top1``, ``top5`` and ``mean_class`` as fractions, and ``test/classification``, the cross-entropy.
        """
        if head is None:
            return {}
        scores = self._scores(backbone, head)
        return measure_scores(scores, self._labels)

    def details(self, backbone: nn.Module, head: nn.Module) -> dict[str, Any]:
        """Each class's top-1 accuracy, which images were right, and the set's notes."""
        scores = self._scores(backbone, head)
        accuracies = per_class_accuracy(scores, self._labels)
        named = zip(self._images.classes, accuracies.tolist(), strict=True)
        right = (scores.argmax(axis=1) == self._labels).astype(int)
        return {
            "notes": list(self._images.notes),
            "per_class": {name: None if np.isnan(value) else value for name, value in named},
            "right": "".join(map(str, right)),
        }

    def _scores(self, backbone: nn.Module, head: nn.Module) -> np.ndarray:
        embeddings: Tensor = embed_dataset(backbone, self._dataset)
        weights = next(head.parameters())
        was_training = head.training
        head.eval()
        with torch.no_grad():
            scores = cast(Any, head).scores(embeddings.to(weights)).float().cpu().numpy()
        head.train(was_training)
        return np.asarray(scores)


def _note_shared(training: Sequence[str], test: Sequence[str]) -> tuple[str, ...]:
    """How many test images are training images too, byte for byte: the published sets are used as they are."""
    known = set(training)
    shared = sum(digest in known for digest in test)
    if not shared:
        return ()
    return (f"warning: {shared} of {len(test)} test images are training images too; they raise the accuracy",)


def _fingerprint(images: Sequence[LabelledImage], digests: Sequence[str]) -> str:
    rows = [f"{image.path.name} {image.label}" for image in images]
    return hashlib.sha256("\n".join([*rows, join_digests(digests)]).encode()).hexdigest()


IMAGE = TaskKind(
    image_task,
    reads=(
        "data.dataset", "data.root", "data.images_per_class", "data.search_share", "data.draw_seed",
        "source_data.dataset", "source_data.root", "companions.match",
    ),
    figures=lambda recipe: ("top1", "top5", "mean_class", "test/classification"),
    fingerprints=image_fingerprints,
)  # fmt: skip
"""The task ``image``."""
