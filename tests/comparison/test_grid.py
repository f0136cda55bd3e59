"""Grids: the packaged ones fit, settings reach their cells, mistakes are named; tables from outcomes."""

import math
import os
from importlib import resources
from pathlib import Path

import pytest

from facexfer import grids
from facexfer.comparison.cells import Outcome, only_one_in, run_cells
from facexfer.comparison.grid import Cell, Grid, cells_of, check_figures, read_grid, recipe_of
from facexfer.comparison.processes import Finished, RunPool
from facexfer.comparison.table import draw_table, markdown, paired_test, write_tables
from facexfer.errors import InputError
from facexfer.recipe import dump_recipe
from facexfer.reports.saving import save_figure
from facexfer.transfer.methods import create

PACKAGED = sorted(file.name for file in resources.files(grids).iterdir() if file.name.endswith(".toml"))
SMALL = """
title = "Small"
recipe = "nirsim-l2"
figures = ["nir/tar@0.01"]
seeds = [0, 1, 2]
[methods.L2]
[methods.AFA]
settings = ["method.name=afa"]
alpha = ["method.spatial_alpha", "method.channel_alpha"]
alphas = [0.1, 0.2]
[search]
settings = ["data.search_identities=55"]
[paper]
L2 = ["94.4 ± 0.3"]
AFA = ["98.1"]
"""


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    monkeypatch.setenv("FACEXFER_SHARED", "shared")
    (tmp_path / "grid.toml").write_text(SMALL)
    return read_grid(tmp_path / "grid.toml")


@pytest.mark.parametrize("name", PACKAGED)
def test_every_cell_of_the_packaged_grids_is_a_good_recipe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_SHARED", "shared")
    monkeypatch.setenv("FACEXFER_DEMO", "runs/demo")
    monkeypatch.setenv("T360", "crops")
    grid = read_grid(name.removesuffix(".toml"))
    check_figures(grid)
    datasets, networks = list(grid.datasets), list(grid.networks)
    for cell in cells_of(grid):
        # All methods once and every data set and network once are enough: settings only add up.
        if cell.network in (networks[0], networks[-1]) and cell.dataset in (datasets[0], datasets[-1]):
            recipe = recipe_of(grid, cell, tuple(f"{key}=0.5" for key in grid.methods[cell.method].alpha))
            assert bool(create(recipe.method.name, **recipe.method.options)) == (recipe.optimizer.epochs != 0)


def test_published_settings_of_table_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_SHARED", "shared")
    grid = read_grid("table3")
    recipe = recipe_of(grid, Cell("MIT67", "Inception-V3", "LwF"))
    assert (recipe.optimizer.learning_rate, recipe.optimizer.batch_size, recipe.optimizer.iterations) == (
        0.001,
        64,
        9000,
    )
    assert recipe.method.options == {"rate_factor": 1.0}
    assert recipe.source.weights.name == "inception_v3_places365.pth.tar"
    assert grid.paper["CUB/ResNet-101/AFA"] == ("82.2 ± 0.1",)
    assert len(grid.paper) == 105


