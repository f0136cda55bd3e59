"""How many bits the pictures of a set use: those of one camera are read alike."""

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from facexfer.data.pictures.deep import bits_to_read
from facexfer.data.pictures.photos import MAX_PIXELS, find_bits, has_deep_pixels

# A set's depth is the greatest that this share of its pictures uses: a few others are of another camera, or damaged.
_SHARE = 0.1
# So many pictures of a camera tell of all.
_MOST = 1000


@dataclass(frozen=True)
class Depths:
    """How many pictures of more than 8 bits use how many, by camera.

    Attributes:
        used: Camera (its modality, and its name where that is known) -> bits -> pictures that use these.
    """

    used: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def usual(self, picture: object) -> int | None:
        """The bits that pictures of this one's camera use, or None if none of them has more than 8."""
        return _usual(self.used.get(_camera(picture), {}))

    def read_as(self) -> dict[str, dict[str, int]]:
        """Camera -> bits -> how many pictures are read with these, for a report."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for camera, used in self.used.items():
            for bits, count in sorted(used.items()):
                found[camera or "pictures"][str(bits_to_read(bits, _usual(used)))] += count
        return {camera: dict(counts) for camera, counts in found.items()}

    @property
    def text(self) -> str:
        """What was assumed, in one line; empty where all pictures have 8 bits."""
        return "; ".join(_sentence(camera or "pictures", used) for camera, used in sorted(self.used.items()))


def find_depths(pictures: Sequence[Any], files: Iterable[Path | bytes] | None = None) -> Depths:
    """Look through pictures for those of more than 8 bits, at whose pixels 1,000 per camera are looked at.

    Args:
        pictures: What tells of a camera by its ``modality`` and ``camera``: rows of a manifest, entries of a layout;
            others are of one camera.
        files: The file of each, or its bytes; what cannot be read is passed over. None takes each picture's ``path``.

    Returns:
        The depths.
    """
    if files is None:
        files = [picture.path for picture in pictures]
    deep: dict[str, list[Path | bytes]] = defaultdict(list)
    for picture, file in zip(pictures, files, strict=True):
        if _is_deep(file):
            deep[_camera(picture)].append(file)
    used: dict[str, Counter[int]] = {}
    for camera, found in deep.items():
        step = -(-len(found) // _MOST)
        bits = [find_bits(_read(file), MAX_PIXELS) for file in found[::step]]
        if counts := Counter(each for each in bits if each is not None):
            used[camera] = counts
    return Depths(used)


def _usual(used: Mapping[int, int]) -> int | None:
    least = _SHARE * sum(used.values())
    return max((bits for bits, count in used.items() if count >= least), default=None)


def _sentence(camera: str, used: Mapping[int, int]) -> str:
    usual = _usual(used)
    alike = [bits for bits in sorted(used) if bits_to_read(bits, usual) == usual]
    dark = [f"{used[bits]} of them use {bits} only" for bits in alike if bits != usual]
    others = [f"{used[bits]} are read as {bits}-bit" for bits in sorted(used) if bits not in alike]
    said = f"{camera}: {sum(used[bits] for bits in alike):,} deep pictures are read as {usual}-bit"
    if dark:
        said += f" ({', '.join(dark)})"
    return f"{said}, {' and '.join(others)}: of another camera?" if others else said


def _camera(picture: object) -> str:
    return " ".join(filter(None, (getattr(picture, "modality", ""), getattr(picture, "camera", None))))


def _is_deep(file: Path | bytes) -> bool:
    try:
        if isinstance(file, bytes):
            return has_deep_pixels(io.BytesIO(file))
        # A pipe or a device would be waited for without end.
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            reader: BinaryIO = opened
            return has_deep_pixels(reader)
    except (OSError, ValueError):
        return False


def _read(file: Path | bytes) -> bytes:
    try:
        return file if isinstance(file, bytes) else file.read_bytes()
    except OSError:
        return b""
