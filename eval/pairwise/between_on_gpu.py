"""One look at a block of scores on a GPU: what lies between two limits is kept, what lies above is counted.

torch's own operations read the block once for every limit, write masks, and wait for the device to say how many pairs a
mask holds. One kernel reads it once and waits for nothing. It is written in Triton, which comes with torch for GPUs.
"""

import importlib.util
import math

import torch
from torch import Tensor

COLUMNS = 4096
"""Of a block of scores, that one program looks at."""


def is_usable(device: torch.device) -> bool:
    """Whether blocks on a device can be looked through here."""
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None


class Filter:
    """The pairs between two limits.

    Args:
        low: The lower limit, or minus infinity.
        high: The upper limit, or infinity.
        room: How many pairs are kept; of more, any.
        sides: How many row images and column images there are.
        device: Where the blocks are.
    """

    def __init__(self, low: float, high: float, room: int, sides: tuple[int, int], device: torch.device) -> None:
        self._low, self._high, self._room, self._rows = low, high, room, sides[0]
        self._counts = torch.zeros(2, dtype=torch.int64, device=device)
        self._high_by_image = torch.zeros(sum(sides), dtype=torch.int64, device=device)
        self._kept = [
            torch.empty(room, dtype=each, device=device) for each in (torch.float32, torch.int32, torch.int32)
        ]

    def add(self, block: Tensor, top: int, left: int) -> None:
        """Look through a contiguous block (H, W), whose first row and column are ``top`` and ``left``."""
        # A machine without a GPU need not have Triton.
        from facexfer.eval.pairwise.between_kernel import between

        height, width = block.shape
        with torch.cuda.device_of(block):  # type: ignore[no-untyped-call]
            between[(height, -(-width // COLUMNS))](
                block,
                width,
                self._low,
                self._high,
                self._room,
                top,
                left,
                self._rows,
                self._counts,
                self._high_by_image,
                *self._kept,
                has_low=self._low > -math.inf,
                has_high=self._high < math.inf,
                columns=COLUMNS,
                num_warps=8,
            )

    def found(self) -> tuple[int, int, Tensor, Tensor, Tensor, Tensor]:
        """Count scores between the limits, at the lower one, and at or above the upper one by image; and those kept.

        Returns:
            (inside, at_low, (R + Q,) int64, (P,) scores, (P,) rows, (P,) columns), the pairs in any order.
        """
        inside, at_low = self._counts.tolist()
        scores, rows, columns = (each[: min(inside, self._room)] for each in self._kept)
        return inside, at_low, self._high_by_image, scores, rows, columns
