"""Terms that compare embeddings reckon in float32, though a run in bf16-mixed gives them half the digits."""

import pytest
import torch
from torch.nn import functional as F

from facexfer.transfer.companion_contrast import CompanionContrast
from facexfer.transfer.companion_distance import CompanionDistance
from facexfer.transfer.methods.id_mmd import IdentityDiscrepancy
from facexfer.transfer.methods.xedgeface import CrossSpectralContrast
from facexfer.transfer.stages import Passes


@pytest.mark.parametrize(
    "term",
    [CompanionDistance(), CompanionContrast(0.0), CrossSpectralContrast(0.0), IdentityDiscrepancy()],
    ids=lambda term: type(term).__name__,
)
def test_half_precision_ends_where_a_term_begins(term) -> None:
    torch.manual_seed(0)
    people = F.normalize(torch.randn(4, 64)).repeat(4, 1)
    labels = torch.arange(4).repeat(4)
    given = [F.normalize(people + 0.01 * torch.randn(16, 64)).bfloat16() for _ in range(2)]
    spectra = torch.tensor([0] * 8 + [1] * 8)

    def loss(dtype: torch.dtype) -> torch.Tensor:
        embeddings, companions = (each.to(dtype) for each in given)
        return term(Passes(labels, (), (), None, embeddings, companions=companions, spectra=spectra))

    with torch.autocast("cpu", torch.bfloat16):
        half = loss(torch.bfloat16)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(torch.float32))
