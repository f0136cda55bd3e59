"""Score files of any other toolkit: two .npy files, or a CSV of pairs; similarities or distances."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from facexfer.errors import InputError
from facexfer.eval.arrays import read_array
from facexfer.eval.curves import area_under_roc, curve_of_scores
from facexfer.files.rows import POINTS, read_rows, wrong_width

_GENUINE = {"1", "true", "genuine", "same"}
_IMPOSTOR = {"0", "false", "impostor", "different"}


@dataclass(frozen=True)
class ScoreSet:
    """Scores of pairs, higher meaning more alike.

    Attributes:
        genuine: (P,) of pairs of one person.
        impostor: (N,) of pairs of two.
        distances: Whether the file held distances; the scores are their negatives.
    """

    genuine: np.ndarray
    impostor: np.ndarray
    distances: bool


def read_scores(
    genuine: ArrayLike | Path, impostor: ArrayLike | Path | None = None, distances: bool = False
) -> ScoreSet:
    """Read scores.

    Args:
        genuine: (P,) an array, a .npy file, a text file of one score per line (after a heading, if any), or a CSV with
            ``score`` and ``same`` columns (1 or 0, true or false, genuine or impostor), which holds both kinds.
        impostor: (N,) the other array or file; None for a CSV of both.
        distances: Whether lower means more alike.

    Returns:
        The scores.

    Raises:
        InputError: If a file is damaged, a row has too many fields, a score is not finite, a kind is missing, or
            genuine pairs score below impostor pairs, as they do when distances are taken for similarities.
    """
    if impostor is not None:
        kinds = _read_kind(genuine, "genuine"), _read_kind(impostor, "impostor")
    elif not isinstance(genuine, str | Path):
        raise InputError("expected genuine and impostor scores, got one array; give both, genuine first")
    else:
        kinds = _read_csv(Path(genuine))
    if distances:
        kinds = -kinds[0], -kinds[1]
    area = area_under_roc(curve_of_scores(*kinds)).value
    if area < 0.5:
        wrong, cure = ("distances", "without") if distances else ("similarities", "with")
        raise InputError(
            f"{_called(genuine, 'scores')}: expected {wrong}, but genuine pairs are less alike than impostor pairs "
            f"(AUC {area:.3f}); run it {cure} --distances, or check the labels"
        )
    return ScoreSet(*kinds, distances)


def _read_kind(source: ArrayLike | Path, kind: str) -> np.ndarray:
    if not isinstance(source, str | Path) or Path(source).suffix.lower() not in (".csv", ".txt"):
        return _checked(read_array(source), _called(source, kind))
    return _checked(_read_lines(Path(source)), _called(source, kind))


def _called(source: ArrayLike | Path, kind: str) -> str:
    return str(source) if isinstance(source, str | Path) else kind


def _read_lines(path: Path) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected one score per line, got: {error}; check the file") from error
    headed = bool(lines) and re.fullmatch(r"(?!nan|inf)[a-z_]\w*", lines[0].strip(), re.IGNORECASE) is not None
    scores = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()][int(headed) :]
    return np.array([_number(text, path, number) for number, text in scores])


def _checked(scores: np.ndarray, path: str) -> np.ndarray:
    if scores.ndim != 1 or not len(scores):
        raise InputError(f"{path}: expected scores of shape (P,) with P > 0, got {scores.shape}; flatten or add pairs")
    if not np.issubdtype(scores.dtype, np.floating) and not np.issubdtype(scores.dtype, np.integer):
        raise InputError(f"{path}: expected numbers, got {scores.dtype}; save the scores themselves")
    bad = ~np.isfinite(scores)
    if bad.any():
        raise InputError(
            f"{path}: expected finite scores, got {int(bad.sum())} others, the first at {int(bad.argmax())}; "
            "count failures with --failures instead"
        )
    return scores if np.issubdtype(scores.dtype, np.floating) else scores.astype(np.float64)


def _read_csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if path.suffix.lower() == ".npy":
        raise InputError(
            f"{path}: expected two .npy files, genuine and impostor scores, got one; give both, or one CSV"
        )
    kinds: tuple[list[float], list[float]] = ([], [])
    for line, row, surplus in read_rows(path, ("score", "same")):
        if surplus > 0:
            raise wrong_width(path, line, row, surplus, POINTS)
        same = row["same"].strip().lower()
        if same not in _GENUINE | _IMPOSTOR:
            raise InputError(f"{path}, line {line}, field same: expected 1 or 0, got '{same}'")
        kinds[same in _IMPOSTOR].append(_number(row["score"], path, line))
    if not kinds[0] or not kinds[1]:
        raise InputError(
            f"{path}: expected pairs of both kinds, got {len(kinds[0])} genuine and {len(kinds[1])} impostor ones"
        )
    return np.array(kinds[0]), np.array(kinds[1])


def _number(text: str, path: Path, line: int) -> float:
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise InputError(f"{path}, line {line}, field score: expected a finite number, got '{text}'; fix the file")
    return number
