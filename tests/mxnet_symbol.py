"""An independent interpreter of MXNet symbol graphs with plain torch functions, to compare our networks with."""

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def run_symbol(path: Path, params: dict[str, Tensor], images: Tensor) -> Tensor:
    """Run the graph of a ``symbol.json`` in inference mode on images (N, 3, H, W), 0..255."""
    graph = json.loads(path.read_text())
    values: list[Any] = []
    for node in graph["nodes"]:
        inputs = [values[entry[0]] for entry in node["inputs"]]
        attributes = {**node.get("param", {}), **node.get("attr", {}), **node.get("attrs", {})}
        if node["op"] == "null":
            values.append(images if node["name"] == "data" else params.get(node["name"]))
        else:
            values.append(OPERATORS[node["op"]](inputs, attributes))
    result: Tensor = values[graph["heads"][0][0]]
    return result


def pair(attributes: dict[str, str], name: str, default: str) -> tuple[int, int]:
    first, second = ast.literal_eval(attributes.get(name, default))
    return first, second


def convolution(inputs: list[Tensor], attributes: dict[str, str]) -> Tensor:
    assert attributes["no_bias"] == "True"
    data, weight = inputs
    return F.conv2d(
        data,
        weight,
        stride=pair(attributes, "stride", "(1, 1)"),
        padding=pair(attributes, "pad", "(0, 0)"),
        groups=int(attributes.get("num_group", 1)),
    )


def batch_norm(inputs: list[Tensor], attributes: dict[str, str]) -> Tensor:
    data, gamma, beta, mean, variance = inputs
    if attributes.get("fix_gamma", "True") == "True":
        gamma = torch.ones_like(gamma)
    shape = (1, -1) + (1,) * (data.ndim - 2)
    scale = gamma / torch.sqrt(variance + float(attributes.get("eps", 1e-3)))
    return (data - mean.view(shape)) * scale.view(shape) + beta.view(shape)


def leaky_relu(inputs: list[Tensor], attributes: dict[str, str]) -> Tensor:
    assert attributes["act_type"] == "prelu"
    data, slope = inputs
    return torch.where(data > 0, data, data * slope.view((1, -1) + (1,) * (data.ndim - 2)))


OPERATORS: dict[str, Callable[[list[Tensor], dict[str, str]], Tensor]] = {
    "_minus_scalar": lambda inputs, attributes: inputs[0] - float(attributes["scalar"]),
    "_mul_scalar": lambda inputs, attributes: inputs[0] * float(attributes["scalar"]),
    "_copy": lambda inputs, attributes: inputs[0],
    "elemwise_add": lambda inputs, attributes: inputs[0] + inputs[1],
    "Dropout": lambda inputs, attributes: inputs[0],
    "FullyConnected": lambda inputs, attributes: inputs[0].flatten(1) @ inputs[1].T + inputs[2],
    "Convolution": convolution,
    "BatchNorm": batch_norm,
    "LeakyReLU": leaky_relu,
}
