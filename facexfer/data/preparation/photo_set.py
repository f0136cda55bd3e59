"""From a set of photos to a prepared folder: crops, manifest, split, failures, contact sheet."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facexfer.data.failures import NO_ATTEMPT
from facexfer.data.layouts import LAYOUTS, layout_options
from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.layouts.landmarks_file import with_landmarks
from facexfer.data.layouts.walk import count_others
from facexfer.data.manifest import Manifest, read_manifest
from facexfer.data.pictures.photos import MAX_PIXELS
from facexfer.data.preparation.align import template
from facexfer.data.preparation.apart import check_splits_apart
from facexfer.data.preparation.choose import CHOICES
from facexfer.data.preparation.contact_sheet import write_contact_sheet
from facexfer.data.preparation.crop import CropOptions
from facexfer.data.preparation.earlier import Earlier, check_draw, check_entries, read_earlier
from facexfer.data.preparation.outputs import write_tables
from facexfer.data.preparation.prepare import preparing
from facexfer.data.preparation.renamed import follow_renamed
from facexfer.data.protocols import TRAIN, VAL, Listed, draw_splits, keep_splits
from facexfer.errors import InputError
from facexfer.files.links import real_path

_CHOOSE, _MIN_SCORE = "largest-central", 0.6
_MIN_EYE_DISTANCE, _MIN_SHARPNESS = CropOptions.min_eye_distance, CropOptions.min_sharpness


@dataclass(frozen=True)
class PreparedFolder:
    """A folder of crops.

    Attributes:
        path: The folder.
        summary: How many of how many, by person, and the settings: as in ``summary.json``. ``summary["crops"]`` may
            be 0: `failures_file` says why.
    """

    path: Path
    summary: dict[str, Any]

    @property
    def manifest_file(self) -> Path:
        """The crops: ``images.csv``."""
        return self.path / "images.csv"

    @property
    def failures_file(self) -> Path:
        """The photos without a crop, each with its reason: ``failures.csv``."""
        return self.path / "failures.csv"

    @property
    def contact_sheet(self) -> Path:
        """Crops to look at before one relies on them: ``contact-sheet.png``."""
        return self.path / "contact-sheet.png"

    @property
    def manifest(self) -> Manifest:
        """The crops, read from `manifest_file`."""
        return read_manifest(self.manifest_file)


def prepare(
    photos: str | Path,
    out: str | Path,
    *,
    layout: str = "folders",
    detector: str | Path | None = None,
    landmarks: str | Path | None = None,
    pre_cropped: bool = False,
    size: tuple[int, int] = (112, 112),
    choose: str | None = None,
    jobs: int = 1,
    modality: str | None = None,
    identity_regex: str | None = None,
    fold: str | None = None,
    protocol: str | None = None,
    draw: int | None = None,
    val_identities: int | None = None,
    min_score: float | None = None,
    min_eye_distance: float = _MIN_EYE_DISTANCE,
    min_sharpness: float = _MIN_SHARPNESS,
    max_pixels: int = MAX_PIXELS,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> PreparedFolder:
    """Detect, choose, align and crop the faces of a set of photos; what was interrupted continues.

    Args:
        photos: The folder of photos, or the file of the set.
        out: A new folder; or the one of an earlier call, to continue what was stopped or to add photos that have come
            since. People who are in a split there stay in it.
        layout: The set's form, one of `facexfer.data.layouts.LAYOUTS`; ``folders`` is a folder per identity.
        detector: A YuNet or InsightFace ONNX file, or the name of an InsightFace pack such as ``buffalo_sc``.
        landmarks: CSV of ``path`` and ``x1,y1 ... x5,y5`` (or two eyes) instead of detection.
        pre_cropped: The photos are aligned crops already.
        size: (height, width) of a crop in pixels.
        choose: Which of several faces, one of `facexfer.data.preparation.choose.CHOICES`; the largest and most central
            if it is left out.
        jobs: Processes.
        modality: Of the photos, if the layout does not state it; ``nir`` if it is left out.
        identity_regex: Takes the identity from the path, such as ``^(\\d+)_``.
        fold: Of casia-nir-vis2: 1 (if left out) to 10, or dev.
        protocol: Split: polyu-nirfd, identity-disjoint, vis-nir, vis-nir-one; None splits as the layout does.
        draw: Which draw of the protocol; 0 if it is left out. A folder has one protocol and one draw.
        val_identities: How many to hold out; None holds out a fifth.
        min_score: Fainter detections are no faces, 0..1; 0.6 if it is left out.
        min_eye_distance: In pixels of the photo; below it a face is too small.
        min_sharpness: Less is too blurred; 0 takes all.
        max_pixels: Larger photos are refused unread.
        advance: Told (done, all) after each photo.

    Returns:
        The folder; its `manifest` is what `facexfer.embed`, `facexfer.evaluate` and a recipe take.

    Raises:
        InputError: If the photos, the folder or what is asked is unfit.
        RunError: If a process dies, or a crop cannot be written.

    Example:
        >>> prepare("no-photos", "crops")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facexfer.errors.InputError: no-photos: expected a folder of photos or the file of a set, found none; ...
    """
    photos, out = Path(photos), Path(out)
    if pre_cropped and (detector is not None or landmarks is not None):
        raise InputError("expected --pre-cropped alone, got --detector or --landmarks with it; leave one out")
    if modality is not None and not modality.strip():
        raise InputError("expected a name after --modality, got nothing; give vis, nir or the like")
    left = {
        "--choose": choose, "--min-score": min_score,
        "--min-eye-distance": None if min_eye_distance == _MIN_EYE_DISTANCE else min_eye_distance,
        "--min-sharpness": None if min_sharpness == _MIN_SHARPNESS else min_sharpness,
    }  # fmt: skip
    unread = [option for option, value in left.items() if value is not None]
    if pre_cropped and unread:
        raise InputError(
            f"expected --pre-cropped alone, got {' and '.join(unread)}; crops stay as they are, leave it out"
        )
    choose, min_score = choose or _CHOOSE, _MIN_SCORE if min_score is None else min_score
    idle = [
        option for option, value in {"--draw": draw, "--val-identities": val_identities}.items() if value is not None
    ]
    if protocol is None and idle:
        raise InputError(f"expected --protocol with {' and '.join(idle)}, got none; name one or leave them out")
    CHOICES[choose]
    template(size)  # another size is an error before the work
    _check_apart(photos, out)
    given = {"modality": modality, "identity_regex": identity_regex, "fold": fold}
    listed = LAYOUTS[layout](photos, layout_options(layout, given))
    entries = list(with_landmarks(listed, Path(landmarks)) if landmarks is not None else listed)
    if not entries:
        raise InputError(
            f"{photos}: expected photos, the layout {layout} lists none; is it the right folder or layout?"
        )
    facts: dict[str, Any] = {"layout": layout}
    there = read_earlier(out)
    earlier = None if there is None else follow_renamed(there, entries)
    if protocol is not None:
        entries, facts["split"] = _split(entries, protocol, draw or 0, val_identities, earlier)
    if earlier is not None:
        check_entries(earlier, entries)
    check_splits_apart(photos, entries)
    options = CropOptions(size, choose, min_eye_distance, min_sharpness, max_pixels, pre_cropped)
    advance(0, len(entries))
    model = None if detector is None else str(detector)
    with preparing(entries, out, options, model, min_score, jobs, advance) as prepared:
        # Splits were drawn and checked by what was there before the folder was held.
        if read_earlier(out) != there:
            raise InputError(
                f"{out}: expected the tables that were there at the start, got those of a run that came between; "
                "run the same command again, or give another --out"
            )
        advance(len(entries), len(entries))
        facts["files_not_looked_at"] = count_others(photos) if photos.is_dir() else {}
        made = PreparedFolder(out, write_tables(out, prepared, facts))
        write_contact_sheet(made.contact_sheet, out, prepared)
    return made


def _check_apart(photos: Path, out: Path) -> None:
    if not photos.exists():
        raise InputError(f"{photos}: expected a folder of photos or the file of a set, found none; check the path")
    if photos.is_dir() and real_path(photos) in (real_path(out), *real_path(out).parents):
        raise InputError(
            f"{out}: expected a folder outside of {photos}, or crops would be taken for photos; move --out"
        )


def _split(
    entries: list[PhotoEntry], protocol: str, draw: int, held_out: int | None, earlier: Earlier | None
) -> tuple[list[PhotoEntry], dict[str, Any]]:
    photos = list(_listed(entries))
    drawn = made = draw_splits(photos, protocol, draw, held_out)
    if earlier is not None:
        check_draw(earlier, drawn, photos, held_out)
        made = keep_splits(drawn, photos, earlier.splits)
    split = [replace(entry, split=part) for entry, part in zip(entries, made.splits, strict=True)]
    people = {
        part: sorted({entry.identity for entry in split if entry.split == part and entry.identity})
        for part in (TRAIN, VAL)
    }
    facts: dict[str, Any] = {
        "name": made.name,
        "fingerprint": made.fingerprint,
        "val_identities": held_out,
        "identities": {part: len(names) for part, names in people.items()},
        "val": people[VAL],
    }
    moves = zip(photos, drawn.splits, made.splits, strict=True)
    if kept := sorted({photo.identity for photo, new, old in moves if new != old}):
        facts["kept"] = kept
    return split, facts


def _listed(entries: Iterable[PhotoEntry]) -> Iterator[Listed]:
    names: set[str] = set()
    for entry in entries:
        reason = None if entry.problem is None else entry.problem[0]
        is_attempt = entry.name not in names and reason not in NO_ATTEMPT
        yield Listed(entry.name, entry.identity, entry.modality, is_attempt)
        names.add(entry.name)
