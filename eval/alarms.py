"""How often a stranger is taken for somebody as the gallery grows: measured, not assumed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS = 20
_LEAST_ALARMS = 10


@dataclass(frozen=True)
class GalleryDependence:
    """The false positive identification rate of a gallery of N: ``1 - (1 - FAR)^(N^power)``.

    With ``power`` 1 the entries of a gallery would be independent. They are not: a stranger who is like one entry is
    more likely to be like another, and the gallery counts for fewer.

    Attributes:
        power: Fitted to the measured rates.
        sizes: The galleries that were drawn.
        measured: Their rates, each a mean over the draws.
        worst_ratio: The largest factor between a fitted and a measured rate.
    """

    power: float
    sizes: tuple[int, ...]
    measured: tuple[float, ...]
    worst_ratio: float

    def alarm_rate(self, far: float, size: int) -> float:
        """The rate at which strangers raise an alarm in a gallery of this size.

        Example:
            >>> round(GalleryDependence(1.0, (), (), 1.0).alarm_rate(0.01, 2), 6)
            0.0199
        """
        return -math.expm1(size**self.power * math.log1p(-far))

    def far_for(self, alarm_rate: float, size: int) -> float:
        """The FAR of single comparisons that gives this rate, the inverse of `alarm_rate`."""
        return -math.expm1(math.log1p(-alarm_rate) / size**self.power)


def measure_dependence(
    entries: np.ndarray, names: np.ndarray, probes: np.ndarray, probe_names: np.ndarray, seed: int = 0
) -> GalleryDependence | None:
    """Measure alarms of strangers in galleries drawn from the entries, at thresholds that the data support.

    Args:
        entries: (I, D) unit embeddings, one per person.
        names: (I,) whose they are.
        probes: (N, D) unit embeddings.
        probe_names: (N,) whose they are; a probe is a stranger to a gallery without its person.
        seed: Of the draws.

    Returns:
        The dependence; None if there are too few people or alarms to measure it: so few with probes, for example, that
        a gallery that is drawn holds them all.
    """
    people = len(names)
    sizes = sorted({size for size in (people // 8, people // 4, people // 2) if size >= 3})
    if len(sizes) < 2:
        return None
    cosines = probes @ entries.T
    own = probe_names[:, None] == names[None, :]
    strangers = np.where(own, -np.inf, cosines)
    threshold = _threshold(strangers, sizes[0])
    far = float((strangers > threshold).sum() / (~own).sum())
    generator = np.random.default_rng(seed)
    rates = []
    for size in sizes:
        alarms = []
        for _ in range(_DRAWS):
            drawn = generator.permutation(people)[:size]
            is_stranger = ~own[:, drawn].any(axis=1)
            if not is_stranger.any():
                return None
            alarms.append(float((strangers[is_stranger][:, drawn].max(axis=1) > threshold).mean()))
        rates.append(float(np.mean(alarms)))
    if far <= 0 or min(rates) * len(probes) < _LEAST_ALARMS or max(rates) >= 1:
        return None
    return _fit(far, sizes, rates)


def _threshold(strangers: np.ndarray, smallest: int) -> float:
    """A threshold at which the smallest gallery still has alarms: about one stranger in ten raises one."""
    scores = np.sort(strangers[np.isfinite(strangers)])
    return float(scores[int((1 - 0.1 / smallest) * (len(scores) - 1))])


def _fit(far: float, sizes: Sequence[int], rates: Sequence[float]) -> GalleryDependence:
    worth = [math.log(math.log1p(-rate) / math.log1p(-far)) for rate in rates]
    logs = [math.log(size) for size in sizes]
    power = float(np.dot(logs, worth) / np.dot(logs, logs))
    fitted = GalleryDependence(power, tuple(sizes), tuple(rates), 1.0)
    ratios = [fitted.alarm_rate(far, size) / rate for size, rate in zip(sizes, rates, strict=True)]
    return GalleryDependence(power, tuple(sizes), tuple(rates), max(max(ratio, 1 / ratio) for ratio in ratios))
