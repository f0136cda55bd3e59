"""Batches come in order, and what a worker or the machine does wrong comes as one line."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from facexfer.data.loading import load_batches
from facexfer.errors import InputError, RunError


class Numbers(Dataset):
    """Numbers, of which one does what a test wants."""

    def __init__(self, act=None) -> None:
        self._act = act

    def __getitem__(self, index):
        if self._act and index == 3:
            self._act()
        return torch.full((2,), index), index


def refuse() -> None:
    raise InputError("crops/a.png: expected an image, got 0 bytes; remove it")


def break_down() -> None:
    raise RuntimeError("not a number")


def run_out_of_memory() -> None:
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


def end_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


BATCHES = [[0, 2], [1, 3]]


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_come_in_order_and_leave_the_random_numbers_alone(workers: int) -> None:
    state = torch.random.get_rng_state()
    loaded = list(load_batches(Numbers(), BATCHES, workers, seed=0))
    assert [labels.tolist() for _, labels in loaded] == BATCHES
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_is_the_line_that_its_reader_wrote(workers: int) -> None:
    with pytest.raises(InputError, match=r"^crops/a.png: expected an image, got 0 bytes; remove it$"):
        list(load_batches(Numbers(refuse), BATCHES, workers, seed=0))


def test_a_fault_in_a_dataset_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="in break_down"):
        list(load_batches(Numbers(break_down), BATCHES, 1, seed=0))


@pytest.mark.parametrize("act", [run_out_of_memory, end_worker])
def test_a_lost_worker_is_one_line_with_what_to_change(act: Callable[..., Any]) -> None:
    with pytest.raises(RunError, match=r"^expected 1 loader .*runtime.workers = 0.*--shm-size") as raised:
        list(load_batches(Numbers(act), BATCHES, 1, seed=0))
    assert "\n" not in str(raised.value)
