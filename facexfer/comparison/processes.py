"""Training runs, each in its own process, several at a time, none of which outlives the comparison."""

import functools
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from facexfer.errors import InputError
from facexfer.files.atomic import write_bytes, write_text
from facexfer.recipe import Recipe, dump_recipe
from facexfer.runs.folder import RunFolder
from facexfer.tasks.fingerprints import run_fingerprints
from facexfer.tasks.keys import idle_keys

# The sections of a recipe that name files, and what is no recipe without; not what a search changes.
_OF_FILES: dict[str, Any] = {
    **dict.fromkeys(("task", "source", "data", "source_data", "companions", "pool", "optimizer"), True),
    "method": {"name"},
}


@dataclass(frozen=True)
class Finished:
    """How one run ended.

    Attributes:
        result: As in ``result.json``; None for a run that failed.
        failure: Why it failed, in one line; empty for a good one.
    """

    result: dict[str, Any] | None
    failure: str = ""


class RunPool:
    """Runs side by side, as a context.

    Left by an error, Ctrl-C or SIGTERM, it starts no further run and stops those at work, which keep their newest
    checkpoint.

    Args:
        jobs: Runs at a time; GPUs, where there are any, are given out in turn.
        say: Shows a line of progress.
    """

    def __init__(self, jobs: int, say: Callable[[str], None]) -> None:
        self._jobs, self._say = jobs, say
        self._threads = ThreadPoolExecutor(jobs)
        self._free_slots: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(jobs):
            self._free_slots.put(slot)
        self._guard = threading.Lock()
        self._children: set[subprocess.Popen[str]] = set()
        self._is_stopped = False

    def __enter__(self) -> Self:
        self._handler: Any = None
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, _interrupt)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        if kind is not None:
            with self._guard:
                self._is_stopped = True
                for child in self._children:
                    child.terminate()
        self._threads.shutdown(cancel_futures=kind is not None)
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)

    def start(self, name: str, recipe: Recipe, folder: Path) -> Future[Finished]:
        """Queue a run; one that is finished in its folder is read, one that was interrupted continues.

        Args:
            name: What its progress is called.
            recipe: The run.
            folder: Its run folder; the recipe and the log are next to it, as ``FOLDER.toml`` and ``FOLDER.log``.

        Returns:
            How it ended, once it has.
        """
        return self._threads.submit(self._run, name, recipe, folder)

    def _run(self, name: str, recipe: Recipe, folder: Path) -> Finished:
        try:
            return self._run_or_read(name, recipe, folder)
        except BrokenPipeError:
            # Nobody reads the progress any more: the comparison's end, and no fault of the run.
            raise
        except (OSError, ValueError) as error:
            return Finished(None, f"{folder}: {error}")

    def _run_or_read(self, name: str, recipe: Recipe, folder: Path) -> Finished:
        run = RunFolder(folder)
        if run.finished:
            try:
                run.check_resumable(recipe)
                run.check_data(_files_of(recipe.model_dump_json(include=_OF_FILES)))
            except InputError as error:
                return Finished(None, str(error))
            if run.failure is not None:
                return Finished(None, run.failure)
            return Finished(run.read_result())
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Not with_suffix, which takes the .001 of alpha0.001 for a suffix.
        file = folder.with_name(f"{folder.name}.toml")
        write_text(file, dump_recipe(recipe, idle_keys(recipe.task)))
        _lend_channel_weights(folder)
        words = [sys.executable, "-m", "facexfer", "train", str(file), "--out", str(folder)]
        if run.recipe_file.exists():
            words.append("--resume")
        status, output, errors = self._call(words)
        if self._is_stopped:
            return Finished(None, "stopped")
        write_text(folder.with_name(f"{folder.name}.log"), output + errors)
        if status != 0 or not run.result_file.is_file():
            failure = _reason(status, errors)
            self._say(f"{name}: failed: {failure}")
            return Finished(None, failure)
        result = run.read_result()
        self._say(f"{name}: finished")
        return Finished(result)

    def _call(self, words: list[str]) -> tuple[int, str, str]:
        slot = self._free_slots.get()
        try:
            with self._guard:
                if self._is_stopped:
                    return 1, "", ""
                child = subprocess.Popen(
                    words,
                    env=run_environment(slot, self._jobs),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                self._children.add(child)
            output, errors = child.communicate()
            with self._guard:
                self._children.remove(child)
        finally:
            self._free_slots.put(slot)
        return child.returncode, output, errors


def _reason(status: int, errors: str) -> str:
    """Why a run failed, in one line."""
    if status < 0:
        # What it said before is not why: a killed process has no last word.
        return f"its process was ended by signal {-status}, as by 9 where memory is short; lower --jobs, or free some"
    lines = [line for line in errors.strip().splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"exit status {status}"


@functools.cache
def _files_of(recipe: str) -> dict[str, str]:
    """Fingerprint what a recipe reads, once in a process however many runs share it.

    Args:
        recipe: The sections that decide it, as JSON.

    Returns:
        Fingerprints by part, as in a run's ``data.json``.

    Raises:
        InputError: If something cannot be read.
    """
    return run_fingerprints(Recipe.model_validate_json(recipe))


def run_environment(slot: int, jobs: int) -> dict[str, str]:
    """A run's share of the machine, as environment variables: one GPU, in turn, and its part of the cores.

    Args:
        slot: The run's place among those side by side, from 0.
        jobs: How many run side by side.

    Returns:
        The variables that its process is started with; what is set already stays.
    """
    environment = dict(os.environ)
    gpus = torch.cuda.device_count()
    if gpus:
        visible = environment.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[slot % gpus]
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    return environment


def _lend_channel_weights(folder: Path) -> None:
    """Copy DELTA's channel weights from a neighbouring run; a run takes them only if their fingerprint is its own."""
    own = RunFolder(folder).channel_file
    others = sorted(folder.parent.glob(f"*/{own.name}"))
    if others and not own.exists():
        folder.mkdir(exist_ok=True)
        write_bytes(own, others[0].read_bytes())


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
