"""Frozen class means as the classifier (MEC; Tarasiou, Deng, Zafeiriou, CVPR Workshops 2024, arXiv 2312.00627).

Little data of the new kind trains a classifier badly, and a classifier that moves drags the embeddings along. So the
weight of class k is the mean of the source's embeddings f_s of its pictures, once and for all, and the backbone alone
is trained:

    w_k = mean over x of class k of u(f_s(x)),   u(x) = x / |x|,                                                (1)
    L = CE(s * cos(f(x), w)), with the margin m on the true class.                                             (2)

The paper's means are over NIR and VIS training images together, of embeddings that come from batch statistics and are
not made unit length. Here they are of the unit embeddings that the untouched source gives the companions
(``head.start = "companions"``), each person's VIS pictures alone, where the source is at its best; or of the training
images (``head.start = "class_means"``). Margin (theirs 0.4 to 0.6, scale 64) and rate (1e-4) are the recipe's.
"""

from facexfer.transfer.stages import Stage


def class_means(decay: float = 5e-4) -> tuple[Stage, ...]:
    """Fine-tune the backbone below a classifier that stays as it started.

    Args:
        decay: The factor of ``1/2 ||W||^2`` of the backbone; 5e-4 is published.

    Returns:
        One stage.

    Example:
        >>> [(stage.trains_backbone, stage.trains_head) for stage in class_means()]
        [(True, False)]
    """
    return (Stage("class_means", trains_head=False, backbone_decay=decay),)
