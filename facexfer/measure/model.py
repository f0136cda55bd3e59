"""A model on the images of a manifest: everything that can be asked about it, and about what it replaces."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facexfer.data.failures import Failure, follow_people, read_failures, select_failures
from facexfer.data.manifest import Manifest
from facexfer.data.pairs_file import ListedPair, read_pairs
from facexfer.data.pictures.depths import find_depths
from facexfer.errors import InputError
from facexfer.eval.report.findings import Findings
from facexfer.eval.report.page import ShownPair
from facexfer.files.links import real_path
from facexfer.files.names import clean_name
from facexfer.measure.embedder import Embedder, Model, load, path_of
from facexfer.measure.evaluate import Request, evaluate_comparison, show_worst
from facexfer.measure.listed import evaluate_list, list_defines_pairs, show_worst_listed, without_self_pairs
from facexfer.measure.pair_sets import Comparison, Side, compare, embed_side
from facexfer.measure.questions import check_column, listed_accuracy
from facexfer.measure.trained_on import trained_people

_VISIBLE = "vis"


@dataclass(frozen=True)
class ImageChoice:
    """Which images of a manifest are compared.

    Attributes:
        manifest: All images.
        split: Only this one; None takes all.
        probe: The probes' modality; None takes all images as one set.
        gallery: The gallery's modality; None compares the probes among themselves.
    """

    manifest: Manifest
    split: str | None = None
    probe: str | None = None
    gallery: str | None = None

    def __post_init__(self) -> None:
        for field in ("split", "probe", "gallery"):
            name = getattr(self, field)
            object.__setattr__(self, field, None if name is None else clean_name(name))


class MeasuredModel:
    """A model on the images of a manifest.

    Args:
        choice: Which images.
        flip: Whether the embedding of the mirrored crop is added.
        say: Shows a line.

    Raises:
        InputError: If the choice selects nothing.
    """

    def __init__(self, choice: ImageChoice, flip: bool, say: Callable[[str], None]) -> None:
        self._choice, self._flip, self._say = choice, flip, say
        self._images: Manifest = choice.manifest.select(split=choice.split)
        self._comparison: Comparison | None = None
        self._listed: tuple[Side, tuple[ListedPair, ...]] | None = None

    def failures(self, path: Path | None) -> tuple[tuple[Failure, ...] | None, tuple[Failure, ...]]:
        """Read the photos without a crop, of the probes and of the gallery; None where none are counted."""
        if path is None:
            return None, ()
        choice = self._choice
        everything = follow_people(read_failures(path), choice.manifest.images)
        return (
            select_failures(everything, choice.split, choice.probe),
            select_failures(everything, choice.split, choice.gallery) if choice.gallery is not None else (),
        )

    def evaluate(
        self,
        new: tuple[Model, str | None],
        old: tuple[Model | None, str | None],
        request: Request,
        listed: Path | None,
        gallery: tuple[Model | None, str | None] = (None, None),
    ) -> Findings:
        """Answer every question asked.

        Args:
            new: The model, with its network's name for foreign weights.
            old: What it replaces, or None.
            request: What is asked.
            listed: A list of pairs; where identities are known only from it, its pairs are all there are.
            gallery: The gallery's own model, or None.

        Returns:
            The findings.

        Raises:
            InputError: If a model, the list or an image is bad, or a question has no answer for these images.
        """
        chosen = self._images.select(modality=self._choice.probe)
        for column in request.columns:
            check_column(chosen.images, column)
        pairs = None if listed is None else tuple(read_pairs(listed, chosen, request.probe_failures or ()))
        embedder = self._open(*new)
        facts: dict[str, Any] = {
            "split": self._choice.split,
            "model": {"name": embedder.name, "sha256": embedder.fingerprint},
            "data": {"images": len(self._images.images), "sha256": self._images.fingerprint()},
        }
        depths = find_depths(self._images.images)
        if depths.text:
            self._say(f"bits per channel: {depths.text}")
            facts["data"]["bits"] = depths.read_as()
        if pairs is not None:
            facts |= self._lost(pairs)
        if pairs is not None and list_defines_pairs(chosen.images, pairs):
            if self._choice.gallery is not None or old[0] is not None:
                raise InputError(
                    "expected identities with several images for --gallery or --before, identities are known only "
                    "from the pair list; leave them out"
                )
            side = embed_side(embedder, chosen)
            assert side.pictures is not None
            pairs = without_self_pairs(pairs, side.pictures.tolist())
            self._listed = side, pairs
            return replace(evaluate_list(side, pairs, request, facts), caveats=self._trained_on(new[0]))
        enrolled = None
        if gallery[0] is not None:
            enrolled = self._open(gallery[0], gallery[1])
            facts["gallery_model"] = {"name": enrolled.name, "sha256": enrolled.fingerprint}
        self._comparison = self._compare(embedder, enrolled)
        if repeated := len(self._comparison.places or ()) - len(self._comparison.probe.labels):
            facts["data"]["repeated"] = repeated
        before = visible = None
        if old[0] is not None:
            former = self._open(old[0], old[1])
            facts["old_model"] = {"name": former.name, "sha256": former.fingerprint}
            before = self._compare(former)
            visible = self._within_visible(former, embedder)
        findings = evaluate_comparison(self._comparison, request, before, visible, facts)
        findings = replace(findings, caveats=self._trained_on(new[0], old[0], gallery[0]))
        if pairs is None:
            return findings
        places = self._comparison.places
        assert places is not None
        moved = [replace(pair, first=_moved(pair.first, places), second=_moved(pair.second, places)) for pair in pairs]
        distinct = without_self_pairs(moved, range(len(places)))
        if len({pair.fold for pair in distinct}) < 2:
            self._say("the list has one fold: its accuracy needs a threshold of other folds and is left out")
            return findings
        return replace(findings, folds=listed_accuracy(self._comparison.probe, distinct))

    def worst(self, count: int, pictures: bool) -> list[ShownPair]:
        """Collect the worst pairs of what `evaluate` has compared; with their images, which are biometric data."""
        if self._listed is not None:
            return show_worst_listed(*self._listed, count, pictures)
        return [] if self._comparison is None else show_worst(self._comparison, count, pictures)

    def _open(self, model: Model, backbone: str | None) -> Embedder:
        return load(model, backbone, flip=self._flip)

    def _compare(self, embedder: Embedder, gallery_embedder: Embedder | None = None) -> Comparison:
        return compare(embedder, self._images, self._choice.probe, self._choice.gallery, gallery_embedder)

    def _within_visible(self, former: Embedder, embedder: Embedder) -> tuple[Comparison, Comparison] | None:
        """Compare both models within visible light, where there are such images and they are not measured anyway."""
        there = {image.modality for image in self._images.images}
        assert self._comparison is not None
        if _VISIBLE not in there or not there - {_VISIBLE} or self._comparison.name == _VISIBLE:
            return None
        old = compare(former, self._images, _VISIBLE, None)
        try:
            old.pairs()
        except InputError as error:
            # Nobody asked for this section: a gallery of one picture per person has none, and the rest stands.
            self._say(f"what it cost in visible light cannot be told: {error}")
            return None
        return old, compare(embedder, self._images, _VISIBLE, None)

    def _trained_on(self, *models: Model | None) -> tuple[str, ...]:
        """Say which of the models has been trained on people that are measured."""
        choice = self._choice
        images = [image for image in self._images.images if choice.probe in (None, image.modality)]
        if choice.gallery is not None:
            images += [image for image in self._images.images if image.modality == choice.gallery]
        people = len({image.identity or str(image.path) for image in images})
        lines = []
        for model in models:
            count, split = trained_people(model, images)
            path = path_of(model)
            if count and path is not None:
                instead = f"measure the split '{split}'" if split and split != choice.split else "measure others"
                name = path.name or real_path(path).name
                lines.append(
                    f"{count:,} of the {people:,} people measured are people that {name} was trained on: "
                    f"such figures are too good for strangers; {instead}"
                )
        return tuple(lines)

    def _lost(self, pairs: tuple[ListedPair, ...]) -> dict[str, int]:
        lost = sum(None in (pair.first, pair.second) for pair in pairs)
        if not lost:
            return {}
        self._say(f"{lost:,} of {len(pairs):,} listed pairs have a photo without a crop and count as rejects")
        return {"listed_pairs_with_a_failed_photo": lost}


def _moved(place: int | None, places: tuple[int, ...]) -> int | None:
    return None if place is None else places[place]
