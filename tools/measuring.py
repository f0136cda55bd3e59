"""Time and memory of one piece of work, each in its own process."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def in_child(file: str, *words: object) -> dict[str, Any]:
    """Run a benchmark's file as a program and read the JSON line that it ends with.

    Args:
        file: The benchmark's ``__file__``.
        *words: Its command line.

    Returns:
        What `report` printed there.
    """
    tools = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, file, *map(str, words)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tools)},
    )
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def report(work: Callable[[], Any], times: int = 1) -> Any:
    """Run work and print the seconds of its fastest time and the growth of the peak memory as a JSON line.

    ``cpu_seconds`` is what all threads together used, which other programs on the machine hardly change.

    Args:
        work: What is measured.
        times: How often it is run.

    Returns:
        What it gave.
    """
    forget_peak()
    before = peak_megabytes()
    seconds, processor = [], []
    for _ in range(times):
        start, used = time.perf_counter(), time.process_time()
        result = work()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    growth = peak_megabytes() - before
    print(json.dumps({"seconds": min(seconds), "cpu_seconds": min(processor), "megabytes": growth}))
    return result


def peak_megabytes() -> float:
    """The most memory this process has held since `forget_peak`, or ever where the system cannot reset its peak."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def forget_peak() -> None:
    """Let the peak start again from what is held now, where the system can (Linux)."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")
