"""What a user has: pictures of whom, in which spectra, of the same shots or people, and who can be measured."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facexfer.advice.measurable import Measurable, measurable_pairs
from facexfer.advice.quality import Quality, look_at
from facexfer.data.companions import find_companions
from facexfer.data.manifest import FaceImage, Manifest, read_manifest
from facexfer.errors import InputError
from facexfer.recipe import DataSection
from facexfer.runs.face_images import training_and_validation

_TRAIN, _VAL = "train", "val"
_VISIBLE = "vis"
# Where no validation split is given: this fraction of the people, as `facexfer prepare` does it.
_HELD_OUT = 0.2


@dataclass(frozen=True)
class Amount:
    """How many pictures there are, of how many people, and of one person at least and at most."""

    people: int
    images: int
    fewest: int
    most: int


@dataclass(frozen=True)
class Photos:
    """Photos in the source's spectrum, in one split of a manifest, of nobody who is measured.

    Attributes:
        manifest: The file.
        split: The split.
        images: How many.
        people: Of how many people.
        others: How many of these are not among the people trained on.
    """

    manifest: Path
    split: str
    images: int
    people: int
    others: int


@dataclass(frozen=True)
class Situation:
    """What there is to train on and to measure on.

    Attributes:
        data: Which images a recipe takes.
        new: The modality to adapt to.
        visible: The source's own modality.
        has_new: Whether there are training images in the new one; else `training` is of the source's own.
        training: What is trained on.
        validation: The images of the people who are measured, in all modalities.
        measurable: Which pairs can be measured.
        labelled: Whether identities tell anything: two people or more, one with two images or more.
        same_shot: Training images whose shot was also seen in the source's spectrum.
        same_person: Training images whose person was.
        in_both: People with training images of both spectra in one split of one manifest.
        images_of_both: Training images where both spectra are trained on together; 0 where nobody has both.
        companions: The manifest of these pictures, where it is another one.
        photos: Photos in the source's spectrum, of people who are not measured; None without such photos.
        repeated: Training images whose picture is listed before.
        quality: Of the training images.
    """

    data: DataSection
    new: str
    visible: str
    has_new: bool
    training: Amount
    validation: Amount
    measurable: Measurable
    labelled: bool
    same_shot: int
    same_person: int
    in_both: int
    images_of_both: int
    companions: Path | None
    photos: Photos | None
    repeated: int
    quality: Quality


def read_situation(
    manifest: Path,
    size: tuple[int, int],
    visible_manifest: Path | None = None,
    new: str = "nir",
    visible: str = _VISIBLE,
) -> Situation:
    """Look at everything that a manifest lists.

    Args:
        manifest: Of the crops.
        size: (height, width) in pixels that the network takes.
        visible_manifest: Of further photos in the source's spectrum, in a manifest of their own; `manifest` again adds
            nothing.
        new: The modality to adapt to.
        visible: The modality that the source knows.

    Returns:
        What there is.

    Raises:
        InputError: If a manifest or a picture cannot be read, there is nothing to train on or to measure on, or
            pictures of the source's spectrum are named that are not there.
    """
    images = read_manifest(manifest)
    data, has_new = _choose(images, new, visible)
    training, validation = training_and_validation(images, data)
    people = Counter(image.identity for image in training.images)
    held_out = set(validation.identities)
    measurable = measurable_pairs(validation, (new, visible))
    quality, pictures = look_at(training.images, size)
    sets = [images]
    if visible_manifest is not None and not (visible_manifest.exists() and visible_manifest.samefile(manifest)):
        sets.append(read_manifest(visible_manifest))
    _check_visible(sets, visible)
    seen = [Manifest(each.path, tuple(image for image in each.images if image.modality == visible)) for each in sets]
    matches = [_match(training, each, held_out) for each in seen] if has_new else [(0, 0)]
    same_shot, same_person = max(matches)
    companions = seen[matches.index((same_shot, same_person))].path
    both = {image.identity for image in seen[0].images if image.split == data.train_split} & people.keys()
    both = both if has_new else set()
    together = data.model_copy(update={"modality": (new, visible)})
    return Situation(
        data=data,
        new=new,
        visible=visible,
        has_new=has_new,
        training=_amount(training.images),
        validation=_amount(validation.images),
        measurable=measurable,
        labelled=_is_labelled(people),
        same_shot=same_shot,
        same_person=same_person,
        in_both=len(both),
        images_of_both=len(training_and_validation(images, together)[0].images) if both else 0,
        companions=None if companions == images.path else companions,
        photos=_photos(seen, held_out, set(people)),
        repeated=len(pictures) - len(set(zip(pictures, training.labels().tolist(), strict=True))),
        quality=quality,
    )


def _match(training: Manifest, seen: Manifest, held_out: set[str]) -> tuple[int, int]:
    """Count the training images that have companions by their shot, and by their person."""
    known = Manifest(seen.path, tuple(image for image in seen.images if image.identity not in held_out))
    by_shot, by_person = (find_companions(training, known, by_capture)[1] for by_capture in (True, False))
    return sum(map(bool, by_shot)), sum(map(bool, by_person))


def _check_visible(sets: Sequence[Manifest], visible: str) -> None:
    """Refuse a manifest, or a name, of pictures of the source's spectrum that has none of them."""
    known = sorted({image.modality for image in sets[-1].images})
    if visible not in known and (len(sets) > 1 or visible != _VISIBLE):
        raise InputError(
            f"{sets[-1].path}: expected pictures of modality '{visible}', there are: {', '.join(known)}; say after "
            f"--visible-modality what they are called, or prepare them with --modality {visible}"
        )


