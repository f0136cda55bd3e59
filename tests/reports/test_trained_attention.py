"""A run keeps what its attention modules learned, and it can be shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_faces import write_small_set

from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.recipe import parse_recipe
from facexfer.reports.trained_attention import read_attention, untrained_attention
from facexfer.runs.folder import RunFolder
from facexfer.runs.state import load_state


def run_of(folder: Path, **method: Any):
    values = {
        "source": {"backbone": "mobilefacenet"},
        "data": {"manifest": str(write_small_set(folder / "faces"))},
        "method": method,
        "optimizer": {"iterations": 2, "batch_size": 8},
        "evaluation": {"fars": [0.1], "untouched": False},
        "runtime": {"accelerator": "cpu"},
    }
    train(parse_recipe(values, "test"), folder / "run", resume=False)
    return folder / "run"


@pytest.mark.slow
def test_both_stages_of_afa_are_kept_with_what_they_looked_at(tmp_path: Path) -> None:
    run = run_of(tmp_path, name="afa", spatial_alpha=1e-4, channel_alpha=1e-4)
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    found = read_attention(run, crops)
    assert [(maps.stage, maps.term) for maps in found] == [("ast", "spatial")] * 4 + [("act", "channel")] * 4
    assert [maps.layer for maps in found] == 2 * ["stem", "stage2", "stage3", "stage4"]
    assert [maps.weights.shape for maps in found[:4]] == [(3, 56, 56), (3, 28, 28), (3, 14, 14), (3, 7, 7)]
    assert [maps.weights.shape for maps in found[4:]] == [(3, 64), (3, 64), (3, 128), (3, 128)]
    for maps in found:
        np.testing.assert_allclose(maps.weights.reshape(3, -1).sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(maps.relative.mean(), 1, rtol=1e-5)
    before = untrained_attention(run, crops)
    for untrained, trained in zip(before, found, strict=True):
        assert untrained.weights.shape == trained.weights.shape
        # Two steps at a small alpha: moved, and not far.
        assert not np.array_equal(untrained.weights, trained.weights)
        np.testing.assert_allclose(untrained.weights, trained.weights, rtol=0.2)
    # Stage I looks at the source, stage II at what stage I has made of it.
    first, second = (load_state(RunFolder(run).stage_file(name))["reference"] for name in ("ast", "act"))
    assert not (first["linear.weight"] == second["linear.weight"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["two_stage", "reversed"])
def test_fixed_attention_shows_the_sam_that_was_trained_before(variant: str, tmp_path: Path) -> None:
    run = run_of(tmp_path, name="afa", attention="fixed", variant=variant, spatial_alpha=1e-4, channel_alpha=1e-4)
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    found, before = read_attention(run, crops), untrained_attention(run, crops)
    assert [(maps.stage, maps.term) for maps in found] == [("attention", "spatial")] * 4
    for untrained, trained in zip(before, found, strict=True):
        assert not np.array_equal(untrained.weights, trained.weights)
        np.testing.assert_allclose(untrained.weights, trained.weights, rtol=0.2)


@pytest.mark.slow
def test_a_method_without_attention_has_none_to_show(tmp_path: Path) -> None:
    run = run_of(tmp_path, name="l2")
    assert read_attention(run, np.zeros((1, 112, 112, 3), np.uint8)) == ()
    assert not (run / "stages").exists()


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a finished run"):
        read_attention(tmp_path, np.zeros((1, 112, 112, 3), np.uint8))
