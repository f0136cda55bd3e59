"""The gradients of one step, whose batch may come in parts."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from facexfer.engine.inputs import Batch
from facexfer.runtime import Fabric


def compute_gradients(
    fabric: Fabric,
    wrapped: nn.Module,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Batch],
    more: Sequence[tuple[Tensor, ...]],
) -> dict[str, Tensor]:
    """Run the parts of a step's batch forward and backward.

    Args:
        fabric: The ranks, which share their gradients at the last part.
        wrapped: The objective as fabric has wrapped it; its parameters' gradients are replaced.
        optimizer: Clears them first.
        parts: The batch.
        more: What the objective takes with each part, such as a part of the source's own images; empty for nothing.

    Returns:
        The losses by name, means over the batch, detached.
    """
    optimizer.zero_grad()
    total: dict[str, Tensor] = {}
    for number, part in enumerate(parts, start=1):
        with fabric.no_backward_sync(cast(Any, wrapped), enabled=number < len(parts)):
            with_it = more[number - 1] if more else ()
            losses: dict[str, Tensor] = wrapped(part.images, part.labels, *with_it, **part.extras)
            fabric.backward(torch.stack(list(losses.values())).sum() / len(parts))
        for name, loss in losses.items():
            share = loss.detach() / len(parts)
            total[name] = share if number == 1 else total[name] + share
    return total


def clip_gradients(
    fabric: Fabric, wrapped: nn.Module, optimizer: torch.optim.Optimizer, max_norm: float | None
) -> None:
    """Shrink the gradients to a norm; those that are not finite show in the loss, and are reported there.

    Args:
        fabric: Knows how far a scaler has stretched them.
        wrapped: Whose gradients.
        optimizer: As fabric has wrapped it.
        max_norm: The L2 norm of all together; None leaves them.
    """
    if max_norm is not None:
        fabric.clip_gradients(wrapped, cast(Any, optimizer), max_norm=max_norm, error_if_nonfinite=False)
