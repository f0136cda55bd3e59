"""Every key of every section, for every task: a run reads it, or setting it is an error."""

import sys
import tomllib
from collections import defaultdict
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from small_faces import write_small_set
from small_pictures import write_pictures

from facexfer import recipes
from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.recipe import Recipe, dump_recipe, parse_recipe, read_recipe
from facexfer.runs.folder import RunFolder
from facexfer.tasks import TASKS
from facexfer.tasks.keys import all_keys, check_keys, idle_keys, is_read

# A value that fits, where the key's type does not tell one.
VALUES = {
    "evaluation.pairs": [{"probe": "vis"}],
    "evaluation.fars": [0.1],
    "data.train_identities": 2,
    "data.folds": 2,
}
PACKAGED = sorted(
    file.name.removesuffix(".toml") for file in resources.files(recipes).iterdir() if file.name.endswith(".toml")
)
COMMON = {
    "optimizer": {"epochs": 2, "batch_size": 4},
    "runtime": {"accelerator": "cpu", "log_every_steps": 1},
}
# Runs of each task that together read all that it reads; a new optional section needs a run that has it.
RUNS = {
    "face": [
        {
            "source": {"backbone": "mobilefacenet_slim", "recalibrate_batchnorm": True},
            "data": {"manifest": "{faces}/images.csv", "images_per_identity": 2},
            "source_data": {"modality": "vis"},
            "method": {"name": "lwf", "old_task": "source_set"},
            "evaluation": {"fars": [0.5], "best_far": 0.5, "patience": 3},
        },
        {
            "source": {"backbone": "mobilefacenet_slim"},
            "data": {"manifest": "{faces}/images.csv"},
            "companions": {"match": "capture", "keep": 0.25},
            "pool": {"manifest": "{faces}/images.csv", "split": "train", "share": 0.25, "keep": 0.25},
            "method": {"name": "csd"},
            "evaluation": {"fars": [0.1]},
        },
    ],
    "image": [
        {
            "source": {"backbone": "mobilenet_v2", "input_size": 32, "recalibrate_batchnorm": True},
            "data": {"dataset": "folders", "root": "{images}", "augmentation": "flip"},
            "source_data": {"dataset": "folders", "root": "{images}"},
            "head": {"name": "linear"},
            "method": {"name": "lwf", "old_task": "source_set"},
            # So that four images in two steps do not look like a run that failed.
            "optimizer": {"learning_rate": 1e-6, "frozen_batchnorm": True},
        },
        {
            "source": {"backbone": "mobilenet_v2", "input_size": 32},
            "data": {"dataset": "folders", "root": "{images}"},
            "companions": {"match": "simulated"},
            "head": {"name": "linear"},
            "method": {"name": "csd", "weight": 0.1, "identity_weight": 1.0, "map_weight": 0.0},
            "optimizer": {"learning_rate": 1e-6},
        },
    ],
}


def at(key: str, value) -> dict[str, Any]:
    """Nest a value: ``a.b`` -> {"a": {"b": value}}."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def sections_of(model: type[Recipe] = Recipe, prefix: str = ""):
    """The class of every section with its place."""
    places = defaultdict(set)
    places[model].add(prefix)
    for key in all_keys():
        section, _, _ = key.rpartition(".")
        if section:
            annotation: Any = Recipe.model_fields[section].annotation
            alternatives = getattr(annotation, "__args__", (annotation,))
            places[next(each for each in alternatives if issubclass(each, BaseModel))].add(f"{section}.")
    return places


def field_of(key: str):
    """What pydantic knows of a key, and its section."""
    section, _, name = key.rpartition(".")
    model = next((model for model, places in sections_of().items() if f"{section}." in places), Recipe)
    return model, model.model_fields[name]


def with_key(task: str, key: str, value) -> dict[str, Any]:
    """The values of a recipe that sets a key, and what else its section must have."""
    model, _ = field_of(key)
    needed = {name: "some" for name, field in model.model_fields.items() if field.is_required()}
    section = key.rpartition(".")[0]
    return merged(merged(at(section, needed) if section else {}, minimal(task)), at(key, value))


def value_for(key: str):
    """Some value that the key's type accepts."""
    choices = get_args(field_of(key)[1].annotation)
    for value in (VALUES.get(key), *choices, 1, 0.5, True, "some", ["some"], [0.5]):
        if value is None:
            continue
        try:
            parse_recipe(with_key("face", key, value), "test")
        except InputError as error:
            if "unknown key" in str(error):
                raise
            continue
        return value
    raise AssertionError(f"give a value for {key} in VALUES")


def minimal(task: str):
    return {
        "task": task, "source": {"backbone": "mbf"}, "data": {}, "method": {"name": "l2"},
        "optimizer": {"iterations": 1},
    }  # fmt: skip


