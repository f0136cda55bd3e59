"""An independent interpreter of MXNet symbol graphs with plain torch functions, to compare our networks with."""

import ast
import json

import torch
from torch.nn import functional as F


def run_symbol(path, params, images):
    """Run the graph of a ``symbol.json`` in inference mode on images (N, 3, H, W), 0..255."""
    graph = json.loads(path.read_text())
    values = []
    for node in graph["nodes"]:
        inputs = [values[entry[0]] for entry in node["inputs"]]
        attributes = {**node.get("param", {}), **node.get("attr", {}), **node.get("attrs", {})}
        if node["op"] == "null":
            values.append(images if node["name"] == "data" else params.get(node["name"]))
        else:
            values.append(OPERATORS[node["op"]](inputs, attributes))
    return values[graph["heads"][0][0]]


def pair(attributes, name, default):
    return tuple(ast.literal_eval(attributes.get(name, default)))


def convolution(inputs, attributes):
    assert attributes["no_bias"] == "True"
    return F.conv2d(
        *inputs,
        stride=pair(attributes, "stride", "(1, 1)"),
        padding=pair(attributes, "pad", "(0, 0)"),
        groups=int(attributes.get("num_group", 1)),
    )


def batch_norm(inputs, attributes):
    data, gamma, beta, mean, variance = inputs
    if attributes.get("fix_gamma", "True") == "True":
        gamma = torch.ones_like(gamma)
    shape = (1, -1) + (1,) * (data.ndim - 2)
    scale = gamma / torch.sqrt(variance + float(attributes.get("eps", 1e-3)))
    return (data - mean.view(shape)) * scale.view(shape) + beta.view(shape)


def leaky_relu(inputs, attributes):
    assert attributes["act_type"] == "prelu"
    data, slope = inputs
    return torch.where(data > 0, data, data * slope.view((1, -1) + (1,) * (data.ndim - 2)))


OPERATORS = {
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
