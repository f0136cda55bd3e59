import math

import pytest
import torch
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.transfer import methods
from facexfer.transfer.methods.id_mmd import IdentityDiscrepancy
from facexfer.transfer.stages import Need, Passes


def passes(embeddings, labels, spectra):
    labels, spectra = torch.tensor(labels), None if spectra is None else torch.tensor(spectra)
    return Passes(labels, (), (), None, embeddings, spectra=spectra)


def by_loops(embeddings, labels, spectra):
    """The discrepancy as the paper writes it: identities one after the other."""
    units = F.normalize(embeddings)
    found = []
    for label in sorted(set(labels) - {-1}):
        rows = [[i for i in range(len(labels)) if labels[i] == label and spectra[i] == spectrum] for spectrum in (0, 1)]
        if all(rows):
            found.append([units[each].mean(dim=0) for each in rows])
    new, own = ([pair[side] for pair in found] for side in (0, 1))
    every = [*new, *own]
    count = len(every)
    bandwidth = sum(float((a - b).square().sum()) for a in every for b in every) / (count**2 - count)

    def kernel(a, b):
        return sum(math.exp(-float((a - b).square().sum()) / (bandwidth * 2.0**scale)) for scale in range(-2, 3))

    return (
        sum(
            kernel(new[k], new[j]) + kernel(own[k], own[j]) - kernel(new[k], own[j]) - kernel(own[k], new[j])
            for k in range(len(new))
            for j in range(len(new))
        )
        / len(new) ** 2
    )


def test_it_is_the_loop_over_identities() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = [0, 0, 0, 1, 1, 2, 2, 3, -1, 0]
    spectra = [0, 1, 1, 0, 1, 0, 1, 0, -1, 0]
    embeddings = torch.randn(len(labels), 6, generator=generator)
    found = IdentityDiscrepancy()(passes(embeddings, labels, spectra))
    assert found.item() == pytest.approx(by_loops(embeddings, labels, spectra), rel=1e-4)


def test_equal_means_have_no_discrepancy_and_a_step_lowers_it() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    assert IdentityDiscrepancy()(passes(embeddings, [0, 0, 1, 1], [0, 1, 0, 1])).item() == pytest.approx(0, abs=1e-6)
    apart = torch.tensor([[1.0, 0.2], [1.0, -0.4], [0.1, 1.0], [-0.5, 1.0]], requires_grad=True)
    before = IdentityDiscrepancy()(passes(apart, [0, 0, 1, 1], [0, 1, 0, 1]))
    before.backward()
    after = IdentityDiscrepancy()(passes(apart.detach() - 0.01 * apart.grad, [0, 0, 1, 1], [0, 1, 0, 1]))
    assert after.item() < before.item()


def test_nobody_in_both_spectra_gives_zero_with_a_finite_gradient() -> None:
    embeddings = torch.randn(3, 4, requires_grad=True)
    found = IdentityDiscrepancy()(passes(embeddings, [0, 1, -1], [0, 1, 1]))
    found.backward()
    assert found.item() == 0
    assert torch.isfinite(embeddings.grad).all()


def test_what_it_asks_for() -> None:
    (stage,) = methods.create("id_mmd")
    assert stage.needs == {Need.SPECTRA}
    assert stage.terms[0].alpha == 100
    with pytest.raises(InputError, match="id_mmd: expected a positive alpha"):
        methods.create("id_mmd", alpha=0.0)
    with pytest.raises(ValueError, match="expected the images' spectra"):
        IdentityDiscrepancy()(passes(torch.ones(1, 2), [0], None))
