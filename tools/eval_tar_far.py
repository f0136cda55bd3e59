"""Measure TAR at FAR: ``python tools/eval_tar_far.py --model RUN --manifest CSV --probe nir --far 1e-3 1e-4``."""

from facexfer.commands.entry import run_command
from facexfer.commands.evaluate import evaluate

if __name__ == "__main__":
    run_command(evaluate)