def merged(first, second):
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    return {key: merged(first.get(key), second[key]) if key in second else first[key] for key in {**first, **second}}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch):
    """Collect the dotted keys that are read while the block runs, but for the check itself."""
    seen: set[str] = set()
    places = sections_of()
    plain = BaseModel.__getattribute__

    def recorded(self, name: str):
        caller = sys._getframe(1).f_globals["__name__"]
        if name in type(self).model_fields and caller != "facexfer.tasks.keys":
            seen.update(f"{place}{name}" for place in places.get(type(self), ()))
        return plain(self, name)

    for section in places:
        monkeypatch.setattr(section, "__getattribute__", recorded, raising=False)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_key_that_a_task_may_set_is_read_by_its_runs(task: str, reads, tmp_path: Path) -> None:
    places = {
        "faces": write_small_set(tmp_path / "faces", train=2, val=2, images=2).parent,
        "images": write_pictures(tmp_path / "images"),
    }
    recipes = []
    for number, sections in enumerate(RUNS[task]):
        filled = {
            section: {key: value.format(**places) if isinstance(value, str) else value for key, value in values.items()}
            for section, values in merged(COMMON, sections).items()
        }
        recipes.append(parse_recipe({"task": task, **filled}, "test"))
        reads.clear() if number == 0 else None
        train(recipes[-1], tmp_path / f"run{number}", resume=False)
    allowed = set(all_keys()) - idle_keys(task)
    assert allowed - reads == set()
    written = RunFolder(tmp_path / "run0").recipe_file.read_text()
    assert written == dump_recipe(recipes[0], idle_keys(task))
    check_keys(parse_recipe(tomllib.loads(written), "written"))


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("key", sorted(set(all_keys()) - {"task"}))
def test_a_key_that_a_task_does_not_read_is_an_error_that_says_who_reads_it(task: str, key: str) -> None:
    others = [name for name in TASKS if is_read(key, name)]
    assert others, f"no task reads {key}: declare it in the task that does"
    if is_read(key, task):
        return
    recipe = parse_recipe(with_key(task, key, value_for(key)), "test")
    # Where a section must have a key, that one may be named instead.
    named = key if not any(field.is_required() for field in field_of(key)[0].model_fields.values()) else ""
    with pytest.raises(
        InputError, match=rf"expected keys that the {task} task reads, got {named}.*, which the {others[0]} task"
    ):
        check_keys(recipe)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"draw_seed": 1}}, "data.draw_seed: expected .*data.search_identities.* with it, got none"),
        ({"optimizer": {"drops": [], "drop_factor": 0.5}}, "optimizer.drop_factor: expected optimizer.drops with it"),
        ({"evaluation": {"patience": 2}}, "evaluation.patience: expected evaluation.best_far with it"),
        ({"companions": {"augmentation": "nosuch"}}, "companions.augmentation: expected companions.share with it"),
        (
            {"companions": {"match": "simulated", "manifest": "none.csv"}},
            'companions.manifest: expected another companions.match with it than "simulated", with which it does',
        ),
        ({"companions": {"match": "simulated", "modality": "thermal"}}, "companions.modality: expected another"),
        ({"runtime": {"workers": 2, "augment": "device"}}, "runtime.workers: expected another runtime.augment with"),
    ],
)
def test_a_key_that_does_nothing_alone_is_an_error(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_keys(parse_recipe(merged(minimal("face"), sections), "test"))


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_recipes_set_nothing_that_does_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_SHARED", "shared")
    monkeypatch.setenv("FACEXFER_DEMO", "runs/demo")
    check_keys(read_recipe(name))


def test_a_recipe_with_every_default_written_out_is_good(tmp_path: Path) -> None:
    for sections in ({}, {"companions": {"match": "simulated"}, "runtime": {"augment": "device"}}):
        recipe = parse_recipe(merged(minimal("face"), sections), "test")
        check_keys(parse_recipe(tomllib.loads(dump_recipe(recipe, idle_keys("face"))), "written"))


def test_a_default_that_is_written_out_is_refused_as_any_other_value() -> None:
    with pytest.raises(InputError, match="got data.modality, which the face task reads"):
        check_keys(parse_recipe(merged(minimal("image"), {"data": {"modality": "nir"}}), "test"))


def test_an_unknown_task_is_an_error() -> None:
    with pytest.raises(InputError, match="unknown task 'faces'; did you mean 'face'"):
        check_keys(parse_recipe(minimal("faces"), "test"))


def test_folds_are_drawn_with_the_seed_of_draws() -> None:
    check_keys(parse_recipe(merged(minimal("face"), {"data": {"folds": 3, "fold": 1, "draw_seed": 1}}), "test"))
