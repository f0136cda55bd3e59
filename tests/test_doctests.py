"""Every docstring example of the package runs and gives the number that it shows."""

import doctest
import importlib
import pkgutil

import pytest

import facexfer.backbones
import facexfer.eval

PACKAGES = (facexfer, facexfer.backbones, facexfer.eval)
MODULES = sorted(
    module.name for package in PACKAGES for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
