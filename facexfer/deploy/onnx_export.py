"""A backbone as one ONNX file that takes pixels and gives embeddings."""

import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from facexfer.backbones.info import BackboneModule
from facexfer.backbones.normalize import Normalize
from facexfer.errors import RunError

INPUT, OUTPUT = "input", "embedding"
TOLERANCE = 1e-4
"""The largest difference between onnxruntime's and torch's embeddings that an export may have."""
_METADATA = "facexfer"
_CHECKED_BATCHES = (1, 3)


class PixelsToEmbedding(nn.Module):
    """A backbone with its normalisation: (N, 3, H, W) RGB 0..255 float32 -> (N, D).

    Args:
        backbone: The network.
    """

    def __init__(self, backbone: BackboneModule) -> None:
        super().__init__()
        self.normalize = Normalize(backbone.info)
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, 3, H, W)."""
        embeddings: Tensor = self.backbone(self.normalize(images))
        return embeddings


def export_onnx(backbone: BackboneModule, path: Path) -> float:
    """Write a backbone as an ONNX file, and compare the two before the file appears.

    The batch is dynamic, the normalisation is inside the graph. InsightFace's model zoo recognises that by two nodes
    named ``Sub...`` and ``Mul...`` at the start of the graph, and then feeds pixels as they are.

    Args:
        backbone: The network; its mode comes back as it was.
        path: The file to write, beside and renamed.

    Returns:
        The largest difference between onnxruntime's and torch's embeddings of random images.

    Raises:
        RunError: If that difference is above `TOLERANCE`, or the file cannot be written; then there is no file.
    """
    was_training = backbone.training
    device = next(backbone.parameters()).device
    network = PixelsToEmbedding(backbone).cpu().eval()
    try:
        proto = _to_onnx(network)
        _name_normalisation(proto)
        proto.metadata_props.add(key=_METADATA, value=json.dumps(asdict(backbone.info)))
        onnx.checker.check_model(proto)
        beside = path.with_name(f".{path.name}.writing")
        try:
            beside.write_bytes(proto.SerializeToString())
            difference = _largest_difference(network, beside)
            os.replace(beside, path)
        except OSError as error:
            raise RunError(f"expected to write {path}, got: {error}; check space and rights") from error
        finally:
            beside.unlink(missing_ok=True)
    finally:
        backbone.train(was_training).to(device)
    return difference


def onnx_info(proto: Any) -> dict[str, Any] | None:
    """Read the backbone's facts that `export_onnx` put into a model; None for a model of another origin."""
    for entry in proto.metadata_props:
        if entry.key == _METADATA:
            info: dict[str, Any] = json.loads(entry.value)
            return info
    return None


def _to_onnx(network: PixelsToEmbedding) -> Any:
    height, width = network.backbone.info.input_size
    example = torch.zeros(2, 3, height, width)
    with warnings.catch_warnings():
        # The exporter's own use of deprecated parts of torch is no concern of the user.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _name_normalisation(proto: Any) -> None:
    """Name the first subtraction and multiplication as InsightFace expects them."""
    for operator in ("Sub", "Mul"):
        node = next(node for node in proto.graph.node[:8] if node.op_type == operator)
        node.name = f"{operator}_normalize"


def _largest_difference(network: PixelsToEmbedding, file: Path) -> float:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    height, width = network.backbone.info.input_size
    generator = np.random.default_rng(0)
    largest = 0.0
    for batch in _CHECKED_BATCHES:
        images = generator.integers(0, 256, (batch, 3, height, width)).astype(np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(images)).numpy()
        got = session.run([OUTPUT], {INPUT: images})[0]
        largest = max(largest, float(np.abs(expected - got).max()))
    # Written so that NaN is refused too.
    if not largest <= TOLERANCE:
        raise RunError(f"expected onnxruntime within {TOLERANCE:g} of torch, got {largest:g}; the export is not used")
    return largest
