"""Batches of a data loader whose workers may fail: bad input and a machine's limits come as one line."""

import signal
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from facexfer.errors import InputError, RunError

# How torch begins an error that a dataset has raised in a worker, and what it says where the worker has no room.
_IN_WORKER = "in DataLoader worker process"
_NO_MEMORY = "shared memory"


_Key = TypeVar("_Key", contravariant=True)


class Indexed(Protocol[_Key]):
    """Images by what a batch lists of them."""

    def __getitem__(self, key: _Key, /) -> Any: ...


@dataclass(frozen=True)
class _Failure:
    """What went wrong with an image in a worker: raised there, it would come back with the worker's whole traceback."""

    message: str


class _Reporting(Dataset[Any]):
    """The same images, with bad input as a `_Failure` in the place of the image."""

    def __init__(self, images: Indexed[Any]) -> None:
        self._images = images

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._images[key]
        except InputError as error:
            return _Failure(str(error))


def load_batches(
    images: Indexed[_Key], batches: Sequence[list[_Key]], workers: int, seed: int
) -> Generator[tuple[Tensor, ...], None, None]:
    """Load batches of images in the given order; close the iterator to end its workers.

    Args:
        images: Each a tuple of what torch can stack.
        batches: The images of each batch.
        workers: Processes that load; 0 loads in this one.
        seed: Of the workers' random numbers; this process's are left alone.

    Yields:
        A batch, stacked, in page-locked memory where there is a GPU.

    Raises:
        InputError: If an image cannot be read.
        RunError: If workers cannot be started or are lost, such as in a container with little shared memory.
    """
    loader = DataLoader(
        _Reporting(images),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_stack,
        pin_memory=torch.cuda.is_available(),
        # The loader draws its workers' seeds: from a generator of its own, or a resumed run would draw once more from
        # the one that dropout uses.
        generator=torch.Generator().manual_seed(seed),
        worker_init_fn=_leave_interrupts,
    )
    try:
        loaded = iter(loader)
    except (OSError, RuntimeError) as error:
        raise _without_workers(workers, error) from error
    while True:
        try:
            batch = next(loaded, None)
        except (OSError, RuntimeError) as error:
            if workers == 0 or (_IN_WORKER in str(error) and _NO_MEMORY not in str(error)):
                raise
            raise _without_workers(workers, error) from error
        # Asking past the end lets the workers end.
        if batch is None:
            return
        if isinstance(batch, _Failure):
            raise InputError(batch.message)
        yield batch


def _stack(items: list[Any]) -> Any:
    failures = [item for item in items if isinstance(item, _Failure)]
    return failures[0] if failures else tuple(default_collate(items))


def _leave_interrupts(_: int) -> None:
    """Ignore Ctrl-C, which the terminal sends to the workers too: the run stops them when it stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _without_workers(workers: int, error: Exception) -> RunError:
    # What a worker raised comes with its traceback, whose last line says what it was.
    reason = str(error).strip().splitlines()[-1]
    return RunError(
        f"expected {workers} loader processes that last and share memory, got: {reason}; take runtime.workers = 0, or "
        "allow more shared memory (docker run --shm-size=1g) or memory"
    )