def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(old, new):
        (tmp_path / "bad.toml").write_text(SMALL.replace(old, new))
        return read_grid(tmp_path / "bad.toml")

    with pytest.raises(InputError, match="unknown cell of the paper 'AFAA'; did you mean 'AFA'"):
        read('AFA = ["98.1"]', 'AFAA = ["98.1"]')
    with pytest.raises(InputError, match="expected both alpha and alphas for method 'AFA'"):
        read("alphas = [0.1, 0.2]", "")
    with pytest.raises(InputError, match=r"bad\.toml: unknown key 'seed'; did you mean 'seeds'\? keys: "):
        read("seeds", "seed")
    with pytest.raises(InputError, match=r"'methods\.AFA\.setings'; did you mean 'methods\.AFA\.settings'\?"):
        read('settings = ["method', 'setings = ["method')
    with pytest.raises(InputError, match="unknown grid 'tabel3'; did you mean 'table3'"):
        read_grid("tabel3")
    with pytest.raises(InputError, match="overrides: expected either settings or left_out, got neither"):
        read("[search]", "[[overrides]]\nmethod = 'L2'\n[search]")
    with pytest.raises(InputError, match=r"best_by of data set 'back': unknown figure 'nir/tar@0\.1'"):
        read("[search]", "[datasets.back]\nbest_by = 'nir/tar@0.1'\n[search]")
    # What is for data sets alone is not overlooked in a method, and the other way round.
    with pytest.raises(InputError, match=r"unknown key 'methods\.L2\.best_by'"):
        read("[methods.AFA]", "best_by = 'nir/tar@0.01'\n[methods.AFA]")
    with pytest.raises(InputError, match=r"unknown key 'datasets\.back\.alphas'"):
        read("[search]", "[datasets.back]\nalphas = [1.0]\n[search]")


def outcome(method: str, seed: int, value: float | None, tmp_path: Path, failure: str = "") -> Outcome:
    result = None if failure else {"figures": {"nir/tar@0.01": value}}
    folder = tmp_path / "runs" / method / f"seed{seed}"
    return Outcome(Cell("", "", method), seed, folder, result, failure, 0.1 if method == "AFA" else None)


def test_tables_have_means_the_paper_links_a_test_and_failures(grid: Grid, tmp_path: Path) -> None:
    outcomes = [outcome("L2", seed, value, tmp_path) for seed, value in enumerate((0.90, 0.92, 0.94))]
    outcomes += [outcome("AFA", 0, 0.95, tmp_path), outcome("AFA", 1, 0.96, tmp_path)]
    outcomes += [outcome("AFA", 2, None, tmp_path, failure="loss became nan")]
    text = markdown(grid, outcomes, tmp_path)
    assert "| L2 | 92.0 ± 2.0 | 94.4 ± 0.3 | - | [0](runs/L2/seed0), [1](runs/L2/seed1), [2](runs/L2/seed2) |" in text
    assert "| AFA | 95.5 ± 0.7 | 98.1 | 0.1 | [0](runs/AFA/seed0), [1](runs/AFA/seed1), 2 failed |" in text
    told = "over the seeds that both have: 0, 1; paired t-test over 2 seeds: p = 0.07"
    assert f"AFA before L2 by 4.50 points ({told})" in text
    assert "* AFA, seed 2: loss became nan" in text
    write_tables(grid, outcomes, tmp_path)
    save_figure(draw_table(grid, outcomes), tmp_path, "table")
    assert (tmp_path / "table.csv").read_text().count("\n") == 7
    assert (tmp_path / "table.png").stat().st_size > 1000
    assert "<svg" in (tmp_path / "table.svg").read_text()
    os.link(tmp_path / "table.png", tmp_path / "first.png")
    for of_paper in ("-", "n/a", "98.1 %"):
        save_figure(draw_table(grid.model_copy(update={"paper": {"AFA": (of_paper,)}}), outcomes), tmp_path, "table")
    # The new picture takes the place of the old one, which is never half written over.
    assert not (tmp_path / "table.png").samefile(tmp_path / "first.png")


def test_a_loss_is_shown_as_it_is_and_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_SHARED", "shared")
    words = (
        'title = "Images"\nrecipe = "cub10-l2"\nfigures = ["top1", "test/classification"]\nseeds = [0, 1]\n[methods.L2]'
    )
    (tmp_path / "grid.toml").write_text(words)
    grid = read_grid(tmp_path / "grid.toml")
    (cell,) = cells_of(grid)
    figures = ({"top1": 0.5, "test/classification": 2.5}, {"top1": 0.7, "test/classification": 2.7})
    outcomes = [Outcome(cell, seed, tmp_path, {"figures": each}) for seed, each in enumerate(figures)]
    text = markdown(grid, outcomes, tmp_path)
    assert "| L2 | 60.0 ± 14.1 | 2.60 ± 0.14 | - |" in text
    assert "Percent, losses as they are, mean" in text
    with pytest.raises(InputError, match="expected a figure to decide by that is better when it is high, got the loss"):
        check_figures(grid.model_copy(update={"figures": ("test/classification", "top1")}))


