"""Imported, rank 1 ends without a word at the third step, unless torchrun has started it anew."""

import os
import signal
from typing import Any

from torch import distributed

from facexfer.engine.loss_log import LossWindow

add = LossWindow.add


def add_or_die(self: LossWindow, step: int, *given: Any) -> None:
    if distributed.get_rank() == 1 and step == 3 and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, step, *given)


LossWindow.add = add_or_die  # type: ignore[method-assign, assignment]
