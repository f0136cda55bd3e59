"""What users ask of a verifier besides TAR at FAR, each as one function of a comparison."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from facexfer.data.failures import Failure
from facexfer.data.manifest import FaceImage
from facexfer.data.pairs_file import ListedPair
from facexfer.errors import InputError
from facexfer.eval.collect import labelled_scores
from facexfer.eval.folds import FoldAccuracy, fold_accuracy
from facexfer.eval.identification import Identification, enrol, identify, make_templates
from facexfer.eval.paired import paired_differences
from facexfer.eval.pairwise.labels import join_labels
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.report.findings import BeforeAfter, Slice, WithFailures
from facexfer.eval.scores import operating_points, points_at_thresholds
from facexfer.eval.unit_length import unit_length
from facexfer.eval.verification import OperatingPoint
from facexfer.files.names import clean_name
from facexfer.measure.pair_sets import Comparison, Side

_MOST_SLICES = 50
_EMPTY = "(empty)"


def slice_by(
    comparison: Comparison, column: str, thresholds: Sequence[float], device: str = "cpu"
) -> tuple[Slice, ...]:
    """Measure each value of a manifest column at the thresholds of the whole set.

    Within one set, a slice holds the pairs whose images both have the value; against a gallery, the pairs whose probe
    has it.

    Args:
        comparison: The whole.
        column: ``session``, ``camera``, or any other column of the manifest; an empty value is a value.
        thresholds: A pair is accepted if its score is strictly above.
        device: Where the products are made.

    Returns:
        One slice a value, sorted.

    Raises:
        InputError: If no image has the column, or it has more than 50 values.
    """
    check_column(comparison.probe.images, column)
    values = np.array([_value(image, column) or _EMPTY for image in comparison.probe.images])
    names = np.unique(values)
    slices = []
    for name in names:
        places = np.flatnonzero(values == name)
        part = Comparison(comparison.name, comparison.probe.take(places), comparison.gallery)
        try:
            slices.append(Slice(str(name), len(places), points_at_thresholds(part.pairs(device), thresholds)))
        except InputError as error:
            slices.append(Slice(str(name), len(places), (), str(error)))
    return tuple(slices)


def check_column(images: Sequence[FaceImage], column: str) -> None:
    """Check that images can be sliced by a column.

    Args:
        images: Rows of a manifest.
        column: ``session``, ``camera``, or any other column.

    Raises:
        InputError: If no image has the column, or it has more than 50 values.
    """
    values = {_value(image, column) for image in images}
    if values <= {None}:
        known = {name for name in ("session", "camera") if any(_value(image, name) for image in images)}
        known |= {name for image in images for name in image.extra}
        there = f"there are {', '.join(sorted(known))}" if known else "it has only the required ones"
        raise InputError(f"expected a column of the manifest to slice by, got '{column}'; {there}")
    if len(values) > _MOST_SLICES:
        raise InputError(
            f"expected at most {_MOST_SLICES} values to slice by, '{column}' has {len(values)}; group them"
        )


def count_failures(
    comparison: Comparison,
    points: Sequence[OperatingPoint],
    probe_failures: Sequence[Failure],
    gallery_failures: Sequence[Failure] | None,
) -> WithFailures:
    """Count every pair with a failed photo as rejected (ISO/IEC 19795-1: generalised rates).

    The thresholds stay those of the pairs that could be compared. In templates of one set, a person without a crop
    would have been enrolled by half of the captures and looked up by the others: so many genuine pairs are rejects.

    Args:
        comparison: What could be compared.
        points: Its operating points.
        probe_failures: Photos without a crop among the one set or the probes.
        gallery_failures: Photos without a crop in the gallery; None where people are enrolled from the one set.

    Returns:
        The rates with failures.
    """
    photos, is_one_set = len(probe_failures), comparison.gallery is None or gallery_failures is None
    if gallery_failures is None:
        gallery_failures = ()
        if comparison.gallery is not None:
            probe_failures, gallery_failures = _enrolled(probe_failures, comparison.gallery)
    probe = _with_failures(comparison.probe, probe_failures)
    if comparison.gallery is not None and not comparison.gallery.images:
        # A template fails only if all of a person's photos do, and then there is one template less, not several.
        enrolled = set(comparison.gallery.labels.astype(str))
        people = sorted({failure.identity for failure in gallery_failures} - enrolled)
        gallery_failures = [Failure(identity) for identity in people]
    gallery = None if comparison.gallery is None else _with_failures(comparison.gallery, gallery_failures)
    everything = Comparison(comparison.name, probe, gallery).pairs()
    return WithFailures(
        failures=(0 if is_one_set else len(gallery_failures), photos),
        genuine_pairs=everything.genuine_pairs,
        impostor_pairs=everything.impostor_pairs,
        tar=tuple(
            None if point.tar is None else round(point.tar * point.genuine_pairs) / everything.genuine_pairs
            for point in points
        ),
        far=tuple(
            None if point.false_accepts is None else point.false_accepts / everything.impostor_pairs for point in points
        ),
    )


def search(comparison: Comparison, fars: Sequence[float], templates: bool) -> Identification:
    """Look people up in a gallery of one entry or template per identity.

    Closed-set metrics have everybody enrolled. For the open set every second identity, drawn with a fixed seed, is
    left out of the gallery, and its probes are the impostors.

    Args:
        comparison: Whom there is.
        fars: Targets of the open set.
        templates: Enrol the mean of half of the captures instead of one capture.

    Returns:
        The metrics of the closed set, with the open set's points; none where nobody who is looked up is in the half
        that stays enrolled.

    Raises:
        InputError: If no one can be looked up.
    """
    parts = comparison.enrolled(0.5 if templates else None)
    assert parts.gallery is not None
    entries, names = make_templates(parts.gallery.embeddings, parts.gallery.labels)
    closed = identify(entries, names, parts.probe.embeddings, parts.probe.labels, fars)
    known = np.sort(np.random.default_rng(0).permutation(len(names))[: (len(names) + 1) // 2])
    enrolled, looked_up = join_labels(
        (names[known], len(known), "gallery labels"), (parts.probe.labels, len(parts.probe.labels), "probe labels")
    )
    if len(known) == len(names) or not np.isin(looked_up, enrolled).any():
        return closed
    half = identify(entries[known], names[known], parts.probe.embeddings, parts.probe.labels, fars)
    return Identification(
        closed.rank1, closed.rank1_ci95, closed.cmc, closed.enrolled, closed.mated_probes, half.open_set
    )


def listed_scores(side: Side, pairs: Sequence[ListedPair]) -> np.ndarray:
    """Cosines of listed pairs; -1, which no threshold accepts, where a photo gave no crop.

    Args:
        side: The images that the list refers to.
        pairs: The list.

    Returns:
        (P,) float64.
    """
    units = unit_length(side.embeddings)
    scores = np.full(len(pairs), -1.0)
    for place, pair in enumerate(pairs):
        if pair.first is not None and pair.second is not None:
            scores[place] = units[pair.first] @ units[pair.second]
    return scores


def listed_accuracy(side: Side, pairs: Sequence[ListedPair]) -> FoldAccuracy:
    """Measure accuracy by cross-validation over the folds of a list of pairs.

    Args:
        side: The images that the list refers to.
        pairs: The list.

    Returns:
        The accuracy.

    Raises:
        InputError: If there are fewer than two folds.
    """
    return fold_accuracy(
        listed_scores(side, pairs),
        np.array([pair.same for pair in pairs]),
        np.array([pair.fold for pair in pairs]),
    )


def before_and_after(old: Comparison, new: Comparison, fars: Sequence[float], device: str = "cpu") -> BeforeAfter:
    """Compare two networks on the same pairs, and the old network's gallery with the new network's probes.

    Within one set each image is gallery and probe; it is never compared with itself.

    Args:
        old: By the old network.
        new: The same images by the new one.
        fars: The targets as fractions.
        device: Where the products are made.

    Returns:
        All four sets of metrics.
    """
    old_pairs, new_pairs = old.pairs(device), new.pairs(device)
    old_points = operating_points(old_pairs, fars)
    scores = labelled_scores(old_pairs, fars), labelled_scores(new_pairs, fars)
    differences = paired_differences(*scores, fars, new_pairs.impostor_pairs)
    mixed = _mixed(old, new, device)
    if mixed is None:
        return BeforeAfter(old_points, differences, (), ())
    thresholds = [point.threshold for point in old_points if point.threshold is not None]
    return BeforeAfter(old_points, differences, operating_points(mixed, fars), points_at_thresholds(mixed, thresholds))


def _mixed(old: Comparison, new: Comparison, device: str) -> PairSet | None:
    gallery = old.gallery if old.gallery is not None else old.probe
    if gallery.embeddings.shape[1] != new.probe.embeddings.shape[1]:
        return None
    if old.gallery is not None:
        return Comparison("mixed", new.probe, gallery).pairs(device)
    # Here a shot is an image: it meets all others, but not itself.
    own = np.array([str(place) for place in range(len(gallery.labels))], dtype=object)
    return Comparison("mixed", replace(new.probe, captures=own), replace(gallery, captures=own)).pairs(device)


def _enrolled(failures: Sequence[Failure], gallery: Side) -> tuple[list[Failure], list[Failure]]:
    """Divide the failures of one set as its images are into those looked up, and those of people enrolled by no image.

    Whoever has a template is enrolled already, so that all further photos are looked up.
    """
    known = set(gallery.labels.astype(str))
    strangers = [failure for failure in failures if failure.identity not in known]
    captures = np.array([failure.capture for failure in strangers], dtype=object)
    chosen = enrol(np.array([failure.identity for failure in strangers], dtype=str), captures, 0.5)
    looked_up = [failure for failure in failures if failure.identity in known]
    return [*looked_up, *(strangers[place] for place in chosen.probes)], [strangers[place] for place in chosen.gallery]


def _with_failures(side: Side, failures: Sequence[Failure]) -> Side:
    """Labels and captures of all photos, with placeholders for embeddings, so that pairs can be counted."""
    labels = np.concatenate([side.labels.astype(str), np.array([failure.identity for failure in failures], dtype=str)])
    captures = np.concatenate([side.captures, np.array([failure.capture for failure in failures], dtype=object)])
    nothing, own = np.full(len(failures), None, dtype=object), np.empty(len(failures), dtype=object)
    own[:] = [_shot(failure, side) for failure in failures]
    pictures, shots = (
        None if each is None else np.concatenate([each, theirs])
        for each, theirs in ((side.pictures, nothing), (side.shots, own))
    )
    return Side(np.ones((len(labels), 1), dtype=np.float32), labels, captures, (), pictures, shots)


def _shot(failure: Failure, side: Side) -> tuple[str, str, str] | None:
    """What a failed photo shares with the images of its shot (`Side.shots`); None without a capture or a modality."""
    modalities = {failure.modality} if failure.modality else {image.modality for image in side.images}
    if failure.capture is None or len(modalities) != 1:
        return None
    return failure.identity, modalities.pop(), failure.capture


def _value(image: FaceImage, column: str) -> str | None:
    if column in ("identity", "session", "camera", "capture", "modality", "split"):
        value: str | None = getattr(image, column)
        return value
    text = image.extra.get(column)
    return None if text is None else clean_name(text)