def test_a_data_set_can_leave_out_a_method_and_have_its_own_deciding_figure(tmp_path: Path) -> None:
    words = """
title = "Both ways"
recipe = "demo-l2"
figures = ["nir/tar@0.01", "vis/tar@0.01"]
seeds = [0, 1]
[methods.L2]
[methods.Simulated]
[methods.AFA]
[datasets.there]
[datasets.back]
best_by = "vis/tar@0.01"
[[overrides]]
dataset = "back"
method = "Simulated"
left_out = "nothing simulates it"
"""
    (tmp_path / "grid.toml").write_text(words)
    grid = read_grid(tmp_path / "grid.toml")
    cells = list(cells_of(grid))
    assert [cell.key for cell in cells] == ["there/L2", "there/Simulated", "there/AFA", "back/L2", "back/AFA"]
    outcomes = [
        Outcome(cell, seed, tmp_path / cell.key, {"figures": {"nir/tar@0.01": nir + seed / 100, "vis/tar@0.01": vis}})
        for cell, nir, vis in zip(cells, (0.8, 0.7, 0.6, 0.8, 0.6), (0.1, 0.1, 0.1, 0.2, 0.3), strict=True)
        for seed in grid.seeds
    ]
    text = markdown(grid, outcomes, tmp_path)
    assert "Not finished" not in text
    there, back = text.split("## back")
    assert "Best two in nir/tar@0.01: L2 before Simulated" in there
    assert "Best two in vis/tar@0.01: AFA before L2 by 10.00 points" in back
    assert "| Simulated | - | - | - | nothing simulates it |" in back


