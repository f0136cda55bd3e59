"""What a campaign has measured, on disk the moment it is there, and how much time is left for the rest."""

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facexfer.errors import InputError
from facexfer.files.atomic import write_text

Figure = dict[str, Any]
# What a measurement may raise without ending the campaign; an interrupt does end it.
_FAILURES = (ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)


class Record:
    """Figures by phase and name, in one JSON file.

    Args:
        path: The file; what is in it is not measured again.
        device: ``cuda`` or ``cpu``.
        is_smoke: Whether everything is tiny.

    Raises:
        InputError: If the file's figures are of another device or size.
    """

    def __init__(self, path: Path, device: str, is_smoke: bool) -> None:
        self.path, self.device, self.is_smoke = path, device, is_smoke
        self.figures: dict[str, dict[str, Figure]] = {}
        if path.exists():
            known = json.loads(path.read_text())
            # Records of before do not name the device.
            theirs, ours = _kind(known.get("device", device), known["smoke"]), _kind(device, is_smoke)
            if theirs != ours:
                raise InputError(f"{path}: expected figures of {ours}, got those of {theirs}; name another --out")
            self.figures = known["figures"]
        self._facts: Figure = {}
        self._end = float("inf")

    def describe(self, facts: Figure) -> None:
        """Record what all this was measured on."""
        self._facts = facts
        self._write()

    def start(self, phase: str, seconds: float) -> None:
        """Allot a phase its time."""
        self._end = time.monotonic() + seconds
        print(f"== {phase}, {seconds:.0f} s", flush=True)

    @property
    def left(self) -> float:
        """Seconds left to the phase."""
        return self._end - time.monotonic()

    def has(self, phase: str, name: str) -> bool:
        """Whether a figure is there; one that failed is tried again."""
        return "error" not in self.figures.get(phase, {}).get(name, {"error": ""})

    def add(self, phase: str, name: str, figure: Figure) -> None:
        """Keep a figure."""
        self.figures.setdefault(phase, {})[name] = figure
        self._write()
        shown = ", ".join(f"{key} {_short(value)}" for key, value in figure.items() if key != "traceback")
        print(f"{phase} / {name}: {shown}", flush=True)

    def measure(self, phase: str, name: str, work: Callable[[], Figure], needs: float = 1) -> Figure | None:
        """Make a figure if it is not there and ``needs`` seconds are left; a failure is kept in its place.

        Returns:
            The figure, or None if it was not measured.
        """
        if self.has(phase, name):
            return self.figures[phase][name]
        if self.left < needs:
            print(f"{phase} / {name}: no time left", flush=True)
            return None
        start = time.monotonic()
        try:
            figure = work()
        except _FAILURES as error:
            self.add(
                phase, name, {"error": f"{type(error).__name__}: {error}"[:500], "traceback": traceback.format_exc()}
            )
            return None
        self.add(phase, name, {**figure, "wall": round(time.monotonic() - start, 2)})
        return figure

    def _write(self) -> None:
        record = {"smoke": self.is_smoke, "device": self.device, **self._facts, "figures": self.figures}
        write_text(self.path, json.dumps(record, indent=1) + "\n")


def _kind(device: str, is_smoke: bool) -> str:
    return f"--device {device}{' --smoke' if is_smoke else ''}"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) < 90 else text[:90] + "..."
