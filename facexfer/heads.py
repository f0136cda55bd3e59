"""Classification heads on embeddings: ArcFace, CosFace and a plain linear one."""

import inspect
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.registry import Registry, blaming


class Head(nn.Module):
    """What every head can do; its class is called with D and K."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Compute training logits (N, K) of embeddings (N, D) and labels (N,).

        Raises:
            InputError: If the head's class has none of its own.
        """
        raise InputError(f"expected a head with forward(embeddings, labels), {type(self).__name__} has none; write it")

    def scores(self, embeddings: Tensor) -> Tensor:
        """Compute the logits (N, K) of embeddings (N, D) to be classified.

        Those of training, unless a head's logits depend on the labels: such a head has a method of its own here.
        """
        logits: Tensor = self(embeddings, torch.zeros(len(embeddings), dtype=torch.int64, device=embeddings.device))
        return logits

    def start_from_class_means(self, means: Tensor) -> None:
        """Start with every class at the mean (K, D) of its source embeddings.

        Raises:
            InputError: If the head's class has none of its own.
        """
        raise InputError(
            f"expected a head with start_from_class_means(means), {type(self).__name__} has none; write it, or set "
            'head.start = "random"'
        )


class MarginHead(Head):
    """Cosine logits with a margin on the true class: ``scale * cos`` with the true class's cosine made smaller.

    The arithmetic stays in float32 under autocast: a margin of 0.5 rad is lost in half precision near cos = 1.

    Args:
        embedding_size: D.
        classes: K.
        scale: s, multiplies the cosines.
        margin: m; its unit is the subclass's.
    """

    def __init__(self, embedding_size: int, classes: int, scale: float, margin: float) -> None:
        super().__init__()
        if scale <= 0:
            raise InputError(f"expected a positive scale, got {scale}; 64 is ArcFace's")
        self.scale = scale
        self.margin = margin
        self.weight = nn.Parameter(torch.empty(classes, embedding_size))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Compute the logits for training.

        Args:
            embeddings: (N, D), of any length.
            labels: (N,) int64 in 0..K-1.

        Returns:
            (N, K) float32 logits for cross-entropy.
        """
        cosines = self._cosines(embeddings)
        rows = torch.arange(len(labels), device=labels.device)
        true_cosines = self.with_margin(cosines[rows, labels])
        return self.scale * cosines.index_put((rows, labels), true_cosines)

    def scores(self, embeddings: Tensor) -> Tensor:
        """Compute the logits (N, K) of embeddings (N, D) of any length, without a margin: it is for training alone."""
        return self.scale * self._cosines(embeddings)

    def _cosines(self, embeddings: Tensor) -> Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            dtype = torch.promote_types(embeddings.dtype, torch.float32)
            return F.linear(F.normalize(embeddings.to(dtype)), F.normalize(self.weight.to(dtype)))

    def with_margin(self, cosines: Tensor) -> Tensor:
        """Make the true class's cosines (N,) harder.

        Raises:
            InputError: If the head's class has none of its own.
        """
        raise InputError(f"expected a head with with_margin(cosines), {type(self).__name__} has none; write it")

    @torch.no_grad()
    def start_from_class_means(self, means: Tensor) -> None:
        """Point every class at the mean of its source embeddings.

        Args:
            means: (K, D), of any length.

        Raises:
            InputError: If the shape differs from the head's or a mean is zero or not finite.
        """
        _check_means(means, self.weight)
        self.weight.copy_(F.normalize(means) * self.weight.norm(dim=1).mean())


class ArcFaceHead(MarginHead):
    """Additive angular margin: ``s * cos(theta + m)`` on the true class (Deng et al., CVPR 2019, Eq. 3).

    Beyond ``theta = pi - m``, where the cosine would rise again, the logit keeps falling along the line
    ``cos(theta) - m sin(m)``, as in the authors' implementation.

    Args:
        embedding_size: D.
        classes: K.
        scale: s.
        margin: m in radians, 0 to pi.

    Raises:
        InputError: If the scale is not positive or the margin is outside 0 to pi.

    Example:
        >>> head = ArcFaceHead(2, 2, scale=1.0, margin=math.pi / 3)
        >>> head.start_from_class_means(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> [round(x, 3) for x in head(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))[0].tolist()]
        [0.5, 0.0]
    """

    def __init__(self, embedding_size: int, classes: int, scale: float = 64.0, margin: float = 0.5) -> None:
        super().__init__(embedding_size, classes, scale, margin)
        if not 0 <= margin < math.pi:
            raise InputError(f"expected a margin of 0 to pi radians, got {margin}; 0.5 is ArcFace's")

    def with_margin(self, cosines: Tensor) -> Tensor:
        """Map cos(theta) to cos(theta + m)."""
        # The clamp keeps the square root's gradient finite at cos = 1.
        sines = (1.0 - cosines.square()).clamp(min=1e-7).sqrt()
        shifted = cosines * math.cos(self.margin) - sines * math.sin(self.margin)
        beyond = cosines - self.margin * math.sin(self.margin)
        return torch.where(cosines > -math.cos(self.margin), shifted, beyond)


class CosFaceHead(MarginHead):
    """Additive cosine margin: ``s * (cos(theta) - m)`` on the true class (Wang et al., CVPR 2018, Eq. 4).

    Args:
        embedding_size: D.
        classes: K.
        scale: s.
        margin: m, in units of the cosine, 0 to 1.

    Raises:
        InputError: If the scale is not positive or the margin is outside 0 to 1.

    Example:
        >>> head = CosFaceHead(2, 2, scale=10.0, margin=0.25)
        >>> head.start_from_class_means(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> head(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).tolist()
        [[7.5, 0.0]]
    """

    def __init__(self, embedding_size: int, classes: int, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__(embedding_size, classes, scale, margin)
        if not 0 <= margin <= 1:
            raise InputError(f"expected a margin of 0 to 1, got {margin}; 0.35 is CosFace's")

    def with_margin(self, cosines: Tensor) -> Tensor:
        """Subtract m from the true class's cosines."""
        return cosines - self.margin


class LinearHead(Head):
    """A plain linear classifier.

    Args:
        embedding_size: D.
        classes: K.

    Example:
        >>> LinearHead(4, 3)(torch.zeros(2, 4), torch.tensor([0, 1])).shape
        torch.Size([2, 3])
    """

    def __init__(self, embedding_size: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_size, classes)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Compute logits (N, K) of embeddings (N, D); the labels (N,) are ignored."""
        logits: Tensor = self.linear(embeddings)
        return logits

    @torch.no_grad()
    def start_from_class_means(self, means: Tensor) -> None:
        """Start at weight ``mean``, bias ``-||mean||^2 / 2``: the nearest mean, for embeddings of the means' own scale.

        Those of a run are means of unit embeddings (`class_means`). Longer embeddings make the bias small against the
        products; logits of the embeddings' own scale would make the first losses hundreds of times as large.

        Args:
            means: (K, D).

        Raises:
            InputError: If the shape differs from the head's or a mean is zero or not finite.
        """
        _check_means(means, self.linear.weight)
        self.linear.weight.copy_(means)
        self.linear.bias.copy_(-means.square().sum(dim=1) / 2)


HEADS: Registry[type[Head]] = Registry("head", "heads")
HEADS.add("arcface", ArcFaceHead)
HEADS.add("cosface", CosFaceHead)
HEADS.add("linear", LinearHead)


def class_means(embeddings: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Average the unit embeddings of every class.

    Args:
        embeddings: (N, D); a row of zeros, of an image without a companion, does not count.
        labels: (N,) int64 in 0..K-1.
        classes: K.

    Returns:
        (K, D), not of unit length; zero for a class without images.

    Example:
        >>> class_means(torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]), 1)
        tensor([[0.5000, 0.5000]])
    """
    known = embeddings.any(dim=1)
    units, labels = F.normalize(embeddings[known]), labels[known]
    sums = torch.zeros(classes, units.shape[1]).index_add_(0, labels, units)
    return sums / torch.bincount(labels, minlength=classes).clamp(min=1).unsqueeze(1)


def _check_means(means: Tensor, weight: Tensor) -> None:
    if means.shape != weight.shape:
        raise InputError(
            f"expected class means of shape {tuple(weight.shape)}, got {tuple(means.shape)}; give one row per class"
        )
    lengths = means.norm(dim=1)
    if not (torch.isfinite(lengths) & (lengths > 0)).all():
        raise InputError(
            "expected finite class means of positive length, got zero or non-finite ones; check the images"
        )


def check_head(name: str, options: Mapping[str, float], start: str = "class_means") -> None:
    """Check that there is a head of a name, that it takes these options and can do what a run asks of it.

    A small one is made and used.

    Args:
        name: One of `HEADS`.
        options: Of the recipe's ``[head]``: ``scale``, ``margin``.
        start: Likewise; ``random`` needs no `Head.start_from_class_means`.

    Raises:
        InputError: If the name is unknown, an option would do nothing, its value does not fit, or a plugin's head cannot
            be made of D and K, is no `Head`, or does not give logits.

    Example:
        >>> check_head("linear", {"margin": 0.5})
        Traceback (most recent call last):
        facexfer.errors.InputError: expected options of the linear head, got head.margin, which arcface and cosface have; leave it out
    """  # noqa: E501
    factory = HEADS[name]
    known = inspect.signature(factory).parameters
    for option in options:
        if option not in known:
            others = [other for other, head in HEADS.items() if option in inspect.signature(head).parameters]
            raise InputError(
                f"expected options of the {name} head, got head.{option}, which {' and '.join(others) or 'no head'} "
                "have; leave it out"
            )
    with blaming(factory, f"head '{name}'"):
        head = factory(2, 2, **options)
        if not isinstance(head, Head):
            raise InputError(
                f"head '{name}': expected a facexfer.heads.Head, got {type(head).__name__}, which is none; let its "
                "class inherit from Head"
            )
        logits = head(torch.eye(2), torch.arange(2))
        if not isinstance(logits, Tensor) or logits.shape != (2, 2):
            came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(f"head '{name}': expected logits (N, K) of forward, (2, 2) here, got {came}; fix the file")
        if start != "random":
            head.start_from_class_means(torch.eye(2))
