"""Which pictures accompany a training image: of its shot, of its person, or the image before its rendering."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facexfer.data.image_set import LabelledImage
from facexfer.data.images import READER
from facexfer.data.manifest import FaceImage, Manifest, captures_of_several
from facexfer.data.pictures.depths import Depths, find_depths
from facexfer.data.training_set import TrainingSet
from facexfer.errors import InputError
from facexfer.files.digest import join_digests, picture_digests


@dataclass(frozen=True)
class Pictures:
    """Pictures that the source network sees once, before training.

    Attributes:
        images: The pictures, as they are.
        fingerprint: `bytes_fingerprint` of their files, by which embeddings of them are found again.
    """

    images: TrainingSet
    fingerprint: str


@dataclass(frozen=True)
class Companions:
    """Which pictures belong to each training image.

    Attributes:
        pictures: All of them.
        of_image: For every training image the places of its companions in `pictures`; empty where it has none.
        of_one_shot: Whether an image and its companion are of one shot, so that they lie on each other.
    """

    pictures: Pictures
    of_image: tuple[tuple[int, ...], ...]
    of_one_shot: bool

    @property
    def missing(self) -> int:
        """How many training images have no companion."""
        return sum(not places for places in self.of_image)


def own_companions(pictures: Pictures) -> Companions:
    """Take every training image, as it is before its augmentation, for its own companion."""
    return Companions(pictures, tuple((place,) for place in range(len(pictures.images))), of_one_shot=True)


def find_companions(
    training: Manifest, candidates: Manifest, by_capture: bool
) -> tuple[tuple[FaceImage, ...], tuple[tuple[int, ...], ...]]:
    """Find every training image's companions, if there are any.

    Args:
        training: The training images.
        candidates: Where companions are looked for, of their modality alone; training images may be among them, but
            none is its own companion.
        by_capture: Match pictures of one shot (`FaceImage.capture`); else those of one identity.

    Returns:
        The candidates that accompany anything, in their order, and for every training image their places in that.
    """

    # Where one name is given to shots of several people, a person's own are meant.
    shared = captures_of_several((*training.images, *candidates.images))

    def key(image: FaceImage) -> str | None:
        if not by_capture:
            return image.identity
        return f"{image.identity}\0{image.capture}" if image.capture in shared else image.capture

    wanted: dict[str | None, set[Path]] = defaultdict(set)
    for image in training.images:
        wanted[key(image)].add(image.path)
    wanted.pop(None, None)

    def accompanies(image: FaceImage) -> bool:
        # No picture accompanies itself; another training image may.
        others = wanted.get(key(image), set())
        return len(others) > (image.path in others)

    chosen = tuple(filter(accompanies, candidates.images))
    places: dict[str | None, list[int]] = defaultdict(list)
    own: dict[Path, set[int]] = defaultdict(set)
    for place, image in enumerate(chosen):
        places[key(image)].append(place)
        own[image.path].add(place)
    return chosen, tuple(
        tuple(place for place in places.get(key(image), ()) if place not in own.get(image.path, ()))
        for image in training.images
    )


def match_companions(
    training: Manifest, candidates: Manifest, by_capture: bool
) -> tuple[tuple[FaceImage, ...], tuple[tuple[int, ...], ...]]:
    """Find every training image's companions, of which there must be some.

    Args:
        training: As for `find_companions`.
        candidates: Likewise.
        by_capture: Likewise.

    Returns:
        As `find_companions`.

    Raises:
        InputError: If no image has a companion; the error says which methods the data allow.
    """
    chosen, places = find_companions(training, candidates, by_capture)
    if not chosen:
        column = "capture" if by_capture else "identity"
        raise InputError(
            f"{candidates.path}: expected companions of the {len(training.images)} training images, none of the "
            f"{len(candidates.images)} candidates shares a {column} with them; {_what_is_left(training, candidates)}; "
            "facexfer advise looks for the rest"
        )
    return chosen, places


def _what_is_left(training: Manifest, candidates: Manifest) -> str:
    if find_companions(training, candidates, by_capture=False)[0]:
        return 'the same people are in both: companions.match = "identity" would do'
    return (
        "the people differ: name photos of any people in [pool] (method csd), or train without companions "
        "(methods l2, afa; unlabelled: adabn)"
    )


def bytes_fingerprint(images: Sequence[FaceImage | LabelledImage], depths: Depths | None = None) -> str:
    """Hash the files of some images in their order (SHA-256, hex).

    Those of more than 8 bits are read by what their camera's pictures use, which the manifest decides: where there are
    such, the bits and the reader's number are hashed, too.

    Args:
        images: The images.
        depths: Of them, where somebody has looked; None looks.

    Raises:
        InputError: If a file cannot be read.
    """
    digests = picture_digests([image.path for image in images])
    depths = find_depths(images) if depths is None else depths
    bits = [depths.usual(image) for image in images]
    if any(each is not None for each in bits):
        digests += [READER, *(f"{each or 8} bits" for each in bits)]
    return join_digests(digests)
