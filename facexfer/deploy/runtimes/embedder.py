"""A runtime's file as an embedder of crops."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facexfer.deploy.runtimes.runtime import Choice
from facexfer.files.digest import files_digest
from facexfer.files.fixed_batches import CPU_BATCH, call_in_batches


class RuntimeEmbedder:
    """What a runtime's `open` gave, for crops; a `facexfer.measure.embedder.Embedder`.

    Args:
        choice: The runtime and the precision.
        folder: Where the files lie.
        files: Their names, first the one to open.
        input_size: (height, width) of the crops in pixels.
        batch: The number of images that a call takes; None for any number.
        threads: How many; None lets the library choose.

    Raises:
        InputError: If the runtime's library is missing or a file is damaged.
    """

    def __init__(
        self,
        choice: Choice,
        folder: Path,
        files: Sequence[str],
        input_size: tuple[int, int],
        batch: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.name = f"{folder.name}, {choice.name}"
        self.path = folder
        self.fingerprint = files_digest([folder / name for name in files])
        self.input_size = input_size
        self._batch = batch
        self._session = choice.runtime.open(folder / files[0], choice.precision, threads)

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """Embed crops (N, H, W, 3) uint8 RGB as (N, D) float32."""
        images = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        return call_in_batches(self._session, images, self._batch or CPU_BATCH, self._batch is not None)
