"""A cross-validation over identities: every person is measured once, by a network that has not seen that person."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_faces import write_small_set
from small_grid import write_small_grid

from facexfer.comparison.cells import Outcome, run_cells
from facexfer.comparison.fold_table import fold_lines
from facexfer.comparison.folds import PooledPairs, pool_folds
from facexfer.comparison.grid import Cell, Grid, check_figures, read_grid
from facexfer.comparison.table import write_tables
from facexfer.data.manifest import Manifest, read_manifest
from facexfer.errors import InputError
from facexfer.eval.collect import labelled_scores
from facexfer.eval.scores import operating_points
from facexfer.measure.embed import embed
from facexfer.measure.pair_sets import compare_arrays
from facexfer.recipe import DataSection
from facexfer.runs.face_images import training_and_validation

GRID = """
title = "Small"
recipe = "{recipe}"
figures = ["nir/tar@0.1"]
seeds = [0]
folds = 2
[datasets.""]
settings = ["evaluation.fars=[0.1, 0.3]"]
[methods."Untouched"]
settings = ["method.name=l2_fe"]
[methods."L2"]
"""


@pytest.mark.slow
def test_folds_are_trained_apart_and_measured_together(tmp_path: Path) -> None:
    grid = read_grid(write_small_grid(tmp_path, GRID, iterations=1))
    out = tmp_path / "out"
    untouched, trained = run_cells(grid, out, 2, print)
    assert (untouched.failure, trained.failure) == ("", "")
    folds = [trained.folder / f"fold{number}" for number in (1, 2)]
    images = read_manifest(tmp_path / "faces" / "images.csv")
    measured = [
        training_and_validation(images, DataSection(folds=2, fold=fold))[1].select(modality="nir") for fold in (1, 2)
    ]
    (pooled,) = trained.pooled
    sides = [embed(run, validation) for run, validation in zip(folds, measured, strict=True)]
    genuine = [
        float(one @ other)
        for side in sides
        for place, one in enumerate(_unit(side.embeddings))
        for other, name in zip(_unit(side.embeddings)[:place], side.labels[:place], strict=True)
        if name == side.labels[place]
    ]
    assert sorted(pooled.scores.genuine.tolist()) == pytest.approx(sorted(genuine), abs=1e-6)
    assert pooled.points[0].impostor_pairs == sum(_strangers(side.labels) for side in sides)
    write_tables(grid, [untouched, trained], out)
    table = (out / "table.md").read_text()
    assert "Pooled over 2 folds" in table
    assert f"| L2 | 0 | nir/tar@0.3 | {100 * pooled.points[1].tar:.1f} | " in table
    with pytest.raises(InputError, match=r"all folds of one cross-validation, got data.fold = \[1\] of data.folds = 2"):
        pool_folds(folds[:1])


def test_nobody_is_in_two_folds_and_everybody_in_one(tmp_path: Path) -> None:
    images = read_manifest(write_small_set(tmp_path / "faces", train=7))
    parts = [training_and_validation(images, DataSection(folds=3, fold=fold)) for fold in (1, 2, 3)]
    everybody = set(images.select(split="train").identities)
    for training, validation in parts:
        assert set(training.identities) == everybody - set(validation.identities)
    assert sorted(name for _, validation in parts for name in set(validation.identities)) == sorted(everybody)
    # Options are searched on others than those who are measured.
    searched = training_and_validation(images, DataSection(folds=3, fold=1, search_identities=2))
    assert set(searched[1].identities) <= everybody - set(parts[0][1].identities)
    assert set(searched[0].identities).isdisjoint(searched[1].identities)


def test_only_people_with_pictures_of_the_trained_modality_are_held_out(tmp_path: Path) -> None:
    images = read_manifest(write_small_set(tmp_path / "faces", train=7))
    everybody = images.select(split="train").identities
    # Of people who all have such pictures the draw is of all of them.
    order = np.random.default_rng(0).permutation(7)
    drawn = training_and_validation(images, DataSection(folds=3, fold=1))[1]
    assert set(drawn.identities) == {everybody[index] for index in order[::3]}
    seen_in_vis_alone = set(everybody[:3])
    kept = [each for each in images.images if each.modality == "vis" or each.identity not in seen_in_vis_alone]
    fewer = Manifest(images.path, tuple(kept))
    parts = [training_and_validation(fewer, DataSection(folds=2, fold=fold))[1] for fold in (1, 2)]
    assert sorted(name for part in parts for name in set(part.identities)) == sorted(everybody[3:])
    with pytest.raises(InputError, match="at least 2 identities per fold, got 4 for data.folds = 3"):
        training_and_validation(fewer, DataSection(folds=3, fold=1))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"folds": 4, "fold": 1}, "at least 2 identities per fold, got 7 for data.folds = 4"),
        ({"folds": 3, "fold": 4}, "data.fold from 1 to data.folds = 3, got 4"),
    ],
)
def test_folds_that_cannot_be_are_refused(choice: dict[str, Any], message: str, tmp_path: Path) -> None:
    images = read_manifest(write_small_set(tmp_path / "faces", train=7))
    with pytest.raises(InputError, match=message):
        training_and_validation(images, DataSection(**choice))


def test_one_key_without_the_other_and_a_search_over_those_who_are_measured_are_refused(tmp_path: Path) -> None:
    images = read_manifest(write_small_set(tmp_path / "few", train=6))
    with pytest.raises(InputError, match="expected both data.folds and data.fold, got one"):
        training_and_validation(images, DataSection(folds=3))
    text = GRID + 'alpha = ["method.alpha"]\nalphas = [0.1, 0.2]\n[search]\nsettings = ["data.search_identities=2"]\n'
    with pytest.raises(InputError, match="expected no alphas in a grid with folds, got some for method 'L2'"):
        read_grid(write_small_grid(tmp_path, text, iterations=1))


def test_no_fold_chooses_its_checkpoint_by_those_who_are_measured(tmp_path: Path) -> None:
    settings = 'settings = ["evaluation.best_far=0.1", "evaluation.patience=2"]\n'
    grid = read_grid(write_small_grid(tmp_path, GRID + settings, iterations=1))
    message = "^L2: expected no evaluation.best_far in a grid with folds, got 0.1: .*; leave it and evaluation.patience"
    with pytest.raises(InputError, match=message):
        check_figures(grid)
    check_figures(grid.model_copy(update={"folds": None}))


def test_differences_are_to_the_first_method_that_was_run() -> None:
    def pooled(seed: int) -> tuple[PooledPairs, ...]:
        embeddings = np.random.default_rng(seed).normal(size=(40, 8))
        pairs = compare_arrays(embeddings, np.repeat(np.arange(10), 4), None, None).pairs()
        return (
            PooledPairs("nir", operating_points(pairs, [0.1]), labelled_scores(pairs, [0.1]), pairs.impostor_pairs),
        )

    methods: dict[str, Any] = {"A": {}, "B": {}, "C": {}}
    left_out = ({"method": "A", "left_out": "it needs labels"},)
    grid = Grid.model_validate({"title": "t", "recipe": "r", "figures": ("nir/tar@0.1",), "seeds": (0,), "folds": 2,
                                "methods": methods, "overrides": left_out})  # fmt: skip
    outcomes = [
        Outcome(Cell("", "", name), 0, Path(name), {"figures": {}}, pooled=pooled(seed))
        for seed, name in enumerate("BC")
    ]
    lines = fold_lines(grid, outcomes, "", "")
    assert "compare each row with B on the same pairs" in lines[1]
    assert lines[-2].endswith("| - | - |")
    assert not lines[-1].endswith("| - | - |")


def _unit(embeddings):
    return embeddings / (embeddings**2).sum(axis=1, keepdims=True) ** 0.5


def _strangers(labels):
    return sum(one != other for place, one in enumerate(labels) for other in labels[:place])
