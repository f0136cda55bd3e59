"""A backbone as one ONNX file that takes pixels and gives embeddings."""

import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneInfo, BackboneModule
from facexfer.backbones.parts.normalize import Normalize
from facexfer.deploy.runtimes.fast_prelu import rewrite_prelu
from facexfer.errors import InputError, RunError
from facexfer.files.atomic import replacing

INPUT, OUTPUT = "input", "embedding"
NORMALISATION = ("Sub_normalize", "Mul_normalize")
"""The names of the two nodes by which InsightFace sees that a file takes pixels, in their order."""
TOLERANCE = 1e-4
"""How far onnxruntime's embeddings of an export may be from torch's, as a share of an embedding's length."""
OPSETS = (11, 23)
"""The oldest and the newest set of ONNX operators that a file can be written in."""
# How many nodes InsightFace looks at for those two.
_LOOKED_AT = 8
_METADATA = "facexfer"
_CONTRACT = "preprocessing"
_CHECKED_BATCHES = (1, 3)
_IR_VERSION = 8
# The newer exporter of torch writes no older set than this; below it is the one by TorchScript.
_OLDEST_OF_DYNAMO = 18


class PixelsToEmbedding(nn.Module):
    """A backbone with its normalisation: (N, 3, H, W) RGB 0..255 float32 -> (N, D).

    Args:
        backbone: The network.
        flip: Whether the embedding of the mirrored image is added, as `facexfer.measure.embedder.FlipEmbedder` does.
    """

    def __init__(self, backbone: BackboneModule, flip: bool = False) -> None:
        super().__init__()
        self.normalize = Normalize(backbone.info)
        self.backbone = backbone
        self.flip = flip

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, 3, H, W)."""
        images = self.normalize(images)
        embeddings: Tensor = self.backbone(images)
        # Two calls instead of one with twice the images: some runtimes take one image at a time.
        return embeddings + self.backbone(images.flip(3)) if self.flip else embeddings


def export_onnx(
    backbone: BackboneModule, path: Path, opset: int | None = None, batch: int | None = None, flip: bool = False
) -> float:
    """Write a backbone as an ONNX file, and compare the two before the file appears.

    The normalisation is inside the graph. InsightFace's model zoo recognises that by two nodes named ``Sub...`` and
    ``Mul...`` at the start of the graph, and then feeds pixels as they are. What a user must feed is in the file's
    metadata under ``preprocessing``, and the backbone's facts under ``facexfer``.

    Args:
        backbone: The network; its mode is restored.
        path: The file to write, atomically.
        opset: The set of ONNX operators, one of `OPSETS` or between; None takes the exporter's own.
        batch: A fixed number of images, for compilers that need one; None leaves it free.
        flip: Whether the file adds the embedding of the mirrored image, for twice the time.

    Returns:
        The largest distance of onnxruntime's from torch's embedding of a random image, as a share of its length.

    Raises:
        InputError: If the opset or the batch is out of range, torch cannot write the network, or onnxruntime cannot
            run what it wrote; then there is no file.
        RunError: If that difference is above `TOLERANCE`, the normalisation is not found, or the file cannot be
            written; then there is no file.
    """
    check_form(opset, batch)
    was_training = backbone.training
    device = next(backbone.parameters()).device
    network = PixelsToEmbedding(backbone, flip).cpu().eval()
    try:
        with _refusing(path, "a network that torch writes as ONNX", "try another --opset, such as 17, or --batch 1"):
            proto = _to_onnx(network, opset, batch)
        _drop_identities(proto)
        _name_normalisation(proto)
        rewrite_prelu(proto)
        lower_ir_version(proto)
        proto.metadata_props.add(key=_METADATA, value=json.dumps(asdict(backbone.info)))
        proto.metadata_props.add(key=_CONTRACT, value=json.dumps(preprocessing(backbone.info, flip)))
        onnx.checker.check_model(proto)
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(proto.SerializeToString())
                difference = _largest_difference(network, temporary, path, (batch,) if batch else _CHECKED_BATCHES)
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"expected to write {path}, got: {reason}; check free space and permissions") from error
    finally:
        backbone.train(was_training).to(device)
    return difference


def check_form(opset: int | None, batch: int | None) -> None:
    """Check what `export_onnx` is to be asked for.

    Raises:
        InputError: If the opset or the batch is out of range.
    """
    if opset is not None and not OPSETS[0] <= opset <= OPSETS[1]:
        raise InputError(f"expected an opset from {OPSETS[0]} to {OPSETS[1]}, got {opset}")
    if batch is not None and batch < 1:
        raise InputError(f"expected a batch of 1 or more images, got {batch}")


def lower_ir_version(proto: Any) -> None:
    """Write down no higher a version of ONNX's own format than the operators need: runtimes refuse a higher one.

    Args:
        proto: The model, which is changed; versions up to 8, which every runtime of today reads, stay.
    """
    needed = onnx.helper.find_min_ir_version_for(list(proto.opset_import), ignore_unknown=True)
    proto.ir_version = min(proto.ir_version, max(_IR_VERSION, needed))


def onnx_info(proto: Any) -> dict[str, Any] | None:
    """Read the backbone's facts that `export_onnx` put into a model; None for a model of another origin."""
    for entry in proto.metadata_props:
        if entry.key == _METADATA:
            info: dict[str, Any] = json.loads(entry.value)
            return info
    return None


