"""FixedScaleBatchNorm1d against torch's own layer with its scale at 1."""

import pytest
import torch
from torch import nn

from facexfer.backbones.parts.layers import FixedScaleBatchNorm1d


@pytest.mark.parametrize("momentum", [0.1, None])
def test_equals_torch_with_a_scale_of_one(momentum: float | None) -> None:
    ours, theirs = FixedScaleBatchNorm1d(5, eps=2e-5), nn.BatchNorm1d(5, eps=2e-5)
    ours.momentum = theirs.momentum = momentum
    for _ in range(3):
        batch = torch.randn(8, 5) * 3 + 1
        torch.testing.assert_close(ours(batch), theirs(batch))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(batch), theirs.eval()(batch))


def test_maps_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"embeddings \(N, D\), got shape \(2, 5, 1\)"):
        FixedScaleBatchNorm1d(5, eps=0.0)(torch.zeros(2, 5, 1))
