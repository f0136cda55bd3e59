"""Anything that embeds crops: a run folder, an ONNX file, foreign weights with their network's name, a network."""

import copy
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from facexfer.backbones import create_backbone
from facexfer.backbones.checkpoints.form import file_form
from facexfer.backbones.checkpoints.torch_files import read_metadata
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.normalize import Normalize
from facexfer.backbones.sources import find_weights, weights_digest
from facexfer.data.images import read_crop
from facexfer.data.pictures.depths import find_depths
from facexfer.data.repeats import hash_picture
from facexfer.errors import DataWarning, InputError
from facexfer.files.digest import file_digest
from facexfer.files.fixed_batches import CPU_BATCH
from facexfer.files.onnx_parts import onnx_digest
from facexfer.files.onnx_session import OnnxSession
from facexfer.measure.providers import CPU, choose_provider
from facexfer.runs.folder import RunFolder, load_backbone, load_backbone_file, unnamed_weights
from facexfer.runs.state import STATE_FORMAT
from facexfer.runtime import prepare_cpu

# The first of these that takes pixels ends what can normalise them; a ViT's patches may be embedded by a product.
_LEARNED = {
    "Conv", "ConvInteger", "QLinearConv", "FusedConv", "MatMul", "MatMulInteger", "QLinearMatMul", "FusedMatMul",
    "Gemm",
}  # fmt: skip
# What makes a shape of pixels; arithmetic on shapes scales nothing.
_SHAPES = {"Shape", "Size"}
# A bundle's and a run's files that state the network.
_STATED = ("model.json", "recipe.toml")
_SCALING = {"Sub", "Add", "Mul", "Div", "BatchNormalization"}
_ALREADY_NORMALISED = (
    "expected --input-mean and --input-std only for an ONNX file that wants its pixels normalised, this takes them as "
    "they are; leave both out"
)


class Embedder(Protocol):
    """Maps crops to embeddings.

    Attributes:
        name: What to call it in reports.
        fingerprint: SHA-256 (hex) of the file with the weights.
        input_size: (height, width) of the crops in pixels.
    """

    name: str
    fingerprint: str
    input_size: tuple[int, int]

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """Embed crops (N, H, W, 3) uint8 RGB as (N, D) float32, of the network's own length."""
        ...


class TorchEmbedder:
    """A torch backbone as an `Embedder`, on a GPU where there is one.

    Args:
        backbone: The network; it is put into eval mode and moved.
        name: For reports.
        fingerprint: Of its weights.
        path: What they were read from, a file or a run; None for a network in memory.

    Attributes:
        network: The network, for further work in torch.
    """

    def __init__(self, backbone: BackboneModule, name: str, fingerprint: str, path: Path | None = None) -> None:
        prepare_cpu()
        self.name = name
        self.fingerprint = fingerprint
        self.path = path
        self.input_size = backbone.info.input_size
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = backbone.eval().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._normalize = Normalize(backbone.info).to(self._device)

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """Embed crops (N, H, W, 3) uint8 RGB as (N, D) float32."""
        with torch.no_grad():
            # torch takes no negative strides, such as BGR turned into RGB has.
            given = torch.from_numpy(np.ascontiguousarray(crops))
            images = self._normalize(given.to(self._device).permute(0, 3, 1, 2))
            embeddings = self.network(images.contiguous(memory_format=torch.channels_last))
        return np.asarray(embeddings.float().cpu().numpy())


