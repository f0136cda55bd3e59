from collections.abc import Sequence

import pytest
import torch
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.transfer import methods
from facexfer.transfer.methods.xedgeface import CrossSpectralContrast, KeptView
from facexfer.transfer.stages import Need, Passes


def passes(embeddings, labels: Sequence[int] = (), spectra=None, source=None):
    spectra = None if spectra is None else torch.tensor(spectra)
    return Passes(torch.tensor(labels), (), (), source, embeddings, spectra=spectra)


def test_contrast_by_loops() -> None:
    embeddings = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    labels, spectra = [0, 1, 0, 1, 2, -1, 0], [0, 0, 1, 1, 1, -1, 1]
    units = F.normalize(embeddings)
    same, different = [], []
    for i in range(7):
        for j in range(7):
            if spectra[i] == 0 and spectra[j] == 1:
                cosine = float(units[i] @ units[j])
                if labels[i] == labels[j]:
                    same.append(1 - cosine)
                else:
                    different.append(max(0.0, cosine - 0.1))
    expected = sum(same) / len(same) + sum(different) / len(different)
    found = CrossSpectralContrast(0.1)(passes(embeddings, labels, spectra))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_kept_view_looks_at_the_source_s_own_spectrum_alone() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    source = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0]])
    found = KeptView()(passes(embeddings, [0, 0, 0], [0, 1, -1], source))
    assert found.item() == pytest.approx(1 - 0.5**0.5, rel=1e-6)


def test_a_batch_of_one_spectrum_gives_zero() -> None:
    embeddings = torch.randn(3, 4)
    assert CrossSpectralContrast(0.0)(passes(embeddings, [0, 0, 1], [0, 0, 0])).item() == 0
    assert KeptView()(passes(embeddings, [0, 0, 1], [0, 0, 0], embeddings)).item() == 0


def test_what_it_asks_for() -> None:
    (stage,) = methods.create("xedgeface")
    assert stage.needs == {Need.SPECTRA}
    assert stage.classification == 0
    for options in ({"weight": 0.0}, {"share": 1.2}, {"first_share": 2.0}):
        with pytest.raises(InputError, match="expected a"):
            methods.create("xedgeface", **options)
    for term in (CrossSpectralContrast(0.0), KeptView()):
        with pytest.raises(ValueError, match="expected the images' spectra"):
            term(passes(torch.ones(1, 2), [0]))
