"""Contrastive self-distillation (xEdgeFace; George, Marcel, IJCB 2025, arXiv 2504.19646).

One network for both spectra: pairs across them are brought together or apart, the source's view of VIS pictures is
kept, and only normalisation layers and the first layers are trained. With f_s the frozen source, n over NIR and v over
VIS pictures,

    L_C = mean over pairs of one person of (1 - cos(f(n), f(v)))
        + mean over pairs of two persons of max(0, cos(f(n), f(v)) - m),                                        (1)
    L_D = mean over v of (1 - cos(f(v), f_s(v))),                                                               (2)
    L = w * ((1 - share) * L_C + share * L_D).                                                                  (3)

The paper draws pairs; here all pairs across the spectra within a batch count, those of one person and those of two
with equal weight. Its network is EdgeFace with LayerNorm; here the layers are BatchNorm, the PReLUs next to them and
the first quarter of the convolutions. Share and margin are not those of the paper, whose text leaves the choice open
in the form that was read: one half, and 0.
"""

from torch import Tensor
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.transfer.contrast import contrast, masked_mean
from facexfer.transfer.partial import scales_and_first_layers
from facexfer.transfer.precision import product, wide
from facexfer.transfer.stages import Need, Passes, Stage, StageSetting, Term, WeightedTerm


class CrossSpectralContrast(Term):
    """The contrastive loss of all pairs across the spectra of a batch, Eq. 1; a kind without a pair counts 0.

    Args:
        margin: m, the cosine up to which two persons are far enough apart.
    """

    reads_spectra = True

    def __init__(self, margin: float) -> None:
        super().__init__()
        self._margin = margin

    def forward(self, passes: Passes) -> Tensor:
        """Compare every picture of one spectrum with every one of the other.

        Raises:
            ValueError: If the objective was not given the spectra.
        """
        if passes.spectra is None:
            raise ValueError("expected the images' spectra, got none; the engine must give them")
        units = F.normalize(wide(passes.target_embeddings))
        cosines = product(units, units.T)
        is_pair = (passes.spectra == 0)[:, None] & (passes.spectra == 1)[None, :]
        is_same = passes.labels[:, None] == passes.labels[None, :]
        return contrast(cosines, is_pair, is_same, self._margin)


class KeptView(Term):
    """One minus the cosine between the network's and the source's embedding of the source's own spectrum, Eq. 2."""

    reads_source = True
    reads_spectra = True

    def forward(self, passes: Passes) -> Tensor:
        """Compare the two networks.

        Raises:
            ValueError: If the objective was not given the spectra or the source's embeddings.
        """
        if passes.spectra is None or passes.source_embeddings is None:
            raise ValueError(
                "expected the images' spectra and the source's embeddings, got none; the engine gives them"
            )
        embeddings = wide(passes.target_embeddings)
        cosines = F.cosine_similarity(embeddings, passes.source_embeddings.to(embeddings.dtype))
        return masked_mean(1 - cosines, passes.spectra == 1)


def xedgeface(
    weight: float = 20.0, share: float = 0.5, margin: float = 0.0, first_share: float = 0.25, decay: float = 1e-4
) -> tuple[Stage, ...]:
    """Align pairs across the spectra while the source's view of its own spectrum is kept.

    Args:
        weight: w, of the whole objective; it acts like a factor of the learning rate.
        share: Of the self-distillation, 0 to 1.
        margin: m, a cosine.
        first_share: This part of the convolutions is trained in addition to normalisation layers and PReLUs.
        decay: The factor of ``1/2 ||W||^2`` of what is trained.

    Returns:
        One stage, which does not classify.

    Raises:
        InputError: If the weight is not positive or a share not between 0 and 1.

    Example:
        >>> [(term.name, term.alpha) for term in xedgeface(share=0.25)[0].terms]
        [('contrast', 15.0), ('kept', 5.0)]
    """
    if weight <= 0 or not 0 <= share <= 1:
        raise InputError(
            f"xedgeface: expected a positive weight and a share from 0 to 1, got {weight} and {share}; "
            "the defaults are 20 and 0.5"
        )

    def align(setting: StageSetting) -> Term:
        return CrossSpectralContrast(margin)

    def kept(setting: StageSetting) -> Term:
        return KeptView()

    return (
        Stage(
            "align",
            (
                WeightedTerm("contrast", weight * (1 - share), align, CrossSpectralContrast, chance=1.0),
                WeightedTerm("kept", weight * share, kept, KeptView, chance=1.0),
            ),
            trained_part=scales_and_first_layers(first_share),
            backbone_decay=decay,
            needs=frozenset({Need.SPECTRA}),
            classification=0.0,
        ),
    )
