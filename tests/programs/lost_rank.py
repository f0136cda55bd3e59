"""Imported, rank 1 ends without a word at the third step, unless torchrun has started it anew."""

import os
import signal

from facexfer.engine.loop import Training

clip = Training._clip


def clip_or_die(self, *given):
    if self.fabric.global_rank == 1 and self.step == 2 and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    clip(self, *given)


Training._clip = clip_or_die
