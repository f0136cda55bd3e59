"""Learning without forgetting: keep the source's answers on the new images (Li & Hoiem, TPAMI 2017)."""

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.transfer.precision import wide
from facexfer.transfer.stages import Need, Passes, Stage, StageSetting, Term, WeightedTerm

OldTask = Literal["classifier", "source_set", "training_set"]


class Distillation(Term):
    """The divergence of the target's softened old-task outputs from the source's (Li & Hoiem 2017, Eqs. 2 and 3).

    They take the cross-entropy; less the entropy of the source's outputs, a constant, it is this divergence with the
    same gradient, and zero where both networks answer alike. As theirs it has no factor of the squared temperature.

    Args:
        classifier: The source's, embeddings (N, D) -> logits (N, K_s); a copy of it is trained with the target.
        temperature: Divides the logits.
    """

    reads_source = True

    def __init__(self, classifier: nn.Module, temperature: float) -> None:
        super().__init__()
        self.source_classifier = copy.deepcopy(classifier).requires_grad_(False)
        self.target_classifier = copy.deepcopy(classifier).requires_grad_(True)
        self.temperature = temperature

    def forward(self, passes: Passes) -> Tensor:
        """Compare the two networks' answers."""
        if passes.source_embeddings is None:
            raise ValueError("expected the source's embeddings, got none; the objective must run the source")
        with torch.no_grad():
            answers = wide(self.source_classifier(passes.source_embeddings))
        ours = wide(self.target_classifier(passes.target_embeddings))
        return F.kl_div(
            F.log_softmax(ours / self.temperature, dim=1),
            F.log_softmax(answers / self.temperature, dim=1),
            reduction="batchmean",
            log_target=True,
        )


def lwf(
    alpha: float = 1.0,
    temperature: float = 2.0,
    old_task: OldTask = "classifier",
    prototype_scale: float = 32.0,
    rate_factor: float = 0.1,
    decay: float = 1e-4,
    warm_up: float = 0.0,
) -> tuple[Stage, ...]:
    """Fine-tune everything while the source's softened outputs on the new images are kept.

    Args:
        alpha: The weight of the old task; 1 is published (lambda_o).
        temperature: Softens both outputs; 2 is published.
        old_task: ``classifier``, the source network's own; a face checkpoint seldom carries one, then the classes of
            ``source_set`` (the images of ``[source_data]``) or of ``training_set`` (the target's), by prototypes.
        prototype_scale: Multiplies the prototypes' cosines; unused with ``classifier``.
        rate_factor: The first learning rate as a factor of the run's; Xie et al. start at 0.001 where the others start
            at 0.01.
        decay: The factor of ``1/2 ||W||^2`` of backbone and head, as in plain fine-tuning.
        warm_up: The part of the iterations that trains the new head alone first (Li & Hoiem's warm-up step; its length
            is not published, and Xie et al. name none).

    Returns:
        One stage, or two with a warm-up.

    Raises:
        InputError: ``temperature`` is not positive or ``warm_up`` not from 0 to below 1.

    Example:
        >>> [(stage.name, stage.rate_factor) for stage in lwf()]
        [('lwf', 0.1)]
    """
    if temperature <= 0:
        raise InputError(f"lwf: expected a positive temperature, got {temperature}; 2 is published")
    if not 0 <= warm_up < 1:
        raise InputError(f"lwf: expected warm_up from 0 to below 1, got {warm_up}; it is a part of the iterations")

    def make(setting: StageSetting) -> Term:
        return Distillation(setting.answers.classifier(old_task, prototype_scale), temperature)

    needs = {"classifier": {Need.CLASSIFIER}, "source_set": {Need.SOURCE_IMAGES}, "training_set": set[Need]()}
    stage = Stage(
        "lwf",
        (WeightedTerm("old_task", alpha, make, Distillation),),
        share=1 - warm_up,
        rate_factor=rate_factor,
        backbone_decay=decay,
        head_decay=decay,
        needs=frozenset(needs[old_task]),
    )
    if warm_up == 0:
        return (stage,)
    return (Stage("warm_up", trains_backbone=False, share=warm_up, head_decay=decay), stage)
