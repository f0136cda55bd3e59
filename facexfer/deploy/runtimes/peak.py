"""How much memory a process needs that does nothing but embed: run as a program, in its own process."""

import json
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facexfer.deploy.runtimes import choose_runtime
from facexfer.deploy.runtimes.embedder import RuntimeEmbedder
from facexfer.errors import RunError


def peak_megabytes(
    name: str, folder: Path, files: Sequence[str], input_size: tuple[int, int], batch: int | None
) -> float:
    """Measure the peak memory of a process that opens a runtime's file and embeds one crop at a time.

    Args:
        name: Of the runtime and the precision, ``openvino:fp32``.
        folder: Where the files lie.
        files: Their names.
        input_size: (height, width) of the crops in pixels.
        batch: The number of images that a call takes; None for any number.

    Returns:
        Megabytes (10^6 bytes) of resident memory, Python and numpy included.

    Raises:
        RunError: If that process failed.
    """
    words = json.dumps([name, str(folder), list(files), list(input_size), batch])
    done = subprocess.run([sys.executable, "-m", __name__, words], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RunError(f"expected {name} to run in its own process, got: {last}")
    return float(done.stdout.split()[-1])


def _main() -> None:
    name, folder, files, input_size, batch = json.loads(sys.argv[1])
    embedder = RuntimeEmbedder(choose_runtime(name), Path(folder), files, tuple(input_size), batch)
    for _ in range(3):
        embedder.embed(np.zeros((1, *input_size, 3), np.uint8))
    sys.stdout.write(f"{_peak_bytes() / 1e6}\n")


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage would count what the process was before it became this program.
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert peak is not None
        return 1024 * int(peak[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # of macOS, in bytes


if __name__ == "__main__":
    _main()
