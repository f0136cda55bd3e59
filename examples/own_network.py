"""Your own torch network, measured and exported: ``python own_network.py WEIGHTS.pt CROPS OUT.onnx``."""

import sys

from torch import nn

import facexfer

network = nn.Sequential(
    nn.Conv2d(3, 16, 3, stride=4),
    nn.BatchNorm2d(16),
    nn.PReLU(16),
    nn.AdaptiveAvgPool2d(4),
    nn.Flatten(),
    nn.Linear(256, 64),
)
weights, crops, out = sys.argv[1:] if len(sys.argv) == 4 else sys.exit(__doc__)
# Pixels 0..255 enter as (pixel - mean) * scale: nobody but you knows how the network was trained.
backbone = facexfer.create_backbone(network, weights=weights, mean=127.5, scale=1 / 127.5)
found = facexfer.evaluate(backbone, crops, fars=[1e-1, 1e-2])
print(found)
exported = facexfer.export(backbone, out)
print(f"{exported.path}: within {exported.difference:.1e} of torch")
again = facexfer.evaluate(out, crops, fars=[1e-1, 1e-2])
assert [round(point.tar or 0, 3) for point in again.points] == [round(point.tar or 0, 3) for point in found.points]
