"""Export our networks in arcface_torch's way (TorchScript exporter, folded, opset 11), in place of the packs."""

import warnings
from pathlib import Path
from typing import TypeVar

import onnx
import torch
from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneModule

N = TypeVar("N", bound=nn.Module)


def give_statistics(network: N, seed: int = 0) -> N:
    """Random but tame weights and statistics, so that neither vanishes nor explodes."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            shape = module.running_mean.shape
            module.running_mean.copy_(0.1 * torch.randn(shape, generator=generator))
            module.running_var.copy_(1 + 0.2 * torch.rand(shape, generator=generator))
            module.bias.data.copy_(0.1 * torch.randn(shape, generator=generator))
            if module.weight is not None and module.weight.requires_grad:
                module.weight.data.copy_(0.8 + 0.4 * torch.rand(shape, generator=generator))
        elif isinstance(module, nn.PReLU):
            module.weight.data.copy_(0.1 + 0.3 * torch.rand(module.weight.shape, generator=generator))
    return network.eval()


def export_arcface(network: BackboneModule, path: Path, dynamic: bool = True, normalise: bool = False) -> Path:
    height, width = network.info.input_size
    model = nn.Sequential(Pixels(), network) if normalise else network
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (torch.randn(1, 3, height, width),), str(path), input_names=["data"], opset_version=11,
            dynamo=False,
        )  # fmt: skip
    proto = onnx.load(path)
    if dynamic:
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "None"
    onnx.save(proto, path)
    return path


class Pixels(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return (images - 127.5) * 0.0078125


def rename(path: Path) -> None:
    """Rename every node and value, so that nothing can be told from names."""
    proto = onnx.load(path)
    names: dict[str, str] = {}
    kept = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    for index, node in enumerate(proto.graph.node):
        node.name = f"n{index}"
        for values in (node.input, node.output):
            for place, name in enumerate(values):
                if name and name not in kept:
                    values[place] = names.setdefault(name, f"v{len(names)}")
    for tensor in proto.graph.initializer:
        if tensor.name not in kept:
            tensor.name = names.setdefault(tensor.name, f"v{len(names)}")
    onnx.save(proto, path)
