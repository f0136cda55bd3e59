"""Phase correct: the suite's GPU tests, in a process of their own, so that a GPU they break is not this one's."""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree as ET

from campaign.record import Figure, Record

PHASE = "correct"
ROOT = Path(__file__).resolve().parents[2]


class Tests:
    """The tests, running alongside other work.

    Args:
        record: Where their outcome goes.
        seconds: After so many they are stopped.
    """

    def __init__(self, record: Record, seconds: float) -> None:
        self._record, self._end = record, time.monotonic() + seconds
        self._folder = Path(tempfile.mkdtemp())
        self._log = (self._folder / "log").open("w+")
        chosen = ["tests/gpu/test_all_pairs.py", "-k", "nothing"] if record.is_smoke else ["tests/gpu"]
        # Another release of a library may warn of what ours does not: here only outcomes count.
        # One test compares with the CPU, another compiles: several at once end in the time of the slowest.
        many = (os.cpu_count() or 1) >= 8 and importlib.util.find_spec("xdist") is not None
        chosen += ["-n", "6"] if many else []
        words = [*chosen, "-o", "filterwarnings=default", "-p", "no:cacheprovider", "--tb=short", "-q"]
        command = [sys.executable, "-m", "pytest", *words, f"--junit-xml={self._folder / 'outcome.xml'}"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT)

    def finish(self) -> None:
        """Wait for them and keep the outcome."""
        try:
            self._process.wait(timeout=max(1.0, self._end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.flush()
        self._log.seek(0)
        outcome = self._folder / "outcome.xml"
        text = self._log.read()
        figure = _outcome(outcome) if outcome.exists() else {"error": "no outcome; stopped?"}
        self._record.add(PHASE, "tests/gpu", {**figure, "log": text[-6000:]})
        self._log.close()


def _outcome(path: Path) -> Figure:
    cases = list(ET.parse(path).getroot().iter("testcase"))
    names = {
        kind: [_name(case) for case in cases if case.find(kind) is not None] for kind in ("failure", "error", "skipped")
    }
    bad = names["failure"] + names["error"]
    return {
        "passed": len(cases) - len(bad) - len(names["skipped"]),
        "failed": len(bad),
        "skipped": len(names["skipped"]),
        "which failed": bad,
        "slowest": sorted(((float(case.get("time", 0)), _name(case)) for case in cases), reverse=True)[:5],
    }


def _name(case: ET.Element) -> str:
    return f"{case.get('classname')}::{case.get('name')}"