def test_a_search_goes_by_the_data_sets_own_deciding_figure(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(pool, name: str, recipe, folder: Path):
        alpha = recipe.method.options.get("spatial_alpha", 0)
        return Finished({"figures": {"nir/tar@0.01": alpha, "vis/tar@0.01": 1 - alpha}})

    monkeypatch.setattr(RunPool, "_run", run)
    datasets = {"there": {}, "back": {"best_by": "vis/tar@0.01"}}
    both = Grid.model_validate({
        **grid.model_dump(), "figures": ["nir/tar@0.01", "vis/tar@0.01"], "datasets": datasets, "paper": {},
    })  # fmt: skip
    outcomes = run_cells(both, tmp_path, 1, lambda line: None)
    assert {each.cell.key: each.alpha for each in outcomes if each.alpha is not None} == {
        "there/AFA": 0.2,
        "back/AFA": 0.1,
    }
    save_figure(draw_table(both, outcomes), tmp_path, "table")
    assert "nir/tar@0.01 or vis/tar@0.01, %" in (tmp_path / "table.svg").read_text()


def test_figures_that_no_run_has_are_refused_before_anything_runs(grid: Grid, tmp_path: Path) -> None:
    for change, wanted in (
        ({"figures": ["nir/tar@0.01", "lwir/tar@0.01"], "paper": {}}, "unknown figure 'lwir/tar@0.01'"),
        ({"figures": ["top1"]}, "L2: unknown figure 'top1'"),
        ({"search": {"settings": grid.search.settings, "figure": "tar"}}, "AFA: unknown figure 'tar'"),
        # The search measures at its own FARs.
        (
            {"search": {"settings": ["evaluation.fars=[0.1]"], "figure": "nir/tar@0.01"}},
            "unknown figure 'nir/tar@0.01'",
        ),
    ):
        with pytest.raises(InputError, match=wanted):
            run_cells(Grid.model_validate({**grid.model_dump(), **change}), tmp_path / "out", 1, lambda line: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../L2", "a/b", ".", ".L2", "L\\u00002", ""])
def test_names_that_cannot_be_folders_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(SMALL.replace("[methods.L2]", f'[methods."{name}"]'))
    with pytest.raises(InputError, match=r"methods: expected a name that can be a folder's"):
        read_grid(tmp_path / "grid.toml")


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("seeds = [0, 1, 2]", "seeds = [0, 1, 0]", "expected each seed once, got 0 twice; leave one out"),
        ("alphas = [0.1, 0.2]", "alphas = [0.0, -0.0]", "alphas of method 'AFA' once, got 0 twice"),
        ('["data.search_identities=55"]', '["seed=1"]', "expected no seed among the settings of .search., got"),
        ("alphas = [0.1, 0.2]", "alphas = [0.1, 0.10000001]", "alphas of method 'AFA' once, got 0.1"),
    ],
)
def test_what_is_named_twice_is_refused(old: str, new: str, wanted: str, tmp_path: Path) -> None:
    """A comparison would wait for ever for as many runs as are named."""
    assert old in SMALL
    (tmp_path / "grid.toml").write_text(SMALL.replace(old, new))
    with pytest.raises(InputError, match=wanted):
        read_grid(tmp_path / "grid.toml")


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (["method.name=l2_s"], "unknown method 'l2_s'"),
        (["method.alfa=1"], "unknown l2 option 'alfa'"),
        (["seed=5"], "L2: expected no seed in a cell's settings, got seed=5; name it in the grid's seeds"),
    ],
)
def test_a_cell_that_cannot_be_run_is_refused_before_others_are(
    settings: list[str], wanted: str, grid: Grid, tmp_path: Path
) -> None:
    dump = grid.model_dump()
    dump["methods"]["L2"]["settings"] = [*dump["methods"]["L2"]["settings"], *settings]
    with pytest.raises(InputError, match=wanted):
        run_cells(Grid.model_validate(dump), tmp_path / "out", 1, lambda line: None)
    assert not (tmp_path / "out").exists()


def test_runs_of_another_grid_are_left_as_they_are(grid: Grid, tmp_path: Path) -> None:
    (cell,) = [cell for cell in cells_of(grid) if cell.method == "L2"]
    folder = tmp_path / "out" / "runs" / "L2" / "seed0"
    folder.mkdir(parents=True)
    file = folder / "recipe.toml"
    file.write_text(dump_recipe(recipe_of(grid, cell, ("seed=0", "optimizer.learning_rate=0.5"))))
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"learning_rate was 0.5, now .*; give another --out"):
        run_cells(grid, tmp_path / "out", 1, lambda line: None)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [file]
    assert file.read_bytes() == before


def test_links_lead_to_folders_of_any_name_and_equal_methods_are_level(grid: Grid, tmp_path: Path) -> None:
    dump = grid.model_dump()
    dump["methods"] = {"plain [a]": dump["methods"]["L2"], "L2": dump["methods"]["L2"]}
    both = Grid.model_validate({**dump, "paper": {}, "seeds": [0]})
    text = markdown(both, [outcome(name, 0, 0.5, tmp_path) for name in both.methods], tmp_path)
    assert "[0](runs/plain%20%5Ba%5D/seed0)" in text
    assert "plain [a] and L2, level (too few seeds for a test)" in text
    assert "Percent, seed 0." in text
    three = Grid.model_validate({**dump, "paper": {}, "seeds": [0, 1, 2]})
    of_both = [outcome(name, seed, 0.5 + (name == "L2") / 8, tmp_path) for name in both.methods for seed in (0, 1, 2)]
    assert "L2 before plain [a] by 12.50 points (no test: equal differences over 3 seeds)" in markdown(
        three, of_both, tmp_path
    )


