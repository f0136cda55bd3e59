"""The curve and the worst pairs of a pair set, against the whole score matrix."""

import numpy as np
import pytest

from facexfer.eval import collect
from facexfer.eval.collect import curve_of_pairs, worst_pairs
from facexfer.eval.curves import area_under_roc, curve_of_scores, equal_error_rate
from facexfer.eval.pairwise import pairs


def make(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 12, 120)
    embeddings = generator.normal(size=(12, 8))[labels] + generator.normal(size=(120, 8))
    return embeddings.astype(np.float32), labels


def matrix(gallery: np.ndarray, probe: np.ndarray) -> np.ndarray:
    return (gallery / np.linalg.norm(gallery, axis=1, keepdims=True)) @ (
        probe / np.linalg.norm(probe, axis=1, keepdims=True)
    ).T


@pytest.mark.parametrize("one_set", [True, False])
def test_curve_and_worst_pairs(monkeypatch: pytest.MonkeyPatch, one_set: bool) -> None:
    monkeypatch.setattr(pairs, "BLOCK", 32)
    (embeddings, labels), (probes, probe_labels) = make(), make(1)
    if one_set:
        chosen, scores = pairs.PairSet.within(embeddings, labels), matrix(embeddings, embeddings)
        same, counted = labels[:, None] == labels[None], np.triu(np.ones((120, 120), dtype=bool), 1)
    else:
        shots = np.array([f"c{number}" for number in range(120)], dtype=object)
        chosen = pairs.PairSet.against(embeddings, labels, probes, probe_labels, shots, shots)
        scores, same = matrix(embeddings, probes), labels[:, None] == probe_labels[None]
        counted = ~np.eye(120, dtype=bool)
    expected = curve_of_scores(scores[same & counted], scores[~same & counted])
    exact = curve_of_pairs(chosen)
    assert area_under_roc(exact).value == pytest.approx(area_under_roc(expected).value, abs=1e-6)
    monkeypatch.setattr(collect, "_SINGLE", 0)
    binned = curve_of_pairs(chosen)
    assert binned.true_accepts[-1] == exact.true_accepts[-1]
    assert binned.false_accepts[-1] == exact.false_accepts[-1]
    for figure in (area_under_roc, equal_error_rate):
        assert figure(binned).value == pytest.approx(figure(exact).value, abs=1e-3)
    alike, unlike = worst_pairs(chosen, 5)
    for found, kind, best in ((alike, ~same & counted, -1), (unlike, same & counted, 1)):
        wanted = np.sort(scores[kind] * best)[:5] * best
        assert [pair.score for pair in found] == pytest.approx(wanted.tolist(), abs=1e-6)
        for pair in found:
            assert pair.score == pytest.approx(scores[pair.row, pair.column], abs=1e-6)
            assert kind[pair.row, pair.column] or (one_set and kind[pair.column, pair.row])
