"""Is a deployed device still where its bundle was measured? Its log of scores against the bundle's evaluation."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from facexfer.deploy.contract import read_contract
from facexfer.deploy.score_digits import (
    COARSEST,
    Decided,
    Repeated,
    decide,
    find_repeated,
    possible_rate,
    spread_shape,
    told,
)
from facexfer.deploy.score_log import ScoreLog, read_log
from facexfer.deploy.score_summary import measured_scores
from facexfer.errors import InputError, counted
from facexfer.eval.intervals import identity_interval
from facexfer.eval.shift import AcceptedScores, ShapeShift, Shift, time_trend

LEVEL = 0.05
"""False alarms of all tests together: each takes its part of it (Bonferroni)."""
FEWEST_USERS = 20
"""With fewer the tests alarm too often; docs/monitor.md has the simulation."""
_MANY_UNDECIDED = 0.01
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
        accept_rate: The share accepted; the middle of what is possible where the digits written leave it open.
        accept_rate_ci95: Its 95 % interval, by user, or by attempt where the log names none; over all that is possible.
        mean_accepted: The mean of the scores that are above the threshold for sure; None if none is.
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
        undecided: How many scores are too near the threshold to be told from it in the digits written.
        accepted: (N,) the scores that are above the threshold for sure, rising, as they were written.
        accept_rate: Logged against predicted, the middle of what is possible with the undecided ones; None where too
            little was logged, or no score is decided.
        shape: The accepted scores against the bundle's; None where too little was logged, or too coarsely.
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
    undecided: int
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
        InputError: If a file cannot be read, the bundle has no summary of scores or no file for the runtime, the share
            is no fraction, or nearly all scores are one and in so few digits that nothing follows from it.
    """
    if not 0 <= impostor_share < 1:
        raise InputError(f"expected an impostor share from 0 to below 1, got {impostor_share:g}; give a fraction")
    target, measured = measured_scores(read_contract(Path(bundle)), far, runtime)
    seen = read_log(Path(log))
    decided = decide(seen, measured.threshold)
    users = np.arange(len(seen.scores)) if seen.users is None else seen.users
    unit = "attempt" if seen.users is None else "user"
    reasons = _misdecided(seen, measured.threshold)
    rate: Shift | None = None
    shape: ShapeShift | None = None
    trend: Shift | None = None
    repeated: Repeated | None = None
    if len(np.unique(users)) >= FEWEST_USERS:
        repeated = find_repeated(seen, users, measured, impostor_share)
        reasons += _stuck(repeated, len(users))
        if not decided.open.all():
            rate = possible_rate(decided, users, measured, impostor_share)
        if decided.above.sum() >= _FEWEST_ACCEPTED:
            if seen.rounding <= COARSEST:
                shape = spread_shape(seen, users, measured)
            if seen.times is not None and np.ptp(seen.times[decided.above]) > 0:
                trend = time_trend(seen.scores[decided.above], seen.times[decided.above], users[decided.above])
    level = LEVEL / max(1, sum(test is not None for test in (rate, shape, trend)))
    reasons += _moved(rate, shape, trend, level, unit)
    if repeated is not None and not reasons:
        # A stuck device logs the same: neither an alarm nor none.
        raise InputError(
            f"{log}: expected scores that differ, got {repeated.score:zg} in nearly all of {len(users):,} attempts, "
            "which a device in order writes too in so few digits; log four decimals"
        )
    return Monitored(
        bundle=Path(bundle),
        far=target,
        impostor_share=impostor_share,
        measured=measured,
        attempts=len(seen.scores),
        users=None if seen.users is None else len(np.unique(users)),
        undecided=int(decided.unknown.sum()),
        accepted=np.sort(seen.scores[decided.above]),
        accept_rate=rate,
        shape=shape,
        trend=trend,
        windows=() if seen.times is None else _windows(seen.scores, seen.times, decided, users),
        reasons=tuple(reasons),
        remarks=tuple(_remarks(seen, users, decided, unit)),
    )


def _remarks(seen: ScoreLog, users: np.ndarray, decided: Decided, unit: str) -> list[str]:
    remarks = []
    if seen.users is None:
        remarks.append(
            "the log has no column user: attempts are taken as independent, and alarms without a cause are several "
            "times as many"
        )
    users_are_few = (count := len(np.unique(users))) < FEWEST_USERS
    if users_are_few:
        remarks.append(f"{_too_few(count, unit)} to test anything; wait for {FEWEST_USERS}")
    if seen.rounding > COARSEST:
        remarks.append("the scores are rounded too far to compare them with the bundle's; log four decimals")
    elif not users_are_few and decided.above.sum() < _FEWEST_ACCEPTED:
        remarks.append(f"{_too_few(decided.above.sum(), 'accepted score')} to compare; wait for {_FEWEST_ACCEPTED}")
    if decided.open.mean() > _MANY_UNDECIDED:
        remarks.append(
            f"{decided.open.sum():,} of {len(users):,} scores cannot be told from the threshold in the digits written: "
            f"the accept rate is from {100 * decided.least.mean():.1f} to {100 * decided.most.mean():.1f} %; log four "
            "decimals"
        )
    return remarks


def _too_few(count: int, what: str) -> str:
    return f"{counted(count, what)} {'is' if count == 1 else 'are'} too few"


def _misdecided(seen: ScoreLog, threshold: float) -> list[str]:
    """Compare the device's decisions with the bundle's threshold, as far as the digits written tell.

    A device that decides as `facexfer match` or by the line of the bundle's README rejects the score of the threshold
    and those that cannot be told from it.
    """
    if seen.accepted is None:
        return []
    sure = told(seen, threshold)
    wrong = int(np.count_nonzero(sure & (seen.accepted != (seen.scores > threshold))))
    if not wrong:
        return []
    these = "is not that" if wrong == 1 else "are not those"
    return [
        f"{wrong:,} of {len(sure):,} decisions {these} of the threshold {threshold:.4f}: the device decides by another "
        "one (see --far, --runtime)"
    ]


def _stuck(repeated: Repeated | None, attempts: int) -> list[str]:
    if repeated is None or not repeated.is_alarm:
        return []
    return [
        f"{repeated.count:,} of {attempts:,} scores are {repeated.score:zg}: the device is stuck, or what it logs "
        "is no score"
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


def _windows(scores: np.ndarray, times: np.ndarray, decided: Decided, users: np.ndarray) -> tuple[Window, ...]:
    """Cut the log into up to ten parts of as many attempts."""
    order = np.argsort(times, kind="stable")
    parts = np.array_split(order, max(1, min(_WINDOWS, len(order) // _FEWEST_OF_WINDOW)))
    windows = []
    for part in parts:
        _, user = np.unique(users[part], return_inverse=True)
        attempts = np.bincount(user).astype(np.float64)
        least, most = (
            identity_interval(np.bincount(user, weights=accepted[part]), attempts)
            for accepted in (decided.least, decided.most)
        )
        rate = float(decided.least[part].mean() + decided.most[part].mean()) / 2
        above = scores[part][decided.above[part]]
        windows.append(
            Window(
                _iso(times[part[0]]), _iso(times[part[-1]]), len(part), rate, (least[0], most[1]),
                float(above.mean()) if len(above) else None,
            )
        )  # fmt: skip
    return tuple(windows)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
