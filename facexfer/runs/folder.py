"""A run folder: the resolved recipe, metrics, checkpoints and the trained network of one run."""

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from facexfer.backbones import BACKBONES, create_backbone
from facexfer.backbones.checkpoints.loading import load_entries
from facexfer.backbones.known_networks import complete_name
from facexfer.backbones.parts.carried import facts_from_metadata, facts_to_metadata
from facexfer.backbones.parts.info import BackboneModule
from facexfer.errors import DivergedError, InputError, first_of
from facexfer.files.atomic import HALF_WRITTEN, replacing, write_text
from facexfer.files.lock import hold_folder
from facexfer.heads import Head
from facexfer.plugins import load_plugins
from facexfer.recipe import Recipe, differences, dump_recipe, read_recipe
from facexfer.runs.state import STATE_FORMAT, load_state, save_state, write_safetensors

_EVENTS = "events.out.tfevents.*"
# How many of a recipe's changes an error lists.
_SHOWN_CHANGES = 4
# What only some runs write, or what stays in subfolders when the files of a run are removed.
_LEFT = ("checkpoints/*.safetensors", "stages/*.safetensors", "best*.safetensors", "head.safetensors", "failure.txt")


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe, every default spelled out."""
        return self.path / "recipe.toml"

    @property
    def data_file(self) -> Path:
        """The fingerprints of the images with which the run was started."""
        return self.path / "data.json"

    @property
    def metrics_file(self) -> Path:
        """One JSON object a line: losses while training, metrics at each evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def own_files(self) -> tuple[Path, ...]:
        """Files that every run writes."""
        return self.recipe_file, self.data_file, self.metrics_file, self.model_file, self.result_file

    @property
    def checkpoint_file(self) -> Path:
        """The newest training state."""
        return self.path / "checkpoints" / "last.safetensors"

    def stage_file(self, stage: str) -> Path:
        """What a finished stage has learned in addition to the network, and the network that it looked at."""
        return self.path / "stages" / f"{stage}.safetensors"

    @property
    def channel_file(self) -> Path:
        """DELTA's channel weights with the fingerprint of what they were measured on."""
        return self.path / "channel-weights.safetensors"

    @property
    def good_file(self) -> Path:
        """The last training state from before a run went wrong; there while it is wrong."""
        return self.path / "checkpoints" / "good.safetensors"

    @property
    def failure_file(self) -> Path:
        """Why the run failed, in one line; there only if it did."""
        return self.path / "failure.txt"

    @property
    def failure(self) -> str | None:
        """What `failure_file` says, if it is there."""
        return (
            self.failure_file.read_text(encoding="utf-8", errors="replace").strip()
            if self.failure_file.is_file()
            else None
        )

    @property
    def best_file(self) -> Path:
        """The best network so far, where the recipe names what it is chosen by."""
        return self.path / "best.safetensors"

    @property
    def best_head_file(self) -> Path:
        """Its head."""
        return self.path / "best-head.safetensors"

    @property
    def model_file(self) -> Path:
        """The trained backbone."""
        return self.path / "model.safetensors"

    def trained_file(self) -> Path:
        """The trained backbone, which must be there.

        Raises:
            InputError: If the folder holds no finished run.
        """
        if not self.model_file.is_file():
            raise InputError(
                f"{self.path}: expected a finished run with {self.model_file.name}, found none; finish it with --resume"
            )
        return self.model_file

    @property
    def result_file(self) -> Path:
        """The metrics of the finished run; its presence says that the run is finished."""
        return self.path / "result.json"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.result_file.is_file()

    def check_new(self) -> None:
        """Check that there is no run in this folder yet, nor what is left of one.

        Raises:
            InputError: If there is one, or a file that a run would write over or take for its own.
        """
        if self.recipe_file.exists():
            raise InputError(
                f"{self.path}: expected a new folder, there is a run in it; give --resume or another --out"
            )
        for file in self.own_files:
            if file.exists():
                raise InputError(
                    f"{self.path}: expected a new folder, got one that holds {file.name}; give another --out"
                )
        left = next((path for pattern in _LEFT for path in sorted(self.path.glob(pattern))), None)
        if left is not None:
            raise InputError(
                f"{self.path}: expected a new folder, got one with what an earlier run left, "
                f"{left.relative_to(self.path).as_posix()}; remove it, or give another --out"
            )

    def hold(self) -> AbstractContextManager[object]:
        """Keep other processes from training in this folder; the system lets go of it also when this one is killed.

        Raises:
            InputError: If another process holds it, or it cannot be written.
        """
        busy = "expected a folder that no other process trains in, one is at work there"
        return hold_folder(self.path, "a folder to write to", busy)

    def start(self, recipe: Recipe, idle: Collection[str] = ()) -> None:
        """Make the folder for a new run.

        Args:
            recipe: The run.
            idle: Dotted keys that its task does not read; they are not written down.

        Raises:
            InputError: If there is a run in it already.
        """
        self.check_new()
        (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        write_text(self.recipe_file, dump_recipe(recipe, idle))

    def forget(self) -> None:
        """Take back what `start` and `save_data` wrote, of a run that was refused before its first step."""
        for file in (self.recipe_file, self.data_file, self.metrics_file):
            file.unlink(missing_ok=True)
        for event_file in self.path.glob(_EVENTS):
            event_file.unlink(missing_ok=True)

    def check_not_failed(self, way_out: str) -> None:
        """Check that the run in this folder has not failed.

        Args:
            way_out: What may be done if it has, the end of the message.

        Raises:
            DivergedError: If it has; with the cause.
        """
        if self.failure is not None:
            raise DivergedError(f"{self.path}: this run failed: {self.failure}; {way_out}")

    def check_resumable(self, recipe: Recipe) -> None:
        """Check that the run in this folder is one of this recipe; where it computes may differ.

        Raises:
            InputError: If the folder holds no run, or the recipes differ.
        """
        if not self.recipe_file.exists():
            raise InputError(f"{self.path}: expected a run to resume, found none; leave --resume out to start one")
        changed = differences(read_recipe(self.recipe_file), recipe)
        changed = {key: values for key, values in changed.items() if not key.startswith("runtime.")}
        if changed:
            differing = [f"{key} was {old!r}, now {new!r}" for key, (old, new) in changed.items()]
            listed = first_of(differing, _SHOWN_CHANGES, "; ")
            raise InputError(f"{self.path}: expected the recipe of the run to resume, {listed}; give another --out")

    def save_data(self, fingerprints: Mapping[str, str]) -> None:
        """Write down what the run is trained and measured on, for `check_data`."""
        write_text(self.data_file, json.dumps(dict(fingerprints), indent=2) + "\n")

    def check_data(self, fingerprints: Mapping[str, str], otherwise: str = "give another --out") -> None:
        """Check that pictures and weights are those with which the run was started; a run that does not say passes.

        Args:
            fingerprints: What they are now, by part.
            otherwise: What can be done where they cannot be put back.

        Raises:
            InputError: If a part of them differs.
        """
        try:
            begun = json.loads(self.data_file.read_text(encoding="utf-8"))
            changed = sorted(part for part, value in fingerprints.items() if begun.get(part, value) != value)
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"{self.data_file}: expected fingerprints, got: {error}; remove the file") from error
        if changed:
            raise InputError(
                f"{self.path}: expected the files that the run was started with, {', '.join(changed)} changed since; "
                f"put them back, or {otherwise}"
            )

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Save the training state and where in the metrics it stands."""
        length = self.metrics_file.stat().st_size if self.metrics_file.exists() else 0
        save_state(self.checkpoint_file, {**state, "metrics_length": length})

    def keep_good_checkpoint(self) -> None:
        """Keep a copy of the newest training state before one of a run gone wrong replaces it."""
        if self.checkpoint_file.exists():
            with replacing(self.good_file) as temporary:
                shutil.copyfile(self.checkpoint_file, temporary)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Load the newest training state and cut the metrics back to it; None before the first one."""
        for half in self.path.rglob(HALF_WRITTEN):
            half.unlink(missing_ok=True)
        if not self.checkpoint_file.exists():
            self.metrics_file.unlink(missing_ok=True)
            return None
        state = load_state(self.checkpoint_file)
        if self.metrics_file.exists():
            os.truncate(self.metrics_file, min(state["metrics_length"], self.metrics_file.stat().st_size))
        return state

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to the metrics."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def save_stage(self, stage: str, terms: dict[str, Any], reference: dict[str, Any]) -> None:
        """Save the parameters of a finished stage's terms, such as attention, with the reference network's weights."""
        self.stage_file(stage).parent.mkdir(exist_ok=True)
        save_state(self.stage_file(stage), {"terms": terms, "reference": reference})

    def metrics(self) -> list[dict[str, Any]]:
        """Read the metrics; half a last line, of a run that is being written or was killed, is left out.

        Raises:
            InputError: If a whole line is no record of a step.
        """
        if not self.metrics_file.exists():
            return []
        lines = self.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        records: list[dict[str, Any]] = []
        for number, line in enumerate((line for line in lines if line.endswith("\n")), start=1):
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                record = None
            if (
                not isinstance(record, dict)
                or not isinstance(record.get("step"), int)
                or not _are_figures(record.get("figures", {}))
            ):
                raise InputError(
                    f"{self.metrics_file}, line {number}: expected a record with a step, as JSON, got "
                    f"'{line[:60].strip()}'; is it a run?"
                )
            records.append(record)
        return records

    def save_model(self, backbone: BackboneModule, recipe: Recipe) -> None:
        """Save the trained backbone with the name that `create_backbone` needs to make it again."""
        write_safetensors(self.model_file, dict(backbone.state_dict()), _metadata(backbone, recipe))

    def save_best(self, backbone: BackboneModule, head: Head, recipe: Recipe, classes: Sequence[str]) -> None:
        """Save the best network so far in the form of `save_model`, and its head in that of `save_head`."""
        write_safetensors(self.best_head_file, dict(head.state_dict()), _head_metadata(recipe, classes))
        write_safetensors(self.best_file, dict(backbone.state_dict()), _metadata(backbone, recipe))

    def check_best(self, step: int) -> None:
        """Check, before a run continues, that its best network so far is still there.

        Args:
            step: Of that network; 0 where there is none yet.

        Raises:
            InputError: If its file, or that of its head, is missing.
        """
        for file in (self.best_file, self.best_head_file):
            if step > 0 and not file.is_file():
                raise InputError(
                    f"{file}: expected the best network so far, that of step {step}, found none; put the file back, or "
                    "start again with another --out"
                )

    def save_head(self, head: Head, recipe: Recipe, classes: Sequence[str]) -> None:
        """Save the trained head and the names of its classes, which an image classifier needs besides the backbone."""
        write_safetensors(self.path / "head.safetensors", dict(head.state_dict()), _head_metadata(recipe, classes))

    def save_failure(self, cause: str) -> None:
        """Mark the run as one that failed."""
        write_text(self.failure_file, " ".join(cause.split()) + "\n")

    def save_result(self, result: dict[str, Any]) -> None:
        """Save the metrics, which marks the run as finished."""
        write_text(self.result_file, json.dumps(result, indent=2) + "\n")

    def read_result(self) -> dict[str, Any]:
        """Read the figures of a finished run.

        Raises:
            InputError: If the run is not finished, or the file is damaged.
        """
        if not self.result_file.exists():
            raise InputError(
                f"{self.result_file}: expected the result of a finished run, found none; finish it with --resume"
            )
        otherwise = "remove the file, then finish the run with --resume"
        try:
            result: dict[str, Any] = json.loads(self.result_file.read_text(encoding="utf-8"))
            if not _are_figures(result["figures"]):
                raise TypeError(f"figures that are {result['figures']!r}")
            if not isinstance(result["steps"], int):
                raise TypeError(f"steps that are {result['steps']!r}")
        except KeyError as error:
            raise InputError(
                f"{self.result_file}: expected the result of a finished run, got none of its {error.args[0]}; "
                f"{otherwise}"
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{self.result_file}: expected the result of a finished run, got: {error}; {otherwise}"
            ) from error
        return result


