"""Phase correct: the suite's GPU tests, in a process of their own, so that a GPU they break is not this one's."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from campaign.record import Figure, Record

PHASE = "correct"
ROOT = Path(__file__).resolve().parents[2]


def run(record: Record) -> None:
    """Run the tests within the phase's time."""
    with tempfile.TemporaryDirectory() as folder:
        record.measure(PHASE, "tests/gpu", lambda: _test(record, Path(folder)), needs=5)


def _test(record: Record, folder: Path) -> Figure:
    chosen = ["tests/gpu/test_all_pairs.py", "-k", "nothing"] if record.is_smoke else ["tests/gpu"]
    # One test compares with the CPU, another compiles: several at once end in the time of the slowest.
    many = (os.cpu_count() or 1) >= 8 and importlib.util.find_spec("xdist") is not None
    chosen += ["-n", "10"] if many else []
    # Another release of a library may warn of what ours does not: here only outcomes count.
    words = [*chosen, "-o", "filterwarnings=default", "-p", "no:cacheprovider", "--tb=short", "-q"]
    command = [sys.executable, "-m", "pytest", *words, f"--junit-xml={folder / 'outcome.xml'}"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=record.left)
    except subprocess.TimeoutExpired as error:
        so_far = (error.stdout or b"").decode(errors="replace")
        raise RuntimeError(f"expected the tests to end in {error.timeout:.0f} s, got: {so_far[-300:]}") from error
    if not (folder / "outcome.xml").exists():
        raise RuntimeError(f"expected an outcome, got: {(done.stdout + done.stderr)[-400:]}")
    return {**_outcome(folder / "outcome.xml"), "log": done.stdout[-6000:]}


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