def preprocessing(info: BackboneInfo, flip: bool = False) -> dict[str, Any]:
    """What must be fed to an exported file, in words and numbers.

    Args:
        info: The backbone's facts.
        flip: Whether the file adds the embedding of the mirrored image.

    Returns:
        The contract, ready for JSON.
    """
    return {
        "crop": "five-point similarity transform of InsightFace's norm_crop",
        "size": list(info.input_size),
        "layout": "NCHW",
        "dtype": "float32",
        "channels": "RGB",
        "values": "0..255 as they are; the normalisation is inside the graph",
        "inside": {"channels": info.color_order, "mean": list(info.mean), "scale": list(info.scale), "flip": flip},
    }


def _to_onnx(network: PixelsToEmbedding, opset: int | None, batch: int | None) -> Any:
    height, width = network.backbone.info.input_size
    example = torch.zeros(batch or 2, 3, height, width)
    with warnings.catch_warnings():
        # The exporter's own use of deprecated parts of torch is no concern of the user.
        warnings.simplefilter("ignore")
        if opset is not None and opset < _OLDEST_OF_DYNAMO:
            with tempfile.TemporaryDirectory() as place:
                file = Path(place) / "model.onnx"
                torch.onnx.export(
                    network,
                    (example,),
                    file,
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    dynamic_axes=None if batch else {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
                    opset_version=opset,
                    dynamo=False,
                )
                return onnx.load(file)
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=None if batch else {"images": {0: torch.export.Dim("batch")}},
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _drop_identities(proto: Any) -> None:
    """Read constants directly: for equal ones the older exporter puts Identity nodes first, where InsightFace looks."""
    origins = {tensor.name: tensor.name for tensor in proto.graph.initializer}
    for node in list(proto.graph.node):
        if node.op_type == "Identity" and node.input[0] in origins:
            origins[node.output[0]] = origins[node.input[0]]  # which may be a copy itself
            proto.graph.node.remove(node)
        else:
            for place, name in enumerate(node.input):
                node.input[place] = origins.get(name, name)


def _name_normalisation(proto: Any) -> None:
    """Name the first subtraction and multiplication as InsightFace expects them among a graph's first eight nodes.

    The older exporter writes constants as nodes, six before the multiplication of a network that takes BGR; these
    become initializers.
    """
    nodes = list(proto.graph.node)
    end = next((place for place, node in enumerate(nodes) if node.op_type == NORMALISATION[-1][:3]), 0)
    for node in nodes[:end]:
        value = next((each.t for each in node.attribute if each.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            value.name = node.output[0]
            proto.graph.initializer.append(value)
            proto.graph.node.remove(node)
    for name in NORMALISATION:
        found = next((node for node in proto.graph.node[:_LOOKED_AT] if node.op_type == name[:3]), None)
        if found is None:
            kinds = ", ".join(node.op_type for node in proto.graph.node[:_LOOKED_AT])
            raise RunError(
                f"expected a {name[:3]} for the normalisation among the first {_LOOKED_AT} nodes of the graph, got "
                f"{kinds}; export it with another --opset"
            )
        found.name = name


def _largest_difference(network: PixelsToEmbedding, file: Path, path: Path, batches: tuple[int, ...]) -> float:
    """The largest distance between the two embeddings of an image, as a share of torch's length: scores have no scale.

    Args:
        network: In torch.
        file: The same as ONNX, under a temporary name.
        path: Its name, for errors.
        batches: How many images are tried at a time.
    """
    height, width = network.backbone.info.input_size
    generator = np.random.default_rng(0)
    largest = 0.0
    with _refusing(path, "a network that onnxruntime runs", "try another --opset"):
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for batch in batches:
        images = generator.integers(0, 256, (batch, 3, height, width)).astype(np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(images)).numpy()
        with _refusing(path, f"a network that onnxruntime runs on {batch} images at a time", "try --batch 1"):
            got = session.run([OUTPUT], {INPUT: images})[0]
        if got.shape != expected.shape:
            raise RunError(
                f"{path}: expected embeddings {expected.shape} of {batch} images, got {got.shape}; try --batch 1"
            )
        expected = expected.reshape(batch, -1)
        lengths = np.linalg.norm(expected, axis=1)
        distances = np.linalg.norm(expected - got.reshape(batch, -1), axis=1)
        # Not max() of Python, which may lose NaN.
        largest = float(np.max([largest, *distances / np.maximum(lengths, np.finfo(np.float32).tiny)]))
    # Written so that NaN is refused too.
    if not largest <= TOLERANCE:
        raise RunError(f"expected onnxruntime within {TOLERANCE:g} of torch, got {largest:g}; the export is not used")
    return largest


@contextmanager
def _refusing(path: Path, wanted: str, advice: str) -> Iterator[None]:
    """Turn what torch's exporter and onnxruntime raise, which is of all kinds and of many lines, into one line."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        # The exporter's own words are how to debug it; why it failed is in the error before.
        lines = str(error.__cause__ or error).split("\n")
        said = next((line.strip() for line in lines if line.strip()), type(error).__name__)
        raise InputError(f"{path}: expected {wanted}, got: {said}; {advice}") from error
