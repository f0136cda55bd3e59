"""Where the real data and weights lie that some tests need."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("FACEXFER_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def shared(relative: str) -> Path:
    """Give the path of a shared file or folder, or skip the test, saying so, where it is absent."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"{relative} not found under {SHARED}; set FACEXFER_SHARED to the folder that holds it")
    return path
