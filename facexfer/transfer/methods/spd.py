"""Selective projection decay (SPD; Tian et al., NeurIPS 2024, arXiv 2411.01713): only what overshoots is held back.

Weight decay towards the source holds every layer back in every step, also those that lower the loss all the time. SPD
decides for each layer (each parameter tensor) and step. With w_0 the source's weights, w the weights before the step, g
the gradient there and w~ the weights after the optimizer's own step,

    c = -<g, w - w_0>,                                                                                          (1)
    r = max(0, (|w~ - w_0| - |w - w_0|) / |w~ - w_0|),                                                          (2)
    w <- w~ - strength * r * (w~ - w_0)   where c < 0, else   w <- w~.                                          (3)

c < 0 says that the loss falls on the way back to the source; then the decay takes back (strength 1) the distance that
momentum has just added. The paper does this to Adam; the figures here are compared at the same optimizer, so it is SGD
with momentum. Their decay has no bound; here strength * r is at most 1, which is the source. The head has no source and
keeps its weight decay.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from facexfer.errors import InputError
from facexfer.transfer.stages import Stage


class SelectiveProjectionSGD(torch.optim.SGD):
    """SGD with momentum, followed by Eq. 3.

    Args:
        groups: Parameters with their ``weight_decay``.
        sources: Parameter -> w_0; parameters without one are stepped as ever.
        rate: The learning rate.
        momentum: As of SGD.
        strength: Of the decay.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        sources: Mapping[Tensor, Tensor],
        rate: float,
        momentum: float,
        strength: float,
    ) -> None:
        super().__init__(groups, lr=rate, momentum=momentum)
        held = [each for group in self.param_groups for each in group["params"] if each in sources]
        # Beside the groups, so that no checkpoint holds the source again.
        self._pairs = [(each, sources[each].detach()) for each in held]
        self._strength = strength

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step.

        Args:
            closure: As of SGD.
        """
        pairs = [(weights, source) for weights, source in self._pairs if weights.grad is not None]
        trained, sources = [weights for weights, _ in pairs], [source for _, source in pairs]
        gradients = [weights.grad for weights in trained if weights.grad is not None]
        before = torch._foreach_sub(trained, sources)
        slopes = torch._foreach_mul(before, gradients)
        loss = cast(float | None, super().step(closure))
        after = torch._foreach_sub(trained, sources)
        reached, came = (torch.stack(torch._foreach_norm(each)) for each in (after, before))
        ratios = ((reached - came) / reached.clamp(min=torch.finfo(reached.dtype).tiny)).clamp(min=0)
        is_back = torch.stack([slope.sum() for slope in slopes]) > 0
        shares = torch.where(is_back, (self._strength * ratios).clamp(max=1), torch.zeros_like(ratios))
        torch._foreach_sub_(trained, torch._foreach_mul(after, list(shares.unbind())))
        return loss


def spd(strength: float = 1.0, head_decay: float = 1e-4) -> tuple[Stage, ...]:
    """Fine-tune everything, each layer held back where it overshoots.

    Args:
        strength: Of the decay; 1 keeps a layer's distance from the source as it was before the step.
        head_decay: The factor of ``1/2 ||W||^2`` of the head, as in plain fine-tuning.

    Returns:
        One stage.

    Raises:
        InputError: If the strength is not positive.

    Example:
        >>> [(stage.name, stage.backbone_decay) for stage in spd()]
        [('fine_tune', 0.0)]
    """
    if strength <= 0:
        raise InputError(f"spd: expected a positive strength, got {strength}; 1 takes back what momentum has added")

    def make(
        groups: list[dict[str, Any]], sources: Mapping[Tensor, Tensor], rate: float, momentum: float
    ) -> torch.optim.Optimizer:
        return SelectiveProjectionSGD(groups, sources, rate, momentum, strength)

    return (Stage("fine_tune", head_decay=head_decay, make_optimizer=make),)
