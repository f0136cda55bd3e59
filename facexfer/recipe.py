"""A run as typed data: read from TOML, strict about every key."""

import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import tomli_w
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from facexfer import recipes
from facexfer.errors import InputError
from facexfer.files.names import clean_name
from facexfer.files.packaged import read_toml
from facexfer.plugins import resolved_plugins
from facexfer.validation import first_place, first_problem


def expand_path(value: object) -> object:
    """Put the values of environment variables and ``~`` into a path; relative paths stay relative to the process.

    Raises:
        InputError: If a variable is not set, or a character cannot be part of a path.
    """
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise InputError(f"expected a path, got {value!r} with a zero character; take it out")
    expanded = os.path.expanduser(os.path.expandvars(value))
    if "$" in expanded:
        unset = ", ".join(dict.fromkeys(re.findall(r"\$\{?\w*\}?", expanded)))
        raise InputError(f"expected the variables in path '{value}' to be set, {unset} is not; export them")
    return expanded


def checked_name(text: str) -> str:
    """The canonical form of a name that selects images.

    Raises:
        InputError: If there is nothing in it, or it is no name.
    """
    name = clean_name(text)
    if not name:
        raise InputError(f"expected a name, got {text!r}; write the one of the manifest")
    return name


# A setting of one takes the file's value of the other out.
_INSTEAD = {"optimizer.epochs": "optimizer.iterations", "optimizer.iterations": "optimizer.epochs"}

ExpandedPath = Annotated[Path, BeforeValidator(expand_path)]
Name = Annotated[str, AfterValidator(checked_name)]
# As eval.verification.SMALLEST_FAR, whose import would bring numpy into every start-up.
Far = Annotated[float, Field(ge=1e-15, le=1)]
PluginPath = Annotated[ExpandedPath, AfterValidator(Path.resolve)]


class Section(BaseModel):
    """A part of a recipe; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceSection(Section):
    """The network that the run starts from."""

    backbone: str
    """The network: one of `facexfer.backbones.BACKBONES`, with options in brackets where it has any."""
    weights: ExpandedPath | None = None
    """A file, or the name of an InsightFace pack; left out, the weights are random."""
    recalibrate_batchnorm: bool = False
    """Measure the source's BatchNorm statistics again on the images of the batches before anything else."""
    variance_floor: float = Field(default=0.1, ge=0, le=1)
    """What a channel keeps of its old variance at the least when BatchNorm is measured again, also by `optimizer`."""
    revive_batchnorm: bool = True
    """Where the file has BatchNorm folded into the convolutions: give it statistics, scale and shift again."""
    input_size: int | None = Field(default=None, ge=32)
    """Side in pixels, where images are to enter at another size than the backbone's own."""


class PairsSection(Section):
    """Which pairs an evaluation compares: within the probe's modality, or a gallery of another against it."""

    probe: Name
    """The modality of the probes."""
    gallery: Name | None = None
    """The modality of the gallery; left out, pairs are within the probe's."""

    @pydantic.model_validator(mode="after")
    def _two_modalities(self) -> "PairsSection":
        if self.gallery == self.probe:
            raise ValueError(
                f"expected a gallery of another modality than the probes', got {self.probe} for both; leave gallery out"
            )
        return self

    @property
    def name(self) -> str:
        """``nir`` within a modality, ``vis-nir`` for a VIS gallery against NIR probes."""
        return self.probe if self.gallery is None else f"{self.gallery}-{self.probe}"


