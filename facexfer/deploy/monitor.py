"""Is a deployed device still where its bundle was measured? Its log of scores against the bundle's evaluation."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from facexfer.deploy.contract import SAME_SCORE, read_contract
from facexfer.deploy.score_log import ScoreLog, read_log
from facexfer.deploy.score_summary import measured_scores
from facexfer.errors import InputError
from facexfer.eval.intervals import identity_interval
from facexfer.eval.shift import AcceptedScores, ShapeShift, Shift, rate_shift, shape_shift, time_trend

LEVEL = 0.05
"""False alarms of all tests together: each takes its part of it (Bonferroni)."""
FEWEST_USERS = 20
"""With fewer the tests alarm too often; docs/monitor.md has the simulation."""
COARSEST = 0.01
"""Scores that may be further than this from the device's are not compared: whatever is assumed between two of them."""
_FEWEST_ACCEPTED = 20
_WINDOWS = 10
_FEWEST_OF_WINDOW = 30


@dataclass(frozen=True)
class Window:
    """A part of the log in time.

    Attributes:
        start: Of its first attempt, ISO 8601 in UTC.
        end: Of its last one.
        attempts: How many.
        accept_rate: The share accepted.
        accept_rate_ci95: Its 95 % interval, by user, or by attempt where the log names none.
        mean_accepted: The mean of the accepted scores; None if no attempt was accepted.
    """

    start: str
    end: str
    attempts: int
    accept_rate: float
    accept_rate_ci95: tuple[float, float]
    mean_accepted: float | None


@dataclass(frozen=True)
class Monitored:
    """What a log says.

    Attributes:
        bundle: The bundle's folder.
        far: The target whose threshold is meant.
        impostor_share: The assumed largest share of attempts made by anyone other than the claimed user.
        measured: What the bundle says at this threshold.
        attempts: How many were logged.
        users: By how many users; None where the log does not say.
        accepted: (N,) the accepted scores, rising, each somewhere within what was rounded off.
        accept_rate: Logged against predicted; None where too little was logged, or too coarsely.
        shape: The accepted scores against the bundle's; None likewise.
        trend: The change of the accepted scores over the log; None without times, or where too little was logged.
        windows: The log in time; empty without times.
        reasons: Why there is an alarm; empty where there is none.
        remarks: What a reader must also know.
    """

    bundle: Path
    far: float
    impostor_share: float
    measured: AcceptedScores
    attempts: int
    users: int | None
    accepted: np.ndarray
    accept_rate: Shift | None
    shape: ShapeShift | None
    trend: Shift | None
    windows: tuple[Window, ...]
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def alarm(self) -> bool:
        """Whether something has moved."""
        return bool(self.reasons)


def monitor(
    log: str | Path,
    bundle: str | Path,
    far: float | None = None,
    impostor_share: float = 0.01,
    runtime: str | None = None,
) -> Monitored:
    """Compare what a device logged with the evaluation in its bundle.

    Args:
        log: The CSV, see `facexfer.deploy.score_log.read_log`.
        bundle: The bundle that the device runs.
        far: The target whose threshold it uses; None takes the bundle's own operating point.
        impostor_share: The largest share of attempts made by anyone other than the claimed user.
        runtime: The device runs the bundle's file for this runtime, such as ``openvino:int8``, which has a threshold of
            its own; None means ``model.onnx``.

    Returns:
        What was found; `Monitored.alarm` says whether anything has moved.

    Raises:
        InputError: If a file cannot be read, the bundle has no summary of scores or no file for the runtime, or the
            share is no fraction.
    """
    if not 0 <= impostor_share < 1:
        raise InputError(f"expected an impostor share from 0 to below 1, got {impostor_share:g}; give a fraction")
    target, measured = measured_scores(read_contract(Path(bundle)), far, runtime)
    logged = read_log(Path(log))
    seen = _spread(logged)
    above = seen.scores > measured.threshold
    accepted = above if seen.accepted is None else seen.accepted
    users = np.arange(len(above)) if seen.users is None else seen.users
    unit = "attempt" if seen.users is None else "user"
    remarks = _remarks(seen, users, above, unit)
    reasons = _misdecided(logged, measured.threshold)
    is_fine = seen.rounding <= COARSEST
    rate: Shift | None = None
    shape: ShapeShift | None = None
    trend: Shift | None = None
    if len(np.unique(users)) >= FEWEST_USERS:
        if is_fine or seen.accepted is not None:
            rate = rate_shift(accepted, users, measured, impostor_share)
        if above.sum() >= _FEWEST_ACCEPTED:
            if is_fine:
                shape = shape_shift(seen.scores[above], users[above], measured)
            if seen.times is not None and np.ptp(seen.times[above]) > 0:
                trend = time_trend(seen.scores[above], seen.times[above], users[above])
    level = LEVEL / max(1, sum(test is not None for test in (rate, shape, trend)))
    reasons += _moved(rate, shape, trend, level, unit)
    return Monitored(
        bundle=Path(bundle),
        far=target,
        impostor_share=impostor_share,
        measured=measured,
        attempts=len(above),
        users=None if seen.users is None else len(np.unique(users)),
        accepted=np.sort(seen.scores[above]),
        accept_rate=rate,
        shape=shape,
        trend=trend,
        windows=() if seen.times is None else _windows(seen, seen.times, accepted, above, users),
        reasons=tuple(reasons),
        remarks=tuple(remarks),
    )


