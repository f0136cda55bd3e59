"""Batches of the source's own images where there are few of them: BatchNorm never sees one image alone."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from facexfer import create_backbone
from facexfer.engine.knowledge import check_needs
from facexfer.engine.source_batches import SourceBatches
from facexfer.errors import InputError
from facexfer.transfer.methods.soft_ft import soft_ft


class Pictures:
    """Grey pictures of 2 x 2 pixels, each its own class."""

    def __init__(self, count: int) -> None:
        self.labels = list(range(count))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((3, 2, 2), index, dtype=torch.uint8), index

    def set_epoch(self, epoch: int) -> None:
        pass


@pytest.mark.parametrize(("count", "seen"), [(2, (2, 2)), (3, (3, 3)), (4, (2, 2)), (7, (4, 3))])
def test_ranks_share_a_batch_unless_one_would_see_less_than_two(count: int, seen: tuple[int, int]) -> None:
    ranks = [SourceBatches(Pictures(count), 64, seed=0, rank=rank, ranks=2).batch(0)[1] for rank in range(2)]
    assert tuple(len(labels) for labels in ranks) == seen
    assert {int(label) for labels in ranks for label in labels} == set(range(count))


def test_source_images_must_be_of_the_classes_that_the_source_knows_and_more_than_one() -> None:
    source = create_backbone("mobilefacenet_slim")
    source._classifier = (nn.Linear(source.info.embedding_size, 3),)

    def check(count: int) -> None:
        task = cast(Any, SimpleNamespace(source_set=Pictures(count), companions=None, more=()))
        check_needs(soft_ft(), task, source)

    check(3)
    with pytest.raises(InputError, match="of the 3 classes that mobilefacenet_slim was trained on, got labels up to 4"):
        check(5)
    with pytest.raises(InputError, match=r"expected at least two images in \[source_data\], got 1"):
        check(1)
