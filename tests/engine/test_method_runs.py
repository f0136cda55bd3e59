"""Whole runs of the methods that ask about their source: prototypes, source images, channel weights, attention."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run
from recipe_files import write_recipe
from safetensors.torch import load_file
from small_faces import write_small_set

from facexfer.cli import main
from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.runs.folder import RunFolder
from facexfer.runs.state import load_state
from facexfer.transfer.channel_weights import weights_from_rises


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"), train=2, val=2, images=2)


@pytest.fixture(scope="module")
def make(manifest: Path, recipe_for: Callable[..., Any]) -> Callable[..., Any]:
    steps = {"iterations": 1, "batch_size": 4}

    def make(method, optimizer: tuple[()] = (), evaluation: tuple[()] = (), **sections: Any):
        return recipe_for(
            manifest,
            method={"layers": ["stage4"], **method},
            optimizer={**steps, **dict(optimizer)},
            evaluation={"untouched": False, **dict(evaluation)},
            **sections,
        )

    return make


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "part", "more"),
    [
        ({"name": "lwf", "old_task": "training_set", "layers": None}, "old_task", {}),
        (
            {"name": "soft_ft", "old_task": "source_set", "layers": None},
            "source_classification",
            {"source_data": {"modality": "vis"}},
        ),
    ],
)
def test_runs_give_their_part_of_the_loss(
    make: Callable[..., Any], method: dict[str, str | None], part: str, more: dict[str, Any], tmp_path: Path
) -> None:
    train(make(method, **more), tmp_path / "run", resume=False)
    losses = [record["losses"] for record in RunFolder(tmp_path / "run").metrics() if "losses" in record]
    assert [set(each) for each in losses] == [{"classification", part}]
    assert ("source" in json.loads(RunFolder(tmp_path / "run").result_file.read_text())["data"]) == bool(more)


@pytest.mark.slow
def test_fixed_attention_trains_a_sam_and_keeps_deltas_weights(make: Callable[..., Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(make({"name": "afa", "attention": "fixed"}), run, resume=False)
    assert RunFolder(run / "attention").finished
    state = load_state(run / "channel-weights.safetensors")
    (weights,) = state["weights"]
    assert torch.equal(weights, weights_from_rises(state["rises"][0]))
    assert (weights.shape, state["layers"]) == ((48,), ("stage4",))
    assert weights.sum().item() == pytest.approx(1, rel=1e-5)
    assert not torch.allclose(weights, torch.full((48,), 1 / 48))


@pytest.mark.slow
def test_a_run_stopped_before_its_result_keeps_what_it_has_trained(make: Callable[..., Any], tmp_path: Path) -> None:
    recipe, folder = make({"name": "l2", "layers": None}), RunFolder(tmp_path / "run")
    train(recipe, folder.path, resume=False)
    trained = load_file(folder.model_file)
    folder.result_file.unlink()
    folder.model_file.unlink()
    result = train(recipe, folder.path, resume=True)
    assert result["steps"] == 1
    assert all(torch.equal(trained[key], value) for key, value in load_file(folder.model_file).items())


def test_what_a_method_needs_is_checked_before_the_run(make: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected images of the source's own kind .* \[source_data\]"):
        train(make({"name": "soft_ft", "old_task": "source_set"}), tmp_path / "run", resume=False)
    with pytest.raises(InputError, match="expected a source network with its own classifier, mobilefacenet_slim came"):
        train(make({"name": "lwf"}), tmp_path / "run", resume=False)
    with pytest.raises(InputError, match="expected a margin of 0 to pi radians, got 100"):
        train(make({"name": "l2", "layers": None}, head={"margin": 100.0}), tmp_path / "run", resume=False)
    with pytest.raises(InputError, match="expected a method that compares layers for method.layers, got l2; leave it"):
        train(make({"name": "l2", "layers": ["stage4"]}), tmp_path / "run", resume=False)
    recipe = make({"name": "l2", "layers": None}, evaluation={"test_loss": True})
    with pytest.raises(InputError, match=r"expected test images of the training classes for evaluation.test_loss"):
        train(recipe, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_channel_weights_measured_before_a_run_are_used_by_it(
    make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In another precision than usual, which changes what the source is.
    recipe = make({"name": "delta"}, runtime={"precision": "64-true"})
    write_recipe(recipe, tmp_path / "recipe.toml")
    words = ["facexfer", "delta-weights", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run")]
    with pytest.raises(InputError, match="expected a method that taps layers, such as delta, got adabn"):
        run(*words[1:], "--set", "method.name=adabn")
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    rows = list(csv.DictReader((tmp_path / "run" / "channel-weights.csv").read_text().splitlines()))
    assert [row["layer"] for row in rows] == ["stage4"] * 48
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(1, rel=1e-5)
    measured = (tmp_path / "run" / "channel-weights.safetensors").stat().st_mtime_ns
    train(recipe, tmp_path / "run", resume=False)
    assert (tmp_path / "run" / "channel-weights.safetensors").stat().st_mtime_ns == measured
    # Another learning rate trains another head: its weights are no part of this run.
    other = make({"name": "delta"}, optimizer={"learning_rate": 0.5})
    write_recipe(other, tmp_path / "other.toml")
    monkeypatch.setattr(sys, "argv", [*words[:2], str(tmp_path / "other.toml"), *words[3:]])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert (tmp_path / "run" / "channel-weights.safetensors").stat().st_mtime_ns == measured


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parts"), [("id_mmd", {"classification", "discrepancy"}), ("xedgeface", {"contrast", "kept"})]
)
def test_methods_of_both_spectra_know_each_image_s_own(
    make: Callable[..., Any], name: str, parts: set[str], tmp_path: Path
) -> None:
    data = {"modality": ["nir", "vis"], "identities_per_batch": 2}
    train(make({"name": name, "layers": None}, optimizer={"batch_size": 8}, data=data), tmp_path / "run", resume=False)
    losses = [record["losses"] for record in RunFolder(tmp_path / "run").metrics() if "losses" in record]
    assert [set(each) for each in losses] == [parts]
    assert all(value > 0 for each in losses for value in each.values())


def test_methods_of_both_spectra_need_both(make: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected training images of exactly two modalities .*, got those of 1; name"):
        train(make({"name": "id_mmd"}), tmp_path / "run", resume=False)


@pytest.mark.parametrize("name", ["id_mmd", "xedgeface"])
def test_methods_of_both_spectra_refuse_a_third(recipe_for: Callable[..., Any], name: str, tmp_path: Path) -> None:
    three = ("nir", "vis", "nir-mild")
    manifest = write_small_set(tmp_path / "faces", train=2, val=2, images=2, modalities=three)
    recipe = recipe_for(manifest, method={"name": name}, data={"modality": list(three)}, optimizer={"batch_size": 4})
    with pytest.raises(InputError, match="expected training images of exactly two modalities .*, got those of 3; name"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", [{"name": "delta"}, {"name": "afa", "attention": "fixed"}])
def test_what_methods_ask_of_the_source_is_answered_in_double_precision(
    method: dict[str, Any], make: Callable[..., Any], tmp_path: Path
) -> None:
    recipe = make(method=method, optimizer={"iterations": 2}, runtime={"precision": "64-true"})
    assert train(recipe, tmp_path / "run", resume=False)["steps"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kept", "sections"),
    [
        ("channel-weights*", {"method": {"name": "delta"}}),
        ("companions-*", {"method": {"name": "csd", "map_weight": 0.0, "layers": None}, "companions": {}}),
    ],
)
def test_what_a_run_keeps_to_save_time_can_be_removed_where_it_is_damaged(
    kept: str, sections: dict[str, Any], make: Callable[..., Any], stop_at: Callable[[int], Any], tmp_path: Path
) -> None:
    recipe = make(optimizer={"iterations": 2}, **sections)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", on_step=stop_at(1))
    (file,) = (tmp_path / "run").glob(f"{kept}.safetensors")
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(InputError, match=rf"{file.name}: .*; remove the file, it is made again$"):
        train(recipe, tmp_path / "run", resume=True)
    file.unlink()
    assert train(recipe, tmp_path / "run", resume=True)["steps"] == 2


@pytest.mark.slow
def test_a_damaged_result_can_be_removed_and_made_again(make: Callable[..., Any], tmp_path: Path) -> None:
    recipe, folder = make({"name": "l2", "layers": None}), RunFolder(tmp_path / "run")
    with pytest.raises(InputError, match="found none; finish it with --resume"):
        folder.read_result()
    result = train(recipe, folder.path)
    folder.result_file.write_text(folder.result_file.read_text()[:-9])
    with pytest.raises(InputError, match=r"result.json: .*; remove the file, then finish the run with --resume"):
        train(recipe, folder.path, resume=True)
    folder.result_file.unlink()
    assert train(recipe, folder.path, resume=True)["figures"] == result["figures"]
