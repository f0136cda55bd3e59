"""Every docstring example of the package runs and gives the number that it shows."""

import doctest
import importlib
import pkgutil

import pytest

import facexfer.backbones
import facexfer.eval
from facexfer.backbones import BACKBONES
from facexfer.data.augmentation import PRESETS
from facexfer.data.datasets import DATASETS
from facexfer.data.layouts import LAYOUTS
from facexfer.heads import HEADS
from facexfer.tasks import TASKS
from facexfer.transfer.methods import METHODS

PACKAGES = (facexfer, facexfer.backbones, facexfer.eval)
MODULES = sorted(
    module.name for package in PACKAGES for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What an example registers is gone with it: other tests of this process look at every entry.
    for table in (METHODS, BACKBONES, LAYOUTS, HEADS, PRESETS, DATASETS, TASKS):
        monkeypatch.setattr(table, "_entries", dict(table._entries))
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
