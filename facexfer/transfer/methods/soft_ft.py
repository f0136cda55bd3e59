"""Soft Fine-tuning: train on source data jointly, ever less of it (Zhao et al., arXiv:1909.02236, 2019)."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from facexfer.transfer.precision import wide
from facexfer.transfer.stages import Need, Passes, Stage, StageSetting, Term, WeightedTerm


class SourceClassification(Term):
    """The cross-entropy of the source's own images on the source's classes, its weight falling from 1 to 0.

    The published text leaves the form of the fall open; here it is linear in the steps of the stage.

    Args:
        classifier: The source's, embeddings (N, D) -> logits (N, K_s); it is trained along.
    """

    reads_source_images = True

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, passes: Passes) -> Tensor:
        """Compute the weighted cross-entropy of the source batch."""
        batch = passes.source_batch
        if batch is None:
            raise ValueError("expected a batch of source images, got none; give the objective one per step")
        return batch.weight * F.cross_entropy(wide(self.classifier(batch.embeddings)), batch.labels)


def soft_ft(
    alpha: float = 1.0,
    old_task: Literal["classifier", "source_set"] = "classifier",
    prototype_scale: float = 32.0,
    rate_factor: float = 0.1,
    decay: float = 1e-4,
) -> tuple[Stage, ...]:
    """Fine-tune everything on target and source images together, the source's part going from 1 to 0.

    It needs source images with labels, in the recipe's ``[source_data]``; without them the run does not start.

    Args:
        alpha: The source part's first weight; 1 is published.
        old_task: ``classifier``, the source network's own, whose outputs the labels then number; or the prototypes
            of ``source_set``'s classes, for a checkpoint without one.
        prototype_scale: Multiplies the prototypes' cosines; unused with ``classifier``.
        rate_factor: The first learning rate as a factor of the run's; Xie et al. start at 0.001 for images and at
            0.0001 for faces (0.1 and 0.01 of 0.01).
        decay: The factor of ``1/2 ||W||^2`` of backbone and head, as in plain fine-tuning.

    Returns:
        One stage.

    Example:
        >>> sorted(soft_ft(old_task="source_set")[0].needs)
        [<Need.SOURCE_IMAGES: 'source images'>]
    """

    def make(setting: StageSetting) -> Term:
        return SourceClassification(setting.answers.classifier(old_task, prototype_scale))

    needs = {Need.SOURCE_IMAGES, Need.CLASSIFIER} if old_task == "classifier" else {Need.SOURCE_IMAGES}
    return (
        Stage(
            "soft_ft",
            (WeightedTerm("source_classification", alpha, make, SourceClassification),),
            rate_factor=rate_factor,
            backbone_decay=decay,
            head_decay=decay,
            needs=frozenset(needs),
        ),
    )
