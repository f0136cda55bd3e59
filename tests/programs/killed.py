"""Runs a recipe to its end once, then in another folder as often as there are kills, and to its end again.

A kill is a moment (a part of the whole run's duration), or a call of a function (its owner, name, number, before or
after).
"""

import json
import os
import pkgutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from facexfer.engine.train import train
from facexfer.recipe import read_recipe
from facexfer.runs.folder import RunFolder

recipe, out = read_recipe(sys.argv[1]), Path(sys.argv[2])


def start(folder: Path, call: tuple[Any, ...] | None = None) -> int:
    child = os.fork()
    if child:
        return child
    if call:
        kill_at(*call)
    try:
        train(recipe, folder, resume=RunFolder(folder).recipe_file.exists())
    except Exception:  # noqa: BLE001 - onnxruntime's threads are not in a fork, whose ordinary end waits for them
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def kill_at(owner: str, name: str, count: int, moment: str) -> None:
    owner, calls = pkgutil.resolve_name(owner), []
    whole = getattr(owner, name)

    def counted(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == count and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = whole(*given)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, counted)


def end(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def length() -> int:
    file = RunFolder(out / "killed").metrics_file
    return len(file.read_text().splitlines()) if file.exists() else 0


began = time.monotonic()
assert end(start(out / "whole")) == 0
duration = time.monotonic() - began
for kill in json.loads(sys.argv[3]):
    if isinstance(kill, list):
        assert end(start(out / "killed", tuple(kill))) == -signal.SIGKILL
    else:
        child = start(out / "killed")
        time.sleep(kill * duration)
        os.kill(child, signal.SIGKILL)
        end(child)
    print(kill, "-> killed after", length(), "lines of metrics")
assert end(start(out / "killed")) == 0