def _choose(images: Manifest, new: str, visible: str) -> tuple[DataSection, bool]:
    """Choose split and modality to train on, and people to hold out where the manifest holds out nobody."""
    modalities = {image.modality for image in images.images}
    if not modalities & {new, visible}:
        raise InputError(
            f"{images.path}: expected images of modality '{new}' or '{visible}', there are: "
            f"{', '.join(sorted(modalities))}; give --modality and --visible-modality"
        )
    splits = {image.split for image in images.images}
    train = next(iter(splits)) if len(splits) == 1 else _TRAIN
    part = images.select(split=train)
    has_new = any(image.modality == new for image in part.images)
    modality = new if has_new else visible
    people = Counter(image.identity for image in part.select(modality=modality).images)
    held_out = 0
    if _VAL not in splits or train == _VAL:
        if not _is_labelled(people):
            raise InputError(
                f"{images.path}: expected a split '{_VAL}' of people with two pictures or more to measure on, or "
                "identities to hold out, got neither; label the pictures of some people"
            )
        held_out = max(2, round(_HELD_OUT * len(people)))
    return DataSection(manifest=images.path, modality=modality, train_split=train, search_identities=held_out), has_new


def _is_labelled(people: Counter[str]) -> bool:
    return len(people) > 1 and max(people.values()) > 1


def _amount(images: Sequence[FaceImage]) -> Amount:
    counts = Counter(image.identity for image in images)
    return Amount(len(counts), len(images), min(counts.values()), max(counts.values()))


def _photos(seen: Sequence[Manifest], held_out: set[str], trained: set[str]) -> Photos | None:
    """Take the split with the most other people, or else the most images, of those in which nobody is measured."""
    splits: dict[tuple[Path, str], list[FaceImage]] = defaultdict(list)
    for each in seen:
        for image in each.images:
            splits[each.path, image.split].append(image)
    free = [
        Photos(*place, len(of_split), len(people), len(people - trained))
        for place, of_split in splits.items()
        if not (people := {image.identity for image in of_split}) & held_out
    ]
    return max(free, key=lambda photos: (photos.others, photos.images), default=None)