class OnnxEmbedder:
    """An ONNX file as an `Embedder`.

    Args:
        path: The file, as `facexfer.deploy.onnx_export` writes it.
        provider: Of onnxruntime; None takes the best one that works here, and reports it once.
        threads: How many; None lets onnxruntime choose.
        normalisation: (2, 3), the mean and the standard deviation of each channel in grey levels, by which the file
            wants its pixels normalised; None for a file that normalises them itself.

    Raises:
        InputError: If onnxruntime cannot read it, its input is no (N, 3, H, W) of a fixed size, or of a type that does
            not hold pixels, or pixels would be normalised twice or not at all: such embeddings would be wrong without
            looking so. Whole numbers can only be pixels.

    Warns:
        DataWarning: If a normalisation is given for a file that looks as if it had its own.
    """

    def __init__(
        self,
        path: Path,
        provider: str | None = None,
        threads: int | None = None,
        normalisation: np.ndarray | None = None,
    ) -> None:
        self.name = path.name
        self.path = path
        self._session = OnnxSession(path, [provider or choose_provider()], threads)
        self.fingerprint = onnx_digest(path, self._session.model)
        height, width = self._session.input_shape[2:]
        if not (isinstance(height, int) and isinstance(width, int)):
            raise InputError(
                f"{path}: expected a fixed height and width, got [{height}, {width}]; export it with a fixed size"
            )
        takes_pixels = _takes_pixels(self._session)
        if not takes_pixels and normalisation is None:
            raise InputError(
                f"{path}: expected an ONNX file that normalises pixels itself, this one wants them normalised; add "
                "--input-mean and --input-std, in grey levels (127.5 and 127.5 for most face networks), or --backbone "
                "NAME if it is a file of a known network (facexfer inspect tells)"
            )
        if takes_pixels and normalisation is not None:
            if self._session.takes_integers or _states_normalisation(self._session.model):
                raise InputError(f"{path}: {_ALREADY_NORMALISED}")
            warnings.warn(
                DataWarning(
                    f"{path}: looks like a file that normalises pixels itself; they are normalised by --input-mean and "
                    "--input-std first, as you say; leave both out if the figures are bad"
                ),
                stacklevel=2,
            )
        self._normalisation = normalisation
        self.input_size = (height, width)
        self._batch = CPU_BATCH if self._session.provider == CPU else None

    @property
    def fixed_batch(self) -> int | None:
        """The number of images that a call takes; None for any number."""
        batch = self._session.input_shape[0]
        return batch if isinstance(batch, int) else None

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """Embed crops (N, H, W, 3) uint8 RGB as (N, D) float32."""
        images = crops.transpose(0, 3, 1, 2)
        if self._normalisation is not None:
            mean, std = self._normalisation[..., None, None]
            images = (images - mean) / std
        return self._session.run(images, self._batch)


