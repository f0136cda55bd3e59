import numpy as np
import pytest

from facexfer.eval.alarms import GalleryDependence, measure_dependence


def units(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def people(
    generator: np.random.Generator, count: int = 120, images: int = 6, dimension: int = 24, common: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings around centres; `common` makes some probes like everybody."""
    centres = generator.normal(size=(count, dimension))
    entries = units(centres + common)
    names = np.arange(count)
    probes = np.repeat(centres, images, axis=0) + 0.8 * generator.normal(size=(count * images, dimension))
    pull = common * 3 * (generator.random(len(probes)) < 0.1)
    return entries, names, units(probes + pull[:, None]), np.repeat(names, images)


def test_independent_entries_count_each_for_one() -> None:
    found = measure_dependence(*people(np.random.default_rng(0)))
    assert found.power == pytest.approx(1.0, abs=0.06)
    assert found.sizes == (15, 30, 60)
    assert found.worst_ratio < 1.2
    assert list(found.measured) == sorted(found.measured)


def test_strangers_who_are_like_everybody_make_a_gallery_count_for_fewer() -> None:
    found = measure_dependence(*people(np.random.default_rng(1), common=0.6))
    assert found.power < 0.9


def test_the_rates_are_inverse() -> None:
    known = GalleryDependence(0.8, (), (), 1.0)
    assert known.far_for(known.alarm_rate(1e-5, 500), 500) == pytest.approx(1e-5)
    assert known.alarm_rate(1e-5, 500) < GalleryDependence(1.0, (), (), 1.0).alarm_rate(1e-5, 500)


def test_too_few_people() -> None:
    assert measure_dependence(*people(np.random.default_rng(2), count=8)) is None


def test_probes_of_too_few_people() -> None:
    entries, names, probes, whose = people(np.random.default_rng(3), count=30, images=60)
    assert measure_dependence(entries, names, probes, whose) is not None
    assert measure_dependence(entries, names, probes[whose < 2], whose[whose < 2]) is None
