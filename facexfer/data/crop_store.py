"""Decoded crops as bytes: in memory, or in a memory-mapped file that all processes share."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.data.image_set import LabelledImage
from facexfer.data.images import READER, read_crop
from facexfer.data.manifest import FaceImage
from facexfer.data.pictures.depths import Depths, find_depths
from facexfer.errors import InputError
from facexfer.files.atomic import replacing
from facexfer.files.folders import make_folder

_MEMORY_BYTES = 4 * 2**30
_CHUNK = 256


class CropStore:
    """The crops of some images, decoded once.

    Without a folder they are kept in memory as far as 4 GiB go (about 110,000 crops of 112x112); the rest is read each
    time. With one, all of them are in a file there, mapped into memory: ranks and workers share its pages, a later run
    finds it ready, and it may be larger than memory. The file is named after the paths, sizes and times of the crops,
    and the bits by which those of more than 8 are read, so that changed crops get another one.

    Args:
        images: The rows.
        size: (height, width) of every crop in pixels.
        folder: Where the file is kept; it is made.
        read: Gives the image of a path at a size, (H, W, 3) uint8 RGB, by the usual bits of its camera's pictures.
        depths: Of the images and what else is read with them; None looks at the images alone.

    Raises:
        InputError: If the folder cannot be made or written to.
    """

    def __init__(
        self,
        images: Sequence[FaceImage | LabelledImage],
        size: tuple[int, int],
        folder: Path | None = None,
        read: Callable[[Path, tuple[int, int], int | None], np.ndarray] = read_crop,
        depths: Depths | None = None,
    ) -> None:
        self._read = read
        self._depths = depths
        self._images = tuple(images)
        self._size = size
        self._folder = folder
        self._kept = len(self._images)
        if folder is not None:
            # So that a run knows before it starts whether it can.
            make_folder(folder, "a folder to keep crops in", "name another in data.cache")
        else:
            self._kept = min(self._kept, _MEMORY_BYTES // (3 * size[0] * size[1]))
        self._crops: np.ndarray | None = None

    def __getitem__(self, index: int) -> np.ndarray:
        """A crop (H, W, 3) uint8 RGB; do not write to it."""
        if index < self._kept:
            crop: np.ndarray = self.load()[index]
            return crop
        return self._read_image(self._images[index])

    def load(self) -> np.ndarray:
        """Have the crops ready, (K, H, W, 3) uint8, before workers are started.

        Raises:
            InputError: If a crop cannot be read, or the folder cannot be written.
        """
        if self._crops is None:
            self._crops = self._in_memory() if self._folder is None else self._mapped(self._folder)
        return self._crops

    def __getstate__(self) -> dict[str, Any]:
        """Leave a mapped file out: the process that gets this opens it itself."""
        return {**self.__dict__, "_crops": None} if self._folder is not None else self.__dict__

    def _read_image(self, image: FaceImage | LabelledImage) -> np.ndarray:
        return self._read(image.path, self._size, self.depths.usual(image))

    @cached_property
    def depths(self) -> Depths:
        """By how many bits each camera's deep pictures are read."""
        return find_depths(self._images) if self._depths is None else self._depths

    def _in_memory(self) -> np.ndarray:
        crops = np.empty((self._kept, *self._size, 3), dtype=np.uint8)
        self._fill(crops)
        return crops

    def _mapped(self, folder: Path) -> np.ndarray:
        shape = (self._kept, *self._size, 3)
        path = folder / f"crops-{self._fingerprint()[:32]}.npy"
        if not path.exists():
            try:
                with replacing(path) as temporary:
                    crops = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
                    _take_space(temporary)
                    self._fill(crops)
                    crops.flush()
            except OSError as error:
                raise InputError(f"{folder}: expected a folder to keep crops in, got: {error}; free space?") from error
        try:
            mapped = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: expected crops of {shape}, got: {error}; remove the file") from error
        if mapped.shape != shape or mapped.dtype != np.uint8:
            raise InputError(f"{path}: expected crops of {shape}, got {mapped.shape}; remove the file")
        return np.asarray(mapped)

    def _fill(self, crops: np.ndarray) -> None:
        _ = self.depths  # Once, before several threads ask.
        with ThreadPoolExecutor() as pool:
            for start in range(0, self._kept, _CHUNK):
                part = self._images[start : min(start + _CHUNK, self._kept)]
                for offset, crop in enumerate(pool.map(self._read_image, part)):
                    crops[start + offset] = crop

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self._size}, {READER}".encode())
        for image in self._images:
            try:
                status = image.path.stat()
            except OSError as error:
                raise InputError(f"{image.path}: expected a crop, got: {error.strerror}; check the path") from error
            digest.update(
                f"{image.path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\n".encode()
            )
            # A manifest that names other cameras has them read otherwise.
            if (bits := self.depths.usual(image)) is not None:
                digest.update(f"{bits} bits\n".encode())
        return digest.hexdigest()


def _take_space(file: Path) -> None:
    """Have a file's space taken at once: on a full disk, writing into a mapped file with holes kills the process."""
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