def _normalises(model: Any) -> bool:
    """Whether something scales or shifts pixels before the first weights that take them.

    InsightFace looks at all nodes before the first convolution. Only those that the input reaches count here: others
    standardise weights.
    """
    pixels = {each.name for each in model.graph.input} - {each.name for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in _SHAPES or pixels.isdisjoint(node.input):
            continue
        if node.op_type in _SCALING or node.op_type in _LEARNED:
            return node.op_type in _SCALING
        pixels.update(node.output)
    return False


def _states_normalisation(model: Any) -> bool:
    """Whether `facexfer export` wrote a file, which then says how it normalises pixels."""
    return any(each.key == "preprocessing" for each in model.metadata_props)


class FlipEmbedder:
    """An embedder that adds the embeddings of a crop and of its mirror image (test-time augmentation).

    Args:
        embedder: What embeds both.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.name = f"{embedder.name}, with flip"
        self.path = path_of(embedder)
        self.fingerprint = embedder.fingerprint
        self.input_size = embedder.input_size
        self._embedder = embedder

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """Embed crops (N, H, W, 3) uint8 RGB as (N, D) float32."""
        both: np.ndarray = self._embedder.embed(crops) + self._embedder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
        return both


Model: TypeAlias = str | Path | BackboneModule | Embedder
"""Whatever a user calls a model: see `load`."""


def load(
    model: Model,
    backbone: str | None = None,
    *,
    flip: bool = False,
    input_mean: float | Sequence[float] | None = None,
    input_std: float | Sequence[float] | None = None,
) -> Embedder:
    """Open whatever a user calls a model.

    Args:
        model: A run folder, its model or checkpoint file, an ONNX file, a bundle, foreign weights, or with their
            network's name an InsightFace pack; a network of `facexfer.create_backbone`, of which a copy is taken; or
            what this function gave.
        backbone: The network's name, needed for foreign weights alone.
        flip: Add the embedding of the mirrored crop.
        input_mean: In grey levels, for all channels or for red, green and blue: what an ONNX file that does not
            normalise its pixels itself wants subtracted from them. InsightFace calls it so, too.
        input_std: What they are then divided by.

    Returns:
        The embedder: ``embed(crops)`` maps (N, H, W, 3) uint8 RGB to (N, D) float32; a torch network's has `network`.

    Raises:
        InputError: If the model is missing, damaged or of another kind.

    Example:
        >>> network = create_backbone("mobilefacenet")
        >>> load(network).embed(np.zeros((2, 112, 112, 3), np.uint8)).shape
        (2, 128)
        >>> load("no-run")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facexfer.errors.InputError: no-run: expected a run folder, an ONNX file or weights, found none; ...
    """
    normalisation = _normalisation(input_mean, input_std)
    embedder = _open(model, backbone) if normalisation is None else _open_raw(model, backbone, normalisation)
    return FlipEmbedder(embedder) if flip else embedder


def path_of(model: Model | None) -> Path | None:
    """Where a model was read from, also one that is open already; None for a network in memory.

    Args:
        model: As for `load`; an embedder of the user's own need not know. None has no path.
    """
    path = model if isinstance(model, str | Path) else getattr(model, "path", None)
    return Path(path) if isinstance(path, str | Path) else None


def gallery_of(model: Model) -> Path | None:
    """The network that embeds those who are enrolled, of a bundle that has one.

    Args:
        model: As for `load`.
    """
    if not isinstance(model, str | Path):
        return None
    file = Path(model) / "gallery.onnx"
    return file if (Path(model) / "model.json").is_file() and file.is_file() else None


def normalises_pixels(model: Model, backbone: str | None = None) -> bool:
    """Tell whether a model takes pixels as they are, as all do but some ONNX files.

    Args:
        model: As for `load`.
        backbone: The network's name, for foreign weights.

    Raises:
        InputError: If onnxruntime cannot read an ONNX file.
    """
    if backbone is not None or not isinstance(model, str | Path):
        return True
    path = Path(model)
    return not path.is_file() or file_form(path) != "onnx" or _takes_pixels(OnnxSession(path, [CPU]))


def check_named(model: Model | None, backbone: str | None, option: str = "--backbone") -> None:
    """Check, before the work, that the network of a file of weights is known: the file states it, or the user does.

    Args:
        model: As for `load`; None and what is no file pass.
        backbone: The network's name, or None.
        option: What names this model's network, for the error.

    Raises:
        InputError: If it is not.
    """
    if backbone is not None or not isinstance(model, str | Path) or not Path(model).is_file():
        return
    form = file_form(Path(model))
    known = read_metadata(Path(model)) if form == "safetensors" else {}
    if form != "onnx" and "backbone" not in known and known.get("format") != STATE_FORMAT:
        raise InputError(unnamed_weights(model, option))


def _takes_pixels(session: OnnxSession) -> bool:
    # Whole numbers can only be pixels.
    return session.takes_integers or _normalises(session.model)


def _normalisation(mean: float | Sequence[float] | None, std: float | Sequence[float] | None) -> np.ndarray | None:
    if mean is None and std is None:
        return None
    given = [np.atleast_1d(np.array(np.nan if value is None else value, np.float32)) for value in (mean, std)]
    if any(len(value) not in (1, 3) or not np.isfinite(value).all() for value in given) or given[1].min() <= 0:
        raise InputError(
            f"expected one number or three after both --input-mean and --input-std, the latter positive, got {mean} "
            f"and {std}; most face networks want 127.5 and 127.5"
        )
    return np.stack([np.broadcast_to(value, 3) for value in given])


def _open_raw(model: Model, backbone: str | None, normalisation: np.ndarray) -> Embedder:
    """Open an ONNX file that leaves it to others to normalise pixels."""
    if backbone is None and isinstance(model, str | Path):
        path = Path(model)
        if path.is_file() and file_form(path) == "onnx":
            return OnnxEmbedder(path, normalisation=normalisation)
    opened = _open(model, backbone)
    raise InputError(f"{opened.name}: {_ALREADY_NORMALISED}")


def _open(model: Model, backbone: str | None) -> Embedder:
    if isinstance(model, str | Path):
        return _open_file(Path(model), backbone)
    if backbone is not None:
        raise InputError(f"expected the name of a network only with a file of weights, got '{backbone}'; leave it out")
    if isinstance(model, BackboneModule):
        return TorchEmbedder(copy.deepcopy(model), model.info.name, _fingerprint(model))
    if isinstance(model, torch.nn.Module):
        raise InputError(
            f"expected a network that says how its images are normalised, got a bare {type(model).__name__}; give it "
            "to facexfer.create_backbone with its mean and scale"
        )
    return model


def _open_file(model: Path, backbone: str | None) -> Embedder:
    if backbone is not None and model.is_dir() and any((model / name).is_file() for name in _STATED):
        raise InputError(
            f"expected the name of a network only with a file of weights, got '{backbone}' with {model}, which states "
            "its own; leave it out"
        )
    if (model / "model.json").is_file():
        return OnnxEmbedder(model / "model.onnx")
    if model.is_dir():
        return TorchEmbedder(load_backbone(model), model.name, file_digest(RunFolder(model).model_file), model)
    if backbone is not None:
        model = find_weights(str(model))
    if not model.is_file():
        raise InputError(f"{model}: expected a run folder, an ONNX file or weights, found none; check the path")
    if backbone is not None:
        return TorchEmbedder(create_backbone(backbone, weights=model), model.name, weights_digest(model), model)
    form = file_form(model)
    if form == "safetensors":
        return TorchEmbedder(load_backbone_file(model), model.name, file_digest(model), model)
    if form == "onnx":
        return OnnxEmbedder(model)
    raise InputError(unnamed_weights(model))


def embed_images(
    embedder: Embedder, paths: Sequence[Path], usual_bits: Sequence[int | None] | None = None, batch_size: int = 64
) -> np.ndarray:
    """Embed crops from files.

    Args:
        embedder: What embeds them.
        paths: The files, read as they are needed.
        usual_bits: For each file what pictures of its camera use, if they have more than 8 bits; None asks the files.
        batch_size: Crops at a time.

    Returns:
        (N, D) float32.

    Raises:
        InputError: If a file is no crop of the embedder's size.
    """
    return embed_pictures(embedder, paths, usual_bits, batch_size)[0]


def embed_pictures(
    embedder: Embedder, paths: Sequence[Path], usual_bits: Sequence[int | None] | None = None, batch_size: int = 64
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Embed crops from files as `embed_images` does, and give `facexfer.data.repeats.hash_picture` of each too."""
    parts, pictures = [], []
    if usual_bits is None:
        depths = find_depths(paths, paths)
        usual_bits = [depths.usual(path) for path in paths]
    known = list(zip(paths, usual_bits, strict=True))
    for start in range(0, len(paths), batch_size):
        crops = [read_crop(path, embedder.input_size, bits) for path, bits in known[start : start + batch_size]]
        parts.append(embedder.embed(np.stack(crops)))
        pictures += [hash_picture(crop) for crop in crops]
    return np.concatenate(parts), tuple(pictures)


def _fingerprint(network: BackboneModule) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