def _spread(seen: ScoreLog) -> ScoreLog:
    """Put each score anywhere within what was rounded off, by draws of a fixed seed.

    Rounded scores heap up beside the threshold and the bundle's scores, which are not rounded: with two decimals and
    many users that alone would be a shift.
    """
    drawn = np.random.default_rng(0).uniform(-seen.rounding, seen.rounding, len(seen.scores))
    return replace(seen, scores=seen.scores + drawn)


def _remarks(seen: ScoreLog, users: np.ndarray, above: np.ndarray, unit: str) -> list[str]:
    remarks = []
    if seen.users is None:
        remarks.append(
            "the log has no column user: attempts are taken as independent, and alarms without a cause are several "
            "times as many"
        )
    if (count := len(np.unique(users))) < FEWEST_USERS:
        remarks.append(f"{count} {unit}s are too few to test anything; wait for {FEWEST_USERS}")
    elif above.sum() < _FEWEST_ACCEPTED:
        remarks.append(f"{above.sum()} accepted scores are too few to compare; wait for {_FEWEST_ACCEPTED}")
    elif seen.rounding > COARSEST:
        remarks.append(
            "the scores are rounded too far to compare them, and the accept rate unless decisions are logged; log four "
            "decimals"
        )
    return remarks


def _misdecided(seen: ScoreLog, threshold: float) -> list[str]:
    """Compare the device's decisions with the bundle's threshold, as far as the digits written tell.

    A device that decides as `facexfer match` or by the line of the bundle's README rejects the score of the threshold
    and those that cannot be told from it.
    """
    if seen.accepted is None:
        return []
    sure = np.abs(seen.scores - threshold) > seen.rounding + SAME_SCORE
    wrong = int(np.count_nonzero(sure & (seen.accepted != (seen.scores > threshold))))
    if not wrong:
        return []
    return [
        f"{wrong:,} of {len(sure):,} decisions are not those of the threshold {threshold:.4f}: the device decides by "
        "another one (see --far, --runtime)"
    ]


def _moved(rate: Shift | None, shape: ShapeShift | None, trend: Shift | None, level: float, unit: str) -> list[str]:
    reasons = []
    if rate is not None and rate.p_value < level:
        less = rate.observed < rate.expected[0]
        why = (
            "users are rejected more often, or there are more impostors than stated"
            if less else "attempts are easier than the measured pairs, or impostors come through"
        )  # fmt: skip
        low, high = rate.observed_ci95
        reasons.append(
            f"accept rate {100 * rate.observed:.1f} % (95 % CI by {unit} {100 * low:.1f} to {100 * high:.1f}), "
            f"expected {100 * rate.expected[0]:.1f} to {100 * rate.expected[1]:.1f} %, p = {rate.p_value:.2g}: {why}"
        )
    if shape is not None and shape.p_value < level:
        way = "lower" if shape.observed < shape.expected[0] else "higher"
        reasons.append(
            f"accepted scores are {way}: {100 * shape.observed:.1f} % of them are above {shape.score:.3f}, expected "
            f"{100 * shape.expected[0]:.1f} %, p = {shape.p_value:.2g}: camera, light, ageing enrolments or other users"
        )
    if trend is not None and trend.p_value < level:
        reasons.append(
            f"accepted scores change by {trend.observed:+z.3f} over the log (95 % CI by {unit} "
            f"{trend.observed_ci95[0]:+z.3f} to {trend.observed_ci95[1]:+z.3f}), p = {trend.p_value:.2g}: a drift in "
            "time"
        )
    return reasons


def _windows(
    seen: ScoreLog, times: np.ndarray, accepted: np.ndarray, above: np.ndarray, users: np.ndarray
) -> tuple[Window, ...]:
    """Cut the log into up to ten parts of as many attempts."""
    order = np.argsort(times, kind="stable")
    parts = np.array_split(order, max(1, min(_WINDOWS, len(order) // _FEWEST_OF_WINDOW)))
    windows = []
    for part in parts:
        _, user = np.unique(users[part], return_inverse=True)
        hits, attempts = np.bincount(user, weights=accepted[part]), np.bincount(user).astype(np.float64)
        scores = seen.scores[part][above[part]]
        windows.append(
            Window(
                _iso(times[part[0]]), _iso(times[part[-1]]), len(part), float(accepted[part].mean()),
                identity_interval(hits, attempts), float(scores.mean()) if len(scores) else None,
            )
        )  # fmt: skip
    return tuple(windows)


def _iso(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s"