class DataSection(Section):
    """The images."""

    manifest: ExpandedPath | None = None
    """Of faces."""
    dataset: str | None = None
    """Of images: the layout, one of `facexfer.data.datasets.DATASETS`."""
    root: ExpandedPath | None = None
    """Of images: the data set's folder."""
    images_per_class: int | None = Field(default=None, ge=1)
    """Of images: train on this many of a class, drawn by `draw_seed`."""
    search_share: float = Field(default=0, ge=0, lt=1)
    """Of images, for searching options: hold out this part of every class's training images and test on them."""
    modality: Name | tuple[Name, ...] = "nir"
    """Of faces: train on these; several, e.g. ``["nir", "vis"]``, are trained on together, the new spectrum first."""
    train_split: Name = "train"
    """The manifest's split to train on."""
    val_split: Name = "val"
    """The manifest's split to measure on."""
    images_per_identity: int | None = Field(default=None, ge=1)
    """Train on this many images per identity and modality, drawn by `draw_seed`."""
    train_identities: int | None = Field(default=None, ge=2)
    """Train on this many identities, drawn by `draw_seed`; a larger number keeps those of a smaller one."""
    search_identities: int = Field(default=0, ge=0)
    """For searching options: hold out this many training identities and validate on them instead of `val_split`."""
    folds: int | None = Field(default=None, ge=2)
    """Of faces: cut the identities of `train_split` with images of `modality` into this many parts, by `draw_seed`."""
    fold: int | None = Field(default=None, ge=1)
    """Validate on this part of the `folds`, from 1, instead of `val_split`, and train on the others."""
    draw_seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the draws of images and identities; `seed` is the training's."""
    augmentation: str = "flip"
    """One of the presets: flip, none, nir, nir-strong, nir-dark, vis-to-nir, vis-and-nir."""
    identities_per_batch: int | None = Field(default=None, ge=1)
    """Draw batches of as many images of each of this many identities."""
    cache: ExpandedPath | None = None
    """A folder for the decoded training crops as one memory-mapped file; without, they are kept in memory."""


class SourceDataSection(Section):
    """Labelled images of the source's own kind: for Soft Fine-tuning, and for the prototypes of LwF."""

    manifest: ExpandedPath | None = None
    """Of faces; left out, that of `data`."""
    dataset: str | None = None
    """Of images: the layout."""
    root: ExpandedPath | None = None
    """Of images: the folder."""
    modality: Name = "vis"
    """Of faces."""
    split: Name = "train"
    """Of faces: the manifest's split."""


class CompanionsSection(Section):
    """Pictures that the frozen source sees besides the training images: where it puts them is where those belong."""

    match: Literal["capture", "identity", "simulated"] = "capture"
    """The same shot; the mean of that person's pictures; or the training image itself, before its augmentation."""
    manifest: ExpandedPath | None = None
    """Of faces; left out, that of `data`."""
    modality: Name = "vis"
    """Of faces; of no use to ``simulated``."""
    keep: float = Field(default=0, ge=0, lt=1)
    """This part of every batch shows companions themselves, flipped at most, so that the network keeps their place."""
    share: float = Field(default=0, ge=0, lt=1)
    """Of faces: this part of every batch shows companions rendered as NIR, each its own companion, as a pool does."""
    augmentation: str = "vis-to-nir"
    """What renders them, with `share`: a preset as in `data`."""
    shown_to_source: bool = False
    """Of faces: the frozen network that a method compares maps or embeddings with sees each image's companion instead
    of the image, which makes AFA, DELTA and DFA cross-spectral."""


class PoolSection(Section):
    """Visible-light photos of any people, without labels: they enter as simulated NIR, each its own companion."""

    manifest: ExpandedPath
    """Their list."""
    modality: Name = "vis"
    """Of the pool's images."""
    split: Name = "pool"
    """The manifest's split."""
    share: float = Field(default=0.5, gt=0, le=1)
    """This part of every batch shows them rendered; with 1, the images of `data` only give the statistics that
    ``optimizer.final_batchnorm`` measures, and without that the run is refused."""
    keep: float = Field(default=0, ge=0, lt=1)
    """This part of every batch shows them as they are, flipped at most, so that the network keeps their place."""
    augmentation: str = "vis-to-nir"
    """What renders them as NIR: a preset as in `data`."""


class HeadSection(Section):
    """The classification head; ``scale`` and ``margin`` default to the head's own."""

    name: str = "arcface"
    """One of `facexfer.heads.HEADS`: arcface, cosface, linear, or a plugin's own."""
    start: Literal["class_means", "companions", "random"] = "class_means"
    """Each class at the mean of the source's embeddings of its training images, or of their companions; or drawn."""
    scale: float | None = None
    """What the cosines are multiplied with."""
    margin: float | None = None
    """Of arcface an angle in radians, of cosface a cosine."""

    @property
    def options(self) -> dict[str, float]:
        """The options that are set."""
        return {key: value for key in ("scale", "margin") if (value := getattr(self, key)) is not None}


