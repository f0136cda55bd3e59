"""Recipes: reading, settings, errors with suggestions, round trip."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from facexfer import recipes
from facexfer.errors import InputError
from facexfer.recipe import Recipe, differences, dump_recipe, parse_recipe, read_recipe
from facexfer.transfer.methods import create

NO_TEXT = "^test: data.modality: expected text, got 3; put it into quotes, with --set data.modality='\"3\"'$"
MINIMAL = {
    "source": {"backbone": "mobilefacenet"},
    "data": {"manifest": "images.csv"},
    "method": {"name": "l2"},
    "optimizer": {"epochs": 1},
}
PACKAGED = sorted(file.name for file in resources.files(recipes).iterdir() if file.name.endswith(".toml"))


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_recipes_are_good(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_SHARED", "shared")
    monkeypatch.setenv("FACEXFER_DEMO", "runs/demo")
    recipe = read_recipe(name.removesuffix(".toml"))
    # A method without stages takes no steps.
    assert bool(create(recipe.method.name, **recipe.method.options)) == (recipe.optimizer.epochs != 0)
    # Else it would leave the source as it is.
    assert recipe.method.name != "adabn" or recipe.source.recalibrate_batchnorm


def test_a_resolved_recipe_reads_as_the_same(tmp_path: Path) -> None:
    recipe = parse_recipe({**MINIMAL, "method": {"name": "afa", "taps": 8}}, "test")
    file = tmp_path / "recipe.toml"
    file.write_text(dump_recipe(recipe))
    assert read_recipe(file) == recipe
    assert "drop_factor" in file.read_text()


def test_what_may_be_none_is_none_by_default() -> None:
    """TOML has no None: it is left out of a resolved recipe, which then has the default."""
    fields = [
        (key, field) for section in _sections(Recipe) for key, field in section.model_fields.items()
        if type(None) in get_args(field.annotation)
    ]  # fmt: skip
    assert {key for key, field in fields if field.default is not None} == set()
    assert "epochs" in {key for key, _ in fields}
    for section in ("data", "source_data"):
        with pytest.raises(InputError, match=f"test: {section}.modality.*got None"):
            parse_recipe({**MINIMAL, section: {"modality": None}}, "test")


def _sections(section: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield section
    for field in section.model_fields.values():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _sections(part)


def test_settings_change_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_SHARED", "/data")
    recipe = read_recipe("nirsim-afa", ["seed=7", "method.name=l2", "optimizer.drops=[0.5, 0.75]", "data.modality=vis"])
    assert (recipe.seed, recipe.method.name, recipe.data.modality) == (7, "l2", "vis")
    assert recipe.optimizer.drops == (0.5, 0.75)
    assert str(recipe.data.manifest) == "/data/data/lfw-nirsim/images.csv"


def test_a_setting_of_one_length_takes_the_place_of_the_files_other_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(dump_recipe(parse_recipe(MINIMAL, "test")))
    steps = read_recipe(file, ["optimizer.iterations=4"])
    assert (steps.optimizer.epochs, steps.optimizer.iterations) == (None, 4)
    file.write_text(dump_recipe(steps))
    passes = read_recipe(file, ["optimizer.epochs=0.5"]).optimizer
    assert (passes.epochs, passes.iterations) == (0.5, None)
    for both in (["optimizer.iterations=4", "optimizer.epochs=1"], ["optimizer.epochs=1", "optimizer.iterations=4"]):
        with pytest.raises(InputError, match="optimizer: expected exactly one of epochs and iterations, got both"):
            read_recipe(file, both)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["seed=1", "data.bogus=1"], r"^--set data\.bogus=1: unknown key 'data.bogus'; .*keys: data.augmentation"),
        (["seed=many"], "^--set seed=many: seed: expected a valid integer, got 'many'"),
        (["seed=1", "seed=-1"], "^--set seed=-1: seed: expected a value greater than or equal to 0, got -1"),
        (["data.modality=['nir', 3]"], r"^--set data\.modality=\['nir', 3\]: data.modality: expected text, got 3"),
        (["source.backbone="], r"mine\.toml with --set source\.backbone=: source.backbone: expected a value, got none"),
        (["companions.kep="], "^--set companions.kep=: unknown key 'companions.kep'"),
        (["evaluation.pairs=[{probe='nir', galery='vis'}]"], "^--set evaluation.pairs=.*: unknown key 'evaluation.pai"),
        # Each is fine by itself, and the file has the other.
        (["seed=1", "optimizer.schedule=cosine"], r"mine\.toml with --set optimizer\.schedule=cosine: optimizer: exp"),
        (["seed=1", "sourc.backbone=mbf"], r"^--set sourc\.backbone=mbf: unknown key 'sourc'"),
        (
            ["optimizer.drops=", "optimizer.batch_size=2", "pool.share=0.5"],
            r"mine\.toml with --set pool\.share=0\.5: pool\.m",
        ),
    ],
)
def test_what_a_setting_gets_wrong_is_not_blamed_on_the_file(tmp_path: Path, settings: list[str], message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(dump_recipe(parse_recipe({**MINIMAL, "optimizer": {"epochs": 1, "drops": [0.5]}}, "test")))
    with pytest.raises(InputError, match=message):
        read_recipe(file, settings)


def test_what_the_file_gets_wrong_is_not_blamed_on_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(dump_recipe(parse_recipe(MINIMAL, "test")) + "[pool]\nmanifest = 'p.csv'\nshare = 3\n")
    with pytest.raises(InputError, match=r"mine\.toml: pool\.share: expected a value less than or equal to 1, got 3"):
        read_recipe(file, ["seed=1", "pool.keep=0.1"])


def test_a_setting_without_a_value_takes_the_key_or_the_section_out(tmp_path: Path) -> None:
    companions = {"match": "identity", "keep": 0.25}
    recipe = parse_recipe({**MINIMAL, "optimizer": {"epochs": 1, "drops": [0.5]}, "companions": companions}, "test")
    file = tmp_path / "mine.toml"
    file.write_text(dump_recipe(recipe))
    read = read_recipe(file, ["companions.keep=", "optimizer.drops= ", "optimizer.schedule=cosine"])
    assert (read.companions.match, read.companions.keep) == ("identity", 0)
    assert (read.optimizer.drops, read.optimizer.schedule) == ((2 / 3,), "cosine")
    assert read_recipe(file, ["companions="]).companions is None
    # What is not there stays so, the section of it too; an empty text is written as such.
    assert read_recipe(file, ["pool.keep=", "method.layers="]) == recipe
    assert read_recipe(file, ['source.backbone=""']).source.backbone == ""
    with pytest.raises(InputError, match="source.backbone: expected a value, got none; add it"):
        read_recipe(file, ["source.backbone="])
    with pytest.raises(InputError, match=r"unknown key 'companions.kep'; did you mean 'companions.keep'\?"):
        read_recipe(file, ["companions.kep="])
    with pytest.raises(InputError, match=r"expected a section before the last dot of 'seed.x', 'seed' is a value"):
        read_recipe(file, ["seed.x="])
    assert read_recipe("nir-afa", ["method.spatial_alpha="]).method.options.keys() == {"channel_alpha", "second_rate"}
    with pytest.raises(InputError, match=r"that \[method\] holds, .* got method.spatal_alpha; .*, spatial_alpha, "):
        read_recipe("nir-afa", ["method.spatal_alpha="])


def test_differences_name_the_keys() -> None:
    first = parse_recipe(MINIMAL, "test")
    second = parse_recipe({**MINIMAL, "seed": 3, "method": {"name": "afa", "taps": 8}}, "test")
    assert differences(first, first) == {}
    assert differences(first, second) == {
        "method.name": ("l2", "afa"),
        "method.taps": (None, 8),
        "seed": (0, 3),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sed": 1}, r"test: unknown key 'sed'; did you mean 'seed'\?"),
        (
            {"optimizer": {"epochs": 1, "learnin_rate": 1}},
            r"unknown key 'optimizer.learnin_rate'; did you mean 'optimizer.learning_rate'\?",
        ),
        ({"evaluation": {"pairs": [{"prob": "nir"}]}}, r"unknown key 'evaluation.pairs.0.prob'; did you mean"),
        ({"optimizer": {"epochs": "many"}}, "test: optimizer.epochs: .* got 'many'"),
        ({"evaluation": {"fars": [1e-3, 7.5]}}, "evaluation.fars.1: .* less than or equal to 1, got 7.5"),
        ({"evaluation": {"fars": []}}, "evaluation.fars: expected at least 1 in the list"),
        ({"evaluation": {"pairs": []}}, "evaluation.pairs: expected at least 1 in the list"),
        ({"seed": -1}, "test: seed: .* greater than or equal to 0, got -1"),
        ({"seed": 2**32}, "test: seed: .* less than 4294967296, got 4294967296"),
        ({"optimizer": {"epochs": 1, "drops": [-1]}}, "optimizer.drops.0: .* greater than 0, got -1"),
        ({"evaluation": {"fars": [1e-20]}}, "evaluation.fars.0: .* greater than or equal to 0.0*1, got 1e-20"),
        ({"evaluation": {"fars": 0.1}}, "evaluation.fars: expected a list, got 0.1; put it into brackets"),
        ({"evaluation": {"fars": [float("nan")]}}, "evaluation.fars.0: .* got nan"),
        ({"optimizer": {"epochs": 1, "learning_rate": float("inf")}}, "optimizer.learning_rate: .* got inf"),
        ({"source": {}}, "test: source.backbone: expected a value, got none; add it$"),
        ({"optimizer": {}}, "optimizer: expected exactly one of epochs and iterations, got none; set one"),
        ({"optimizer": {"epochs": 1, "iterations": 1}}, "iterations, got both; set one"),
        ({"evaluation": {"pairs": [{"probe": "nir", "gallery": "nir"}]}}, "pairs.0: expected a gallery of another"),
        ({"data": {"manifest": "a\0b"}}, "data.manifest: expected a path, got 'a.x00b' with a zero character"),
        ({"data": {"modality": 3}}, NO_TEXT),
        ({"data": {"modality": ["nir", 3]}}, NO_TEXT),
        ({"data": {"modality": " "}}, "^test: data.modality: expected a name, got ' '; write the one of the manifest$"),
        ({"runtime": {"devices": [1]}}, r"^test: runtime.devices: expected a valid .*, got \[1\]$"),
        ({"head": {"start": "zero"}}, "head.start: .* got 'zero'"),
        ({"method": "l2"}, "^test: method: expected a section, got 'l2'; set a key of it, such as method.name$"),
    ],
)
def test_bad_values_are_errors(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_recipe({**MINIMAL, **change}, "test")


def test_an_unset_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACEXFER_SHARED", raising=False)
    with pytest.raises(InputError, match=r"variables in path '.*' to be set, \$FACEXFER_SHARED is not"):
        read_recipe("nirsim-afa")


def test_a_byte_order_mark_is_no_part_of_a_recipe_and_a_folder_is_none(tmp_path: Path) -> None:
    recipe = parse_recipe(MINIMAL, "test")
    (tmp_path / "mine.toml").write_text(dump_recipe(recipe), encoding="utf-8-sig")
    assert read_recipe(tmp_path / "mine.toml") == recipe
    with pytest.raises(InputError, match="expected a recipe in TOML, got a folder; name a file"):
        read_recipe(tmp_path)


def test_a_missing_or_damaged_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown recipe 'nirsim-afaa'; did you mean 'nirsim-afa'\?"):
        read_recipe("nirsim-afaa")
    # What is plainly a path is no name of ours.
    for path in (tmp_path / "none.toml", "none.toml", "recipes/nirsim-afa"):
        with pytest.raises(
            InputError, match=f"^{path}: expected a recipe in TOML, found no such file; check the path$"
        ):
            read_recipe(path)
    file = tmp_path / "bad.toml"
    file.write_bytes(b"\xff\xfe = 1")
    with pytest.raises(InputError, match="expected a recipe in TOML"):
        read_recipe(file)


@pytest.mark.parametrize("setting", ["seed", "=3"])
def test_a_setting_without_key_or_value_is_an_error(setting: str) -> None:
    with pytest.raises(InputError, match="expected --set section.key=value"):
        read_recipe("nirsim-afa", [setting])
