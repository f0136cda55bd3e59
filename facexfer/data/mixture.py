"""Several sets of images in the batches of one run, each with its part of every batch."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from facexfer.data.companions import Pictures
from facexfer.data.training_set import AugmentedSet, TrainingSet


@dataclass(frozen=True)
class Part:
    """One set of a mixture.

    Attributes:
        name: What it is called in messages.
        images: The set.
        share: Its part of every batch, 0 to 1.
        is_labelled: Whether its labels are classes of the head; those of the others are given as -1.
        pictures: The set as it is, where each image is its own companion.
        is_kept: Whether the images are shown as they are, mirrored at most, so that the network keeps their place.
    """

    name: str
    images: AugmentedSet
    share: float
    is_labelled: bool
    pictures: Pictures | None = None
    is_kept: bool = False

    @property
    def as_it_is(self) -> TrainingSet:
        """The images without augmentation, but for what renders them in another spectrum."""
        return self.pictures.images if self.is_kept and self.pictures is not None else self.images


class Drawn(NamedTuple):
    """An image of a batch.

    Attributes:
        place: Its place in the mixture.
        turn: How often it has been drawn before in its epoch; every turn has its own augmentation.
    """

    place: int
    turn: int = 0


def number_turns(batches: Iterable[Sequence[int]]) -> list[list[Drawn]]:
    """Number the turns of each image in an epoch.

    Args:
        batches: The places of every batch of the epoch.

    Example:
        >>> [[tuple(drawn) for drawn in batch] for batch in number_turns([[4, 9], [9, 9]])]
        [[(4, 0), (9, 0)], [(9, 1), (9, 2)]]
    """
    seen: Counter[int] = Counter()
    numbered: list[list[Drawn]] = []
    for batch in batches:
        numbered.append([])
        for place in batch:
            numbered[-1].append(Drawn(place, seen[place]))
            seen[place] += 1
    return numbered


class Mixture:
    """Sets one behind the other, as one; an image comes with its place, by which its companion is found.

    Args:
        parts: The sets; their shares sum to 1.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self._starts = [sum(len(part.images) for part in self.parts[:place]) for place in range(len(self.parts))]

    def __len__(self) -> int:
        return self._starts[-1] + len(self.parts[-1].images)

    def __getitem__(self, drawn: Drawn) -> tuple[Tensor, int, int, bool]:
        """An image (3, H, W) uint8 RGB, its label or -1, its place, and whether it is mirrored."""
        part, within = self.part_of(drawn.place)
        image, label, is_mirrored = self.parts[part].images.draw(within, drawn.turn)
        return image, label if self.parts[part].is_labelled else -1, drawn.place, is_mirrored

    def part_of(self, index: int) -> tuple[int, int]:
        """The index of the part that holds an image, and the image's index in it."""
        place = max(place for place, start in enumerate(self._starts) if start <= index)
        return place, index - self._starts[place]

    @property
    def labels(self) -> Sequence[int]:
        """The labels, -1 for those of other parts than labelled ones."""
        return [label if part.is_labelled else -1 for part in self.parts for label in part.images.labels]

    def set_epoch(self, epoch: int) -> None:
        """Draw new augmentation."""
        for part in self.parts:
            part.images.set_epoch(epoch)

    def counts(self, batch_size: int) -> list[int]:
        """How many images of each part make a batch: rounded shares, with the largest part taking the rest.

        Example:
            >>> part = lambda share: Part("p", (), share, True)
            >>> Mixture([part(0.5), part(0.3), part(0.2)]).counts(64)
            [32, 19, 13]
        """
        counts = [round(part.share * batch_size) for part in self.parts]
        counts[max(range(len(counts)), key=counts.__getitem__)] += batch_size - sum(counts)
        return counts

    def batches(self, batch_size: int, first: int, end: int, seed: int) -> list[list[int]]:
        """Draw the batches of some steps: each part's images in a new order whenever all have had their turn.

        Args:
            batch_size: Images per batch.
            first: The first step of the run that is wanted.
            end: The step after the last one.
            seed: The run's seed; the same step always has the same batch.

        Returns:
            One list of places a step, part after part.
        """
        columns = []
        for number, (part, start, count) in enumerate(
            zip(self.parts, self._starts, self.counts(batch_size), strict=True)
        ):
            turns = Turns(len(part.images), seed * 1_009 + number)
            columns.append([[start + turns[step * count + n] for n in range(count)] for step in range(first, end)])
        return [[place for column in step for place in column] for step in zip(*columns, strict=True)]


class Turns:
    """An endless sequence of places, in which every place has its turn before any has a second one.

    Args:
        length: How many places there are.
        seed: Of their order, which is another one in every round.
    """

    def __init__(self, length: int, seed: int) -> None:
        self._length, self._seed = length, seed
        self._round, self._order = -1, [0]

    def __getitem__(self, position: int) -> int:
        number, place = divmod(position, self._length)
        if number != self._round:
            generator = torch.Generator().manual_seed((self._seed * 1_000_003 + number) % 2**63)
            self._round, self._order = number, torch.randperm(self._length, generator=generator).tolist()
        return self._order[place]
