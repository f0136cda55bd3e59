"""BatchNorm statistics alone: no training, no labels, seconds (AdaBN; Li et al., ICLR Workshop 2017)."""

from facexfer.transfer.stages import Stage


def adabn() -> tuple[Stage, ...]:
    """Train nothing: the source whose BatchNorm statistics were measured again on the target images is the result.

    The recipe measures them with ``source.recalibrate_batchnorm = true`` and takes no steps (``optimizer.epochs = 0``).

    Returns:
        No stage.

    Example:
        >>> adabn()
        ()
    """
    return ()
