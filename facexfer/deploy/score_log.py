"""What a deployed device has logged: one score per row, and whose attempt it was, when, and what was decided."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from facexfer.errors import InputError
from facexfer.files.rows import POINTS, read_rows, wrong_width

_USER = ("user", "claimed_identity", "identity")
_DECISION = ("accepted", "decision")
_YES = {"1", "true", "yes", "accept", "accepted", "same"}
_NO = {"0", "false", "no", "reject", "rejected", "different"}
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800
_DECIMALS = re.compile(r"[+-]?\d*\.?(\d*)(?:e([+-]?\d+))?", re.IGNORECASE)


@dataclass(frozen=True)
class ScoreLog:
    """Attempts in the order of the file.

    Attributes:
        scores: (N,) cosine similarities.
        users: (N,) int64, equal for one user; None where the log does not say.
        times: (N,) seconds; None where the log does not say.
        accepted: (N,) bool, what the device decided; None where the log does not say.
        rounding: How far a logged score can be from the device's: half of the last digit written.
    """

    scores: np.ndarray
    users: np.ndarray | None
    times: np.ndarray | None
    accepted: np.ndarray | None
    rounding: float


def read_log(path: Path) -> ScoreLog:
    """Read a log.

    Args:
        path: A CSV with the column ``score``, and any of ``user`` (or ``claimed_identity``, ``identity``), ``time``
            (ISO 8601, in UTC where it has no
            zone, or seconds) and ``accepted`` (or ``decision``: 1 or 0, true or false, accept or reject).

    Returns:
        The attempts.

    Raises:
        InputError: If the file cannot be read, two columns are of one meaning, or a value does not fit its column; the
            error names the line.
    """
    scores: list[float] = []
    times: list[float] = []
    accepted: list[bool] = []
    names: list[str] = []
    user = decision = None
    digits = 0
    for line, row, surplus in read_rows(path, ("score",), "log"):
        if surplus > 0:
            raise wrong_width(path, line, row, surplus, POINTS)
        if not scores:
            user, decision = (_one_column(row, known, path) for known in (_USER, _DECISION))
        scores.append(_score(row["score"].strip(), path, line))
        digits = max(digits, _decimals(row["score"].strip()))
        if user is not None:
            names.append(_filled(row[user], user, path, line))
        if "time" in row:
            times.append(_seconds(_filled(row["time"], "time", path, line), path, line))
        if decision is not None:
            accepted.append(_decided(_filled(row[decision], decision, path, line), decision, path, line))
    if not scores:
        raise InputError(f"{path}: expected attempts, got a heading alone; give a log with rows")
    return ScoreLog(
        np.array(scores),
        np.unique(names, return_inverse=True)[1].astype(np.int64) if names else None,
        np.array(times) if times else None,
        np.array(accepted) if accepted else None,
        0.5 * 10.0**-digits,
    )


def _one_column(row: dict[str, str], known: tuple[str, ...], path: Path) -> str | None:
    """The column of a meaning, under whichever of its names; None where the log has none."""
    named = [name for name in known if name in row]
    if len(named) > 1:
        raise InputError(
            f"{path}, line 1: expected one column of {', '.join(known)}, got {' and '.join(named)}; rename or remove "
            "all but the one that counts"
        )
    return named[0] if named else None


def _filled(text: str, column: str, path: Path, line: int) -> str:
    if not text.strip():
        raise InputError(f"{path}, line {line}, field {column}: expected a value, got nothing; fill it in")
    return text.strip()


def _score(text: str, path: Path, line: int) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    # A little room for the rounding of a product of two float32 unit vectors.
    if not abs(score) <= 1 + 1e-3:
        raise InputError(f"{path}, line {line}, field score: expected a cosine similarity from -1 to 1, got '{text}'")
    return score


def _decimals(text: str) -> int:
    found = _DECIMALS.fullmatch(text)
    if found is None:
        return 0
    return len(found[1]) - int(found[2] or 0)


def _seconds(text: str, path: Path, line: int) -> float:
    try:
        seconds = float(text)
    except ValueError:
        try:
            time = datetime.fromisoformat(text)
            seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, OSError):
            seconds = math.nan
    if not math.isfinite(seconds):
        raise InputError(
            f"{path}, line {line}, field time: expected a time such as 2026-05-04T08:15:00, or seconds, got '{text}'"
        )
    if not _YEAR_1 <= seconds < _YEAR_10000:
        raise InputError(
            f"{path}, line {line}, field time: expected a time of the years 1 to 9999, in seconds since 1970 where it "
            f"is a number, got '{text}'; divide milliseconds by 1000"
        )
    return seconds


def _decided(text: str, column: str, path: Path, line: int) -> bool:
    word = text.casefold()
    if word not in _YES | _NO:
        raise InputError(f"{path}, line {line}, field {column}: expected 1 or 0, or accept or reject, got '{text}'")
    return word in _YES
