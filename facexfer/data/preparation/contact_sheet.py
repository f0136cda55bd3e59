"""A picture for a person to look at: random crops, and failures of every kind."""

from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from facexfer.data.images import read_rgb
from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.pictures.photos import PhotoError, decode_photo
from facexfer.data.preparation.align import template
from facexfer.data.preparation.crop import write_png
from facexfer.data.preparation.prepare import Prepared

_TILE = 112
_LABEL = 16
_COLUMNS = 12
_OF_A_KIND = 6
_INK, _PAPER, _POINT = (40, 40, 40), (250, 250, 248), (0, 160, 90)


def write_contact_sheet(path: Path, out: Path, prepared: Prepared, crops: int = 72, seed: int = 0) -> None:
    """Draw crops with the places where the five points must lie, then failed photos, kind by kind.

    Args:
        path: The PNG to write.
        out: The prepared folder.
        prepared: What became of every photo.
        crops: How many crops, drawn at random.
        seed: Of the draw.
    """
    made = [
        (entry.identity, crop)
        for entry, record, crop in zip(prepared.entries, prepared.records, prepared.crops, strict=True)
        if not record.reason
    ]
    chosen = np.random.default_rng(seed).permutation(len(made))[:crops]
    tiles = [_tile(_marked(read_rgb(out / made[index][1])), made[index][0]) for index in sorted(chosen)]
    sections = [_section(f"{len(tiles)} of {len(made)} crops; the dots are where eyes, nose and mouth must be", tiles)]
    for reason, kind in _failures(prepared).items():
        shown = [_tile(picture, name) for name, picture in kind[1]]
        sections.append(_section(f"{reason}: {len(shown)} of {kind[0]}", shown))
    write_png(path, np.vstack(sections))


def _failures(prepared: Prepared) -> dict[str, tuple[int, list[tuple[str, np.ndarray]]]]:
    by_reason = defaultdict(list)
    for entry, record in zip(prepared.entries, prepared.records, strict=True):
        if record.reason:
            by_reason[record.reason].append((entry, record))
    kinds = {}
    for reason, failed in sorted(by_reason.items()):
        shown = [(entry.name, _thumbnail(entry, bool(record.pixels_hash))) for entry, record in failed[:_OF_A_KIND]]
        kinds[reason] = (len(failed), shown)
    return kinds


def _thumbnail(entry: PhotoEntry, decodable: bool) -> np.ndarray:
    tile = np.full((_TILE, _TILE, 3), 210, dtype=np.uint8)
    if not decodable:
        cv2.line(tile, (0, 0), (_TILE, _TILE), (170, 170, 170), 1)
        cv2.line(tile, (0, _TILE), (_TILE, 0), (170, 170, 170), 1)
        return tile
    try:
        image = decode_photo(entry.read(), usual_bits=entry.usual_bits).pixels
    except (PhotoError, OSError):
        return tile
    scale = _TILE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    tile[: small.shape[0], : small.shape[1]] = small
    return tile


def _marked(crop: np.ndarray) -> np.ndarray:
    crop = crop.copy()
    for x, y in template((crop.shape[0], crop.shape[1])).round().astype(int):
        cv2.circle(crop, (int(x), int(y)), 1, _POINT, -1)
    return crop


def _tile(picture: np.ndarray, label: str) -> np.ndarray:
    tile = np.full((_TILE + _LABEL, _TILE + 4, 3), _PAPER, dtype=np.uint8)
    left = (_TILE - picture.shape[1]) // 2
    tile[: picture.shape[0], left + 2 : left + 2 + picture.shape[1]] = picture
    text = label.encode("ascii", "replace").decode()
    return _write(tile, text if len(text) < 19 else "..." + text[-15:], (3, _TILE + 12), 0.32)


def _section(title: str, tiles: list[np.ndarray]) -> np.ndarray:
    width = _COLUMNS * (_TILE + 4)
    rows = [_write(np.full((26, width, 3), _PAPER, dtype=np.uint8), title, (4, 18), 0.45)]
    for start in range(0, len(tiles), _COLUMNS):
        row = np.hstack(tiles[start : start + _COLUMNS])
        rows.append(cv2.copyMakeBorder(row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=_PAPER))
    return np.vstack(rows)


def _write(picture: np.ndarray, text: str, place: tuple[int, int], size: float) -> np.ndarray:
    return np.asarray(cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA))
