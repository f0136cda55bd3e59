"""How a run's steps are shared, at what learning rate, and over which images."""

import math
from collections.abc import Iterator, Sequence

import torch

from facexfer.errors import InputError
from facexfer.recipe import OptimizerSection
from facexfer.transfer.stages import Stage


def split_steps(settings: OptimizerSection, stages: tuple[Stage, ...], steps_per_epoch: int) -> list[int]:
    """Share a run's optimizer steps among its stages.

    Args:
        settings: The run's length in epochs or iterations.
        stages: Their shares.
        steps_per_epoch: Full batches per epoch.

    Returns:
        Steps per stage, at least 1 each, summing to the run's length where that is possible.

    Example:
        >>> from facexfer.transfer.methods import create
        >>> split_steps(OptimizerSection(iterations=9000), create("afa"), 100)
        [4500, 4500]
    """
    total = settings.iterations if settings.iterations else round((settings.epochs or 0) * steps_per_epoch)
    ends = [round(total * sum(stage.share for stage in stages[: index + 1])) for index in range(len(stages))]
    return [max(1, end - start) for start, end in zip([0, *ends], ends, strict=False)]


def stage_rate(settings: OptimizerSection, stage: Stage, progress: float) -> float:
    """The learning rate at a point of a stage.

    Args:
        settings: The first rate, and how it falls.
        stage: Its own factor of the first rate.
        progress: 0 at the stage's start, 1 at its end.

    Returns:
        The learning rate.

    Example:
        >>> from facexfer.transfer.methods import create
        >>> rates = OptimizerSection(iterations=9000, learning_rate=0.01)
        >>> [round(stage_rate(rates, stage, at), 5) for stage in create("afa") for at in (0.0, 0.5, 0.7)]
        [0.01, 0.01, 0.001, 0.001, 0.001, 0.0001]
    """
    if settings.schedule == "cosine":
        return settings.learning_rate * stage.rate_factor * 0.5 * (1 + math.cos(math.pi * progress))
    drops = sum(progress >= drop for drop in settings.drops)
    return settings.learning_rate * stage.rate_factor * settings.drop_factor**drops


def epoch_batches(images: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Draw an epoch's batches of image indices; the remainder that fills no batch waits for another epoch.

    Args:
        images: How many there are to draw from.
        batch_size: Images per batch, over all ranks.
        seed: The run's seed.
        epoch: The same seed and epoch always give the same batches.

    Returns:
        Lists of indices, each of ``batch_size``.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    order = torch.randperm(images, generator=generator).tolist()
    return [order[start : start + batch_size] for start in range(0, len(order) - batch_size + 1, batch_size)]


def balanced_batches(labels: Sequence[int], identities: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Draw batches of as many images of each of a few identities; as many batches as an epoch has otherwise.

    The identities take turns in a new random order each round, and so do an identity's images; one with fewer images
    than its share shows some of them again.

    Args:
        labels: One per image.
        identities: How many a batch.
        batch_size: Images per batch, a multiple of ``identities``.
        seed: The run's seed.
        epoch: The same seed and epoch always give the same batches.

    Returns:
        Lists of indices, each of ``batch_size``: first one image of every identity, then a second one, and so on.

    Raises:
        InputError: If there are fewer identities.

    Example:
        >>> [sorted([0, 0, 1, 1, 2, 2][i] for i in batch) for batch in balanced_batches([0, 0, 1, 1, 2, 2], 3, 3, 0, 0)]
        [[0, 1, 2], [0, 1, 2]]
    """
    of_label: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        of_label.setdefault(label, []).append(index)
    if len(of_label) < identities:
        raise InputError(
            f"expected at least {identities} training identities, got {len(of_label)}; lower data.identities_per_batch"
        )
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    turns = _in_turns(sorted(of_label), generator)
    images = {label: _in_turns(of_label[label], generator) for label in sorted(of_label)}
    batches = []
    for _ in range(len(labels) // batch_size):
        chosen: list[int] = []
        while len(chosen) < identities:
            label = next(turns)
            if label not in chosen:
                chosen.append(label)
        batches.append([next(images[label]) for _ in range(batch_size // identities) for label in chosen])
    return batches


def _in_turns(items: list[int], generator: torch.Generator) -> Iterator[int]:
    while True:
        for position in torch.randperm(len(items), generator=generator).tolist():
            yield items[position]