@pytest.mark.parametrize(
    ("of_l2", "of_afa", "sentence"),
    [
        # L2 is poor with the seed that AFA lacks: its mean over all its seeds is lower.
        (
            {0: 0.90, 1: 0.92, 2: 0.70},
            {0: 0.88, 1: 0.90},
            "L2 before AFA by 2.00 points (over the seeds that both have",
        ),
        (
            {0: 0.90, 1: 0.80},
            {0: 0.88},
            "L2 before AFA by 2.00 points (over the seeds that both have: 0; too few seeds",
        ),
        ({0: 0.90, 1: 0.80}, {0: 0.90}, "AFA and L2, level (over the seeds that both have: 0; too few seeds"),
        ({0: 0.90}, {1: 0.92}, "AFA and L2, which have no seed in common (no test)."),
    ],
)
def test_the_best_two_are_ordered_by_the_seeds_that_both_have(
    of_l2: dict[int, float], of_afa: dict[int, float], sentence: str, grid: Grid, tmp_path: Path
) -> None:
    outcomes = [outcome("L2", seed, value, tmp_path) for seed, value in of_l2.items()]
    outcomes += [outcome("AFA", seed, value, tmp_path) for seed, value in of_afa.items()]
    assert f"Best two in nir/tar@0.01: {sentence}" in markdown(grid, outcomes, tmp_path)


def test_a_paired_test_needs_two_seeds() -> None:
    assert paired_test({0: 0.5}, {0: 0.25})[::2] == (0.25, 1)
    assert paired_test({}, {0: 1.0})[2] == 0
    # Equal but for rounding.
    difference, p, seeds = paired_test({0: 0.9, 1: 0.8}, {0: 0.8, 1: 0.7})
    assert (round(difference, 9), math.isnan(p), seeds) == (0.1, True, 2)


def test_failed_cells_are_shown_and_a_failed_search_fails_its_cells(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(pool, name: str, recipe, folder: Path):
        if recipe.data.search_identities == 0 and recipe.seed == 1:
            return Finished(None, "no disk")
        alpha = recipe.method.options.get("spatial_alpha", 0)
        return Finished({"figures": {"nir/tar@0.01": 0.5 + alpha}})

    shown = []
    monkeypatch.setattr(RunPool, "_run", run)
    outcomes = run_cells(grid, tmp_path, 2, lambda line: None, lambda so_far: shown.append(len(so_far)))
    assert [(each.cell.method, each.seed, each.failure, each.alpha) for each in outcomes] == [
        ("L2", 0, "", None), ("L2", 1, "no disk", None), ("L2", 2, "", None),
        ("AFA", 0, "", 0.2), ("AFA", 1, "no disk", 0.2), ("AFA", 2, "", 0.2),
    ]  # fmt: skip
    assert shown == [1, 2, 3, 4, 5, 6]
    monkeypatch.setattr(RunPool, "_run", lambda *words: Finished(None, "broken"))
    assert outcomes != (failed := run_cells(grid, tmp_path, 1, lambda line: None))
    assert failed[-1].failure == "every alpha failed: broken; broken"


def test_a_table_says_how_much_of_the_comparison_it_is(grid: Grid, tmp_path: Path) -> None:
    outcomes = [outcome("L2", 0, 0.9, tmp_path)]
    text = markdown(grid, outcomes, tmp_path)
    assert "**Not finished: 1 of 6 runs so far.**" in text
    assert "| AFA | - | 98.1 | - |  |" in text
    write_tables(grid, outcomes, tmp_path)
    assert (tmp_path / "table.csv").read_text().count("\n") == 2


def test_two_comparisons_in_one_folder_are_one_too_many(tmp_path: Path) -> None:
    with (
        only_one_in(tmp_path / "out"),
        pytest.raises(InputError, match="expected a folder that no other comparison is writing into"),
        only_one_in(tmp_path / "out"),
    ):
        pass
    with only_one_in(tmp_path / "out"):
        (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder for the comparison"), only_one_in(tmp_path / "file"):
        pass