class MethodSection(BaseModel):
    """The method's name and its own options, which the method checks."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    """One of `facexfer.transfer.methods.METHODS`."""
    layers: tuple[str, ...] | None = None
    """Tap these layers instead of the backbone's own, in a method that compares layers."""

    @property
    def options(self) -> dict[str, Any]:
        """The method's own options."""
        return dict(self.model_extra or {})


class OptimizerSection(Section):
    """SGD, or AdamW, with the paper's step schedule."""

    name: Literal["sgd", "adamw"] = "sgd"
    """AdamW is for networks without BatchNorm, such as EdgeFace; its rates are some hundred times smaller."""
    learning_rate: float = Field(default=0.01, gt=0)
    """At the start of the run; a method may start a later stage at a part of it."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD; of AdamW its first beta."""
    batch_size: int = Field(default=64, ge=1)
    """Images per step over all devices together."""
    epochs: float | None = Field(default=None, ge=0)
    """The run's length in passes over the training images; 0 for a method without steps."""
    iterations: int | None = Field(default=None, ge=1)
    """The run's length in steps, in place of `epochs`."""
    schedule: Literal["steps", "cosine"] = "steps"
    """How the learning rate falls over a stage: in steps (`drops`), or along half a cosine to 0."""
    drops: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (2 / 3,)
    """Where in a stage, as a fraction of it, the learning rate falls."""
    drop_factor: float = Field(default=0.1, gt=0, le=1)
    """What the learning rate is multiplied with at each of `drops`."""
    frozen_batchnorm: bool = False
    """Keep the backbone's BatchNorm statistics; only `final_batchnorm` still measures them again."""
    source_share: float = Field(default=0, ge=0, lt=1)
    """At the end, interpolate the backbone's weights with the source's, of which this part remains (WiSE-FT), and
    measure the BatchNorm statistics again, unless `frozen_batchnorm` keeps them."""
    final_batchnorm: bool = False
    """Measure the trained network's BatchNorm statistics again on the images of `data`, before it is saved."""
    final_keep: float = Field(default=0, ge=0, lt=1)
    """The part of what `final_batchnorm` measures that is pictures of the source's own spectrum, as they are."""
    sync_batchnorm: bool = False
    """Take BatchNorm statistics over the batches of all ranks together; with one rank it changes nothing."""
    accumulate: int = Field(default=1, ge=1)
    """Passes that a rank's part of the batch is split into, for less memory. BatchNorm, and terms that compare
    images with each other, see one pass at a time; every pass counts alike, however many of its images have a label or
    a companion."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Scale the gradient down to this L2 norm where it is longer."""
    average_decay: float | None = Field(default=None, gt=0, lt=1)
    """Measure and save exponential moving averages of the backbone's and the head's weights, with this decay a step."""

    @property
    def measures_at_the_end(self) -> bool:
        """Whether the trained network's BatchNorm statistics are measured again before it is saved."""
        return self.final_batchnorm or (self.source_share > 0 and not self.frozen_batchnorm)

    @pydantic.model_validator(mode="after")
    def _steps_have_drops(self) -> "OptimizerSection":
        idle = [
            name for name in ("drops", "drop_factor") if getattr(self, name) != type(self).model_fields[name].default
        ]
        if self.schedule == "cosine" and idle:
            raise ValueError(f"expected {' and '.join(idle)} with the schedule steps alone, got cosine; leave it out")
        return self

    @pydantic.model_validator(mode="after")
    def _one_length(self) -> "OptimizerSection":
        if (self.epochs is None) == (self.iterations is None):
            got = "none" if self.epochs is None else "both"
            raise ValueError(f"expected exactly one of epochs and iterations, got {got}; set one of them")
        return self


class EvaluationSection(Section):
    """What is measured, and how often."""

    fars: tuple[Far, ...] = Field(default=(1e-2, 1e-3, 1e-4), min_length=1)
    """False accept rates to measure TAR at, as fractions."""
    pairs: tuple[PairsSection, ...] = Field(default=(PairsSection(probe="nir"),), min_length=1)
    """The first is measured during training too, all of them at the end."""
    every_epochs: float = Field(default=1, gt=0)
    """How often the first pairs are measured during training."""
    untouched: bool = True
    """Measure the source too, before training."""
    best_far: Far | None = None
    """Keep the network with the highest validation TAR at this FAR, one of `fars`, of the first pairs."""
    test_loss: bool = False
    """Of images: measure the parts of the objective on the test images too, for the curves of Figures 3 and 5. Soft
    Fine-tuning's, which needs the source's own images, has none there."""
    patience: int | None = Field(default=None, ge=1)
    """End a stage after this many evaluations without a rise of that TAR."""


