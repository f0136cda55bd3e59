"""Plain fine-tuning: cross-entropy and weight decay (Xie et al. 2021, Eq. 1, "L2")."""

from facexfer.transfer.stages import Stage


def l2(decay: float = 1e-4) -> tuple[Stage, ...]:
    """Fine-tune everything with weight decay on everything.

    Args:
        decay: The factor of ``1/2 ||W||^2``; 1e-4 is the published value.

    Returns:
        One stage.

    Example:
        >>> [stage.name for stage in l2()]
        ['fine_tune']
    """
    return (Stage("fine_tune", backbone_decay=decay, head_decay=decay),)
