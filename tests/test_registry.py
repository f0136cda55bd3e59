"""The registry's errors."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facexfer.backbones import BACKBONES
from facexfer.data.augmentation import PRESETS
from facexfer.data.datasets import DATASETS
from facexfer.data.layouts import LAYOUTS
from facexfer.errors import InputError
from facexfer.heads import HEADS
from facexfer.registry import Registry, unknown_name_message
from facexfer.tasks import TASKS
from facexfer.transfer.methods import METHODS, create
from facexfer.transfer.stages import Stage


def test_a_duplicate_name_is_an_error() -> None:
    registry = Registry[int]("head")
    registry.add("a", 1)
    with pytest.raises(ValueError, match="head 'a' is registered already"):
        registry.add("a", 2)
    assert registry["a"] == 1


def test_what_is_defined_again_takes_its_own_place() -> None:
    registry = Registry[Any]("method")
    for value in (1, 2):

        @registry.register("mine")
        def mine(value=value):
            return value

    assert registry["mine"]() == 2
    with pytest.raises(ValueError, match="method 'mine' is registered already"):
        registry.add("mine", pytest.raises)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    registry = Registry[int]("head")
    registry.register("arcface")(1)
    with pytest.raises(InputError, match=r"unknown head 'x'; heads: arcface"):
        registry["x"]
    assert "x" not in registry
    assert unknown_name_message("layer", "x", map(str, range(99))).endswith(", 34, 35 and 69 more")
    assert list(registry) == ["arcface"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Install a package, as far as Python can tell: a module and what its wheel says about it."""

    def install(entry_points, module) -> None:
        (tmp_path / "some_package.py").write_text(module)
        folder = tmp_path / "some_package-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: some-package\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(entry_points)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "some_package", raising=False)

    return install


def test_other_packages_add_by_entry_points(package: Callable[..., Any]) -> None:
    package("[facexfer.colours]\nblue = some_package:blue\n", "blue = '#00f'\n")
    colours = Registry[str]("colour", "colours")
    colours.add("red", "#f00")
    assert list(colours) == ["red", "blue"]
    assert (len(colours), "blue" in colours) == (2, True)
    assert "some_package" not in sys.modules
    assert colours["blue"] == "#00f"
    assert dict(colours) == {"red": "#f00", "blue": "#00f"}
    with pytest.raises(InputError, match="unknown colour 'blu'; did you mean 'blue'. colours: blue, red"):
        colours["blu"]


def test_an_entry_point_that_cannot_be_imported_is_one_line(package: Callable[..., Any]) -> None:
    package("[facexfer.colours]\nblue = some_package:blue\n", "raise OSError('no paint')\n")
    colours = Registry[str]("colour", "colours")
    for _ in range(2):
        with pytest.raises(InputError, match="'blue' of the package some-package cannot be imported .* no paint"):
            colours["blue"]


def test_an_entry_point_must_not_take_a_name(package: Callable[..., Any]) -> None:
    package("[facexfer.colours]\nred = some_package:red\n", "red = '#e00'\n")
    colours = Registry[str]("colour", "colours")
    colours.add("red", "#f00")
    for _ in range(2):
        with pytest.raises(InputError, match="colour 'red' comes with facexfer, the package some-package has another"):
            colours["red"]


@pytest.mark.parametrize("table", [METHODS, BACKBONES, LAYOUTS, HEADS, PRESETS, DATASETS, TASKS])
def test_every_table_has_a_group(table: Registry, package: Callable[..., Any]) -> None:
    package(f"[facexfer.{table.group}]\nof_another = some_package:thing\n", "thing = object()\n")
    fresh = Registry[object](table.kind, table.group)
    assert fresh["of_another"] is sys.modules["some_package"].thing
    assert table.group == f"{table.kind.replace(' ', '')}s"


def test_a_method_that_is_not_called_or_built_right_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(strength: float) -> Any:
        return Stage("own")

    # Not registered, so that no other test meets it.
    monkeypatch.setitem(METHODS._entries, "own", own)
    with pytest.raises(InputError, match="method own, option strength: expected a value, got none; add it"):
        create("own")
    with pytest.raises(InputError, match="method own: expected a tuple of stages, got Stage; let its function return"):
        create("own", strength=1.0)
