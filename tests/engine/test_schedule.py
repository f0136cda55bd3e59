"""Which images a step sees."""

import pytest

from facexfer.engine.schedule import balanced_batches
from facexfer.errors import InputError


def test_balanced_batches_hold_as_many_images_of_each_identity() -> None:
    labels = [0] * 50 + [1] * 3 + [2] * 20 + [3] * 7
    batches = balanced_batches(labels, 2, 8, seed=1, epoch=0)
    assert len(batches) == 80 // 8
    for batch in batches:
        chosen = [labels[index] for index in batch]
        assert sorted(chosen.count(label) for label in set(chosen)) == [4, 4]
    assert {labels[index] for batch in batches for index in batch} == {0, 1, 2, 3}
    assert batches == balanced_batches(labels, 2, 8, seed=1, epoch=0)
    assert batches != balanced_batches(labels, 2, 8, seed=1, epoch=1)
    with pytest.raises(InputError, match="at least 5 training identities, got 4"):
        balanced_batches(labels, 5, 10, seed=1, epoch=0)
