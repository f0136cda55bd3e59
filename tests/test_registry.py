"""The registry's errors."""

import pytest

from facexfer.errors import InputError
from facexfer.registry import Registry


def test_a_duplicate_name_is_an_error():
    registry = Registry("head")
    registry.add("a", 1)
    with pytest.raises(ValueError, match="head 'a' is registered already"):
        registry.add("a", 2)
    assert registry["a"] == 1


def test_what_is_defined_again_takes_its_own_place():
    registry = Registry("method")
    for value in (1, 2):

        @registry.register("mine")
        def mine(value=value):
            return value

    assert registry["mine"]() == 2
    with pytest.raises(ValueError, match="method 'mine' is registered already"):
        registry.add("mine", pytest.raises)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    registry = Registry("head")
    registry.register("arcface")(1)
    with pytest.raises(InputError, match=r"unknown head 'x'; heads: arcface"):
        registry["x"]
    assert "x" not in registry
    assert list(registry) == ["arcface"]