class RuntimeSection(Section):
    """Where and how the run computes.

    Beyond rounding, it changes what is computed only where `devices` splits the batches of BatchNorm, and where
    `augment` draws other random numbers.
    """

    accelerator: Literal["auto", "cpu", "cuda", "gpu", "mps"] = "auto"
    """cuda is NVIDIA's GPUs, mps Apple's (never run), gpu either."""
    devices: int | str = "auto"
    """Processes on this machine, one per GPU."""
    num_nodes: int = Field(default=1, ge=1)
    """The number of machines."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    """The mixed ones keep margin and softmax in float32."""
    tf32: bool = False
    """Let float32 matrix products and convolutions on GPUs use TF32."""
    channels_last: bool = True
    """Keep maps with their channels last in memory."""
    compile: bool = False
    """Compile the step (torch.compile): minutes at each stage's start, then faster."""
    cuda_graphs: bool = False
    """Capture the compiled step in CUDA graphs: a small network does not wait for each kernel's launch. Needs a GPU."""
    fold_source: bool = True
    """Run the frozen source with its BatchNorm folded into the convolutions."""
    workers: int = Field(default=0, ge=0)
    """Processes that load images; 0 loads in the training process."""
    augment: Literal["workers", "device"] = "workers"
    """Where crops are augmented: one by one on the CPU, or a batch at a time on the device, which holds them all."""
    checkpoint_seconds: float = Field(default=60, ge=0)
    """A checkpoint is written when this many seconds have passed since the last one."""
    log_every_steps: int = Field(default=10, ge=1)
    """How often losses are written to metrics.jsonl."""

    @pydantic.model_validator(mode="after")
    def _graphs_are_compiled(self) -> "RuntimeSection":
        if self.cuda_graphs and not self.compile:
            raise ValueError("expected compile = true for cuda_graphs, got false; set both, or leave cuda_graphs out")
        return self


class Recipe(Section):
    """A run."""

    task: str = "face"
    """face, or image for classification."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of everything that training draws."""
    plugins: tuple[PluginPath, ...] = ()
    """Python files that add methods, backbones, heads and the like; relative paths start at the recipe's folder."""
    source: SourceSection
    data: DataSection
    source_data: SourceDataSection | None = None
    companions: CompanionsSection | None = None
    pool: PoolSection | None = None
    head: HeadSection = HeadSection()
    method: MethodSection
    optimizer: OptimizerSection
    evaluation: EvaluationSection = EvaluationSection()
    runtime: RuntimeSection = RuntimeSection()