def _are_figures(value: object) -> bool:
    return isinstance(value, dict) and all(each is None or isinstance(each, int | float) for each in value.values())


def _metadata(backbone: BackboneModule, recipe: Recipe) -> dict[str, str]:
    return {"backbone": recipe.source.backbone, **facts_to_metadata(backbone.info)}


def _head_metadata(recipe: Recipe, classes: Sequence[str]) -> dict[str, str]:
    return {"head": recipe.head.name, "classes": json.dumps(list(classes))}


def load_backbone(run: Path) -> BackboneModule:
    """Load the trained backbone of a run.

    Args:
        run: The run folder.

    Returns:
        The backbone in eval mode, with its `info`.

    Raises:
        InputError: If the folder holds no finished run or the file is damaged.
    """
    return load_backbone_file(RunFolder(run).trained_file())


def load_backbone_file(file: Path) -> BackboneModule:
    """Load the backbone from a run's ``model.safetensors``, or from a checkpoint in the folder of its run.

    Of a checkpoint it is what the run measures and saves: the averages of the weights where the recipe asks for them.

    Args:
        file: The file.

    Returns:
        The backbone in eval mode, with its `info`.

    Raises:
        InputError: If the file is damaged or not a run's.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            weights = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file}: expected a trained backbone, got: {error}; run the training again") from error
    name = metadata.get("backbone")
    if metadata.get("format") == STATE_FORMAT:
        state = load_state(file)
        weights, metadata = _measured_weights(state), state.get("facts") or {}
        name = read_recipe(RunFolder(file.parent.parent).recipe_file).source.backbone
    if name is None:
        raise InputError(unnamed_weights(file))
    _load_plugins_beside(file, name)
    name = complete_name(name, lambda: {key: tuple(tensor.shape) for key, tensor in weights.items()})
    size = json.loads(metadata.get("input_size", "null"))
    backbone = create_backbone(name, input_size=tuple(size) if size else None)
    backbone.info = facts_from_metadata(backbone.info, metadata)
    load_entries(backbone, weights, str(file))
    return backbone.eval()


def unnamed_weights(file: str | Path, option: str = "--backbone") -> str:
    """Say that weights do not state their network, for an error.

    Args:
        file: The weights.
        option: What names their network.
    """
    return f"{file}: expected {option} NAME with foreign weights, got none; mobilefacenet, for example"


def _measured_weights(state: Mapping[str, Any]) -> dict[str, Any]:
    """The backbone's weights of a training state: the averages, if there are any."""
    average: dict[str, Any] | None = state.get("average")
    if average is None:
        return dict(state["backbone"])
    prefix = "module.backbone."
    return {key.removeprefix(prefix): value for key, value in average.items() if key.startswith(prefix)}


def _load_plugins_beside(file: Path, backbone: str) -> None:
    """Run the plugins of the run that a file is of, where they are what knows its backbone."""
    # A network with a part of its own, as pdt:mine, is as unknown as mine; torchvision and timm know theirs.
    *kinds, bare = backbone.partition("(")[0].split(":")
    recipe = next((each / "recipe.toml" for each in file.parents[:2] if (each / "recipe.toml").is_file()), None)
    if recipe is not None and {"torchvision", "timm"}.isdisjoint(kinds) and bare not in BACKBONES:
        load_plugins(read_recipe(recipe).plugins)
