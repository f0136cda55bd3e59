"""Training state: round trip, atomic writing, damage."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from facexfer.errors import InputError, RunError
from facexfer.runs import state
from facexfer.runs.state import load_state, random_state, save_state, set_random_state


def test_nested_state_comes_back_as_it_was(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    state = {"step": 3, "rate": 0.1, "none": None, "pair": (1, "x"), "optimizer": optimizer.state_dict(), "list": [1.5]}
    save_state(tmp_path / "a.safetensors", state)
    loaded: Any = load_state(tmp_path / "a.safetensors")
    assert {key: loaded[key] for key in ("step", "rate", "none", "pair", "list")} == {
        key: state[key] for key in ("step", "rate", "none", "pair", "list")
    }
    assert loaded["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]
    assert torch.equal(loaded["optimizer"]["state"][0]["momentum_buffer"], torch.ones(3, 2))


def test_channels_last_weights_keep_their_values(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    save_state(tmp_path / "a.safetensors", {"weight": weight})
    assert torch.equal(load_state(tmp_path / "a.safetensors")["weight"], weight)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.safetensors"
    save_state(file, {"step": 1})

    def full_disk(file: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(RunError, match="No space left on device; free some space"):
        save_state(file, {"step": 2})
    assert load_state(file) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_damaged_or_foreign_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match="expected a facexfer checkpoint"):
        load_state(file)
    save_state(file, {"weight": torch.ones(100)})
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(InputError, match="expected a facexfer checkpoint, got: .*; use an earlier one$"):
        load_state(file)
    state.write_safetensors(file, {"weight": torch.ones(1)}, {})
    with pytest.raises(InputError, match="got another safetensors file"):
        load_state(file)


def test_what_cannot_be_saved_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="got object"):
        save_state(tmp_path / "a.safetensors", {"what": object()})


def test_random_state_comes_back() -> None:
    state = random_state()
    first = torch.rand(3)
    set_random_state(state)
    assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize("skeleton", ['{"tensor": "7"}', '{"dict": [1]}', "{}", "[" * 100_000, "no JSON"])
def test_a_damaged_skeleton_is_one_line(tmp_path: Path, skeleton: str) -> None:
    file = tmp_path / "a.safetensors"
    state.write_safetensors(file, {"0": torch.zeros(1)}, {"format": state.STATE_FORMAT, "skeleton": skeleton})
    with pytest.raises(InputError, match="a.safetensors: expected a facexfer checkpoint"):
        load_state(file)
