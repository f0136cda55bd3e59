"""Feature extraction: only the new head is trained (Xie et al. 2021, "L2-FE")."""

from facexfer.transfer.stages import Stage


def l2_fe(decay: float = 1e-4) -> tuple[Stage, ...]:
    """Train the head alone on the frozen source network, whose BatchNorm statistics stay too.

    The embedding, and with it every verification figure, is therefore that of the untouched source.

    Args:
        decay: The factor of ``1/2 ||W||^2`` of the head; 1e-4 is plain fine-tuning's published value.

    Returns:
        One stage.

    Example:
        >>> l2_fe()[0].trains_backbone
        False
    """
    return (Stage("head", trains_backbone=False, head_decay=decay),)
