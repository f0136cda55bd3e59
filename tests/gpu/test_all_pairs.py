"""All pairs on a GPU: the CPU's counts."""

import numpy as np
import pytest
import torch

from facexfer.eval.pairwise import cuts
from facexfer.eval.scores import all_pairs, gallery_probe_pairs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

FARS = [1.0, 0.5, 0.1, 0.01, 1e-3, 1e-4, 1e-9]


def people(count, dimension: int = 64, identities: int = 200):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, identities, count)
    embeddings = generator.normal(size=(identities, dimension))[labels] + generator.normal(size=(count, dimension))
    return embeddings.astype(np.float32), labels


@pytest.mark.parametrize("kept", [4_000_000, 5000])
def test_where_products_are_exact_every_figure_is_equal(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """Sign vectors of 64 values: every score is a multiple of 1/32, on any device and in any order."""
    monkeypatch.setattr(cuts, "KEPT", kept)
    embeddings, labels = people(5000)
    signs = np.where(embeddings < 0, -1.0, 1.0).astype(np.float32)
    captures = np.array([f"c{number % 1500}" for number in range(2500)], dtype=object)
    cross = (signs[:2500], labels[:2500], signs[2500:], labels[2500:], FARS, captures, captures)
    assert all_pairs(signs, labels, FARS, "cuda") == all_pairs(signs, labels, FARS)
    assert gallery_probe_pairs(*cross, device="cuda") == gallery_probe_pairs(*cross)


def test_elsewhere_only_pairs_at_the_threshold_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = people(5000)
    # What training has set must not reach the evaluation.
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        points = all_pairs(torch.from_numpy(embeddings).cuda(), labels, FARS, "cuda")
    finally:
        torch.set_float32_matmul_precision(before)
    for point, expected in zip(points, all_pairs(embeddings, labels, FARS), strict=True):
        assert point.supported == expected.supported
        if point.supported:
            assert point.threshold == pytest.approx(expected.threshold, abs=5e-7)
            assert point.false_accepts == pytest.approx(expected.false_accepts, abs=2)
            assert point.tar * point.genuine_pairs == pytest.approx(expected.tar * expected.genuine_pairs, abs=3)
