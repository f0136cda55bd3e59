"""Where the real data and weights lie that some tests need."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("FACEXFER_TEST_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def shared(relative: str) -> Path:
    """The path of a shared file or folder; where it is absent, the test is skipped with a reason."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"{relative} not found under {SHARED}; set FACEXFER_SHARED to the folder that holds it")
    return path
