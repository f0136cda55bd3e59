"""Identity-based maximum mean discrepancy (ID-MMD; Miao et al., NeurIPS 2022, arXiv 2211.06408).

Fine-tuning on both spectra, with a term that brings each person's mean NIR embedding and mean VIS embedding together.
With c_k and d_k the means of the unit embeddings of identity k's NIR and VIS pictures in a batch, of the B identities
seen in both,

    L = CE(head(f(x)), y) + alpha * (1 / B^2) sum over k, l of (K(c_k, c_l) + K(d_k, d_l) - 2 K(c_k, d_l)),      (1)
    K(a, b) = sum over i = -2..2 of exp(-|a - b|^2 / (2^i s)),                                                  (2)

where s is the mean squared distance between the 2 B means. Comparing means and not pictures leaves out pose and
accessories, which differ between the two spectra.

The published code takes alpha = 100 at a learning rate of 0.001 (keep the product: at 0.02 it diverges), embeddings as
the network gives them, a CosFace head (scale 64, margin 0.4) that is trained alone for 4 epochs, and batches of 16
identities. Here embeddings have unit length, so that alpha does not depend on the network; the head starts from class
means; ``data.identities_per_batch`` makes the batches.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.transfer.precision import product, wide
from facexfer.transfer.stages import Need, Passes, Stage, StageSetting, Term, WeightedTerm

_SCALES = (-2, -1, 0, 1, 2)
_LEAST = 1e-12
"""Of a bandwidth: where all means are one point, there is nothing to divide by."""


class IdentityDiscrepancy(Term):
    """The maximum mean discrepancy between identities' means in two spectra, Eq. 1; 0 where no identity is in both."""

    reads_spectra = True

    def forward(self, passes: Passes) -> Tensor:
        """Compare identities' means.

        Raises:
            ValueError: If the objective was not given the spectra.
        """
        if passes.spectra is None:
            raise ValueError("expected the images' spectra, got none; the engine must give them")
        units = F.normalize(wide(passes.target_embeddings))
        # Row i stands for image i's identity; identities count once by the weight 1 / their images.
        is_same = (passes.labels[:, None] == passes.labels[None, :]) & (passes.labels >= 0)
        members = [(is_same & (passes.spectra == spectrum)).to(units.dtype) for spectrum in (0, 1)]
        means = [product(each, units) / each.sum(dim=1, keepdim=True).clamp(min=1) for each in members]
        is_in_both = members[0].any(dim=1) & members[1].any(dim=1)
        weights = is_in_both / is_same.sum(dim=1).clamp(min=1)
        identities = weights.sum()
        weights = weights / identities.clamp(min=1)
        within_new, within_own, across = (
            (left[:, None] - right[None, :]).square().sum(dim=2)
            for left, right in ((means[0], means[0]), (means[1], means[1]), (means[0], means[1]))
        )
        pairs = weights[:, None] * weights[None, :]
        mean_square = (pairs * (within_new + within_own + 2 * across)).sum() / 4
        bandwidth = (mean_square * 2 * identities / (2 * identities - 1).clamp(min=1)).detach()
        bandwidth = bandwidth.clamp(min=_LEAST)
        kernels = (_kernel(within_new, bandwidth) + _kernel(within_own, bandwidth)) - 2 * _kernel(across, bandwidth)
        return (pairs * kernels).sum()


def _kernel(squares: Tensor, bandwidth: Tensor) -> Tensor:
    return torch.stack([torch.exp(-squares / (2.0**scale * bandwidth)) for scale in _SCALES]).sum(dim=0)


def id_mmd(alpha: float = 100.0, decay: float = 2e-4) -> tuple[Stage, ...]:
    """Fine-tune on both spectra while each identity's means in the two are brought together.

    Args:
        alpha: Of the discrepancy; 100 is published, at a learning rate of 0.001.
        decay: The factor of ``1/2 ||W||^2`` of backbone and head; 2e-4 is published.

    Returns:
        One stage.

    Raises:
        InputError: If alpha is not positive.

    Example:
        >>> [stage.needs for stage in id_mmd()]
        [frozenset({<Need.SPECTRA: 'training images of exactly two modalities'>})]
    """
    if alpha <= 0:
        raise InputError(f"id_mmd: expected a positive alpha, got {alpha}; 100 is published, and without it take l2")

    def make(setting: StageSetting) -> Term:
        return IdentityDiscrepancy()

    return (
        Stage(
            "fine_tune",
            (WeightedTerm("discrepancy", alpha, make, IdentityDiscrepancy),),
            backbone_decay=decay,
            head_decay=decay,
            needs=frozenset({Need.SPECTRA}),
        ),
    )