def read_recipe(recipe: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a TOML file, or a packaged one by name.

    Args:
        recipe: A path, or the name of a file in ``facexfer/recipes`` without its ending.
        settings: Changes as ``section.key=value``, the value in TOML or a plain word. With nothing after the equals
            sign the key, or the section, is taken out of the recipe; one of two that exclude each other takes the
            file's other one out.

    Returns:
        The checked recipe.

    Raises:
        InputError: If the file is missing or no TOML, a key is unknown, or a value does not fit; it names the setting
            that the key comes from.
    """
    values = read_toml(recipe, recipes, "recipe")
    if "plugins" in values:
        values["plugins"] = resolved_plugins(values["plugins"], Path(recipe).parent)
    _apply_settings(values, settings)
    return _parse(values, str(recipe), settings)


def as_recipe(recipe: Recipe | Mapping[str, Any] | str | Path) -> Recipe:
    """Read a recipe in any form in which a user may have it.

    Args:
        recipe: A `Recipe`, a nested mapping of its sections, a TOML file, or the name of a packaged recipe.

    Returns:
        The checked recipe.

    Raises:
        InputError: As for `read_recipe`.
    """
    if isinstance(recipe, Recipe):
        return recipe
    return parse_recipe(recipe, "recipe") if isinstance(recipe, Mapping) else read_recipe(recipe)


def parse_recipe(values: Mapping[str, Any], origin: str) -> Recipe:
    """Check a recipe that was read already.

    Args:
        values: The nested mapping.
        origin: What to call it in errors.

    Raises:
        InputError: If a key is unknown (the nearest known one is suggested), one is missing, or a value does not fit.

    Example:
        >>> parse_recipe({"sed": 1}, "my.toml")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facexfer.errors.InputError: my.toml: unknown key 'sed'; did you mean 'seed'? keys: companions, data, ...
    """
    return _parse(values, origin, ())


def dump_recipe(recipe: Recipe, idle: Collection[str] = ()) -> str:
    """Write a recipe as TOML, every default spelled out, such that `read_recipe` gives an equal one.

    Args:
        recipe: The run.
        idle: Dotted keys to leave out: those that its task does not read.
    """
    values = recipe.model_dump(mode="json", exclude_none=True)
    for key in idle:
        *sections, last = key.split(".")
        inner: Any = values
        for section in sections:
            inner = inner.get(section, {})
        inner.pop(last, None)
    return tomli_w.dumps(values)


def differences(first: Recipe, second: Recipe) -> dict[str, tuple[object, object]]:
    """List the keys in which two recipes differ.

    Returns:
        Dotted key -> (first's value, second's value).
    """
    one, other = _flatten(first.model_dump(mode="json")), _flatten(second.model_dump(mode="json"))
    return {
        key: (one.get(key), other.get(key))
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    }


def _parse(values: Mapping[str, Any], origin: str, settings: Sequence[str]) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except pydantic.ValidationError as error:
        origin = _origin(first_place(error, Recipe), origin, settings)
        raise InputError(f"{origin}: {first_problem(error, Recipe)}") from error


def _origin(place: str, origin: str, settings: Sequence[str]) -> str:
    """Where a refused key, or a section whose keys do not fit each other, comes from: the file, settings, or both."""
    keys = {setting: setting.partition("=")[0].strip() for setting in settings}
    given = [setting for setting, key in keys.items() if f"{place}.".startswith(f"{key}.")]
    if given:
        return f"--set {given[-1]}"
    within = [setting for setting, key in keys.items() if key.startswith(f"{place}.")]
    if within and place not in Recipe.model_fields:
        # No section of a recipe.
        return f"--set {within[-1]}"
    return f"{origin} with --set {' '.join(within)}" if within else origin


def _apply_settings(values: dict[str, Any], settings: Sequence[str]) -> None:
    changes = [_read_setting(setting) for setting in settings]
    given = {key for key, value in changes if value is not None}
    for key, value in changes:
        if value is None:
            _check_known(key, values)
            _take_out(values, key)
            continue
        *sections, last = key.split(".")
        inner = values
        for section in sections:
            inner = _section_in(inner.setdefault(section, {}), section, key)
        inner[last] = value
        if key in _INSTEAD and _INSTEAD[key] not in given:
            _take_out(values, _INSTEAD[key])


def _read_setting(setting: str) -> tuple[str, object]:
    """A setting's key and value; None, which TOML does not have, for nothing after the equals sign."""
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise InputError(f"expected --set section.key=value, got '{setting}'; write it without spaces")
    if not text.strip():
        return key.strip(), None
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text


def _check_known(key: str, values: Mapping[str, Any]) -> None:
    """Check a key that is to be taken out, which nobody would miss if it were misspelt."""
    section, _, option = key.partition(".")
    if section == "method" and option and option not in MethodSection.model_fields:
        # Which options there are depends on the method.
        held = values.get("method", {})
        if option not in held:
            raise InputError(
                f"expected an option that [method] holds, to take it out, got {key}; it holds {', '.join(held)}"
            )
        return
    nested: object = None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    try:
        Recipe.model_validate(nested)
    except pydantic.ValidationError as error:
        if any(each["type"] == "extra_forbidden" for each in error.errors()):
            raise InputError(f"--set {key}=: {first_problem(error, Recipe)}") from error


def _take_out(values: dict[str, Any], key: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        if section not in values:
            return
        values = _section_in(values[section], section, key)
    values.pop(last, None)


def _section_in(value: object, section: str, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"expected a section before the last dot of '{key}', '{section}' is a value; check the key")
    return value


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
