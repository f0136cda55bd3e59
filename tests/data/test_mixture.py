from collections import Counter

import torch

from facexfer.data.companions import Pictures
from facexfer.data.mixture import Drawn, Mixture, Part, number_turns


class Numbers:
    def __init__(self, count, label) -> None:
        self.labels = (label,) * count
        self.epoch = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index):
        return self.draw(index)[:2]

    def draw(self, index, turn=0):
        return torch.full((3, 1, 1), 10 * turn + index, dtype=torch.uint8), self.labels[index], index % 2 == 1

    def set_epoch(self, epoch) -> None:
        self.epoch = epoch


def mixture():
    return Mixture(
        [
            Part("training", Numbers(5, 7), 0.5, True),
            Part("pool", Numbers(3, 9), 0.5, False, pictures=Pictures(Numbers(3, 9), "f")),
        ]
    )


def test_an_image_comes_with_its_label_and_its_place() -> None:
    images = mixture()
    assert len(images) == 8
    assert [images[Drawn(place)][1:] for place in (0, 4, 5, 7)] == [
        (7, 0, False),
        (7, 4, False),
        (-1, 5, False),
        (-1, 7, False),
    ]
    assert images[Drawn(6)][0][0, 0, 0].item() == 1
    assert images[Drawn(6, turn=2)][0][0, 0, 0].item() == 21
    assert list(images.labels) == [7] * 5 + [-1] * 3


def test_every_batch_has_each_part_and_nobody_has_two_turns_before_everybody_has_one() -> None:
    batches = mixture().batches(4, 0, 15, seed=1)
    assert all(sum(place < 5 for place in batch) == 2 for batch in batches)
    # 15 steps of two images: six rounds of the five training images, ten of the pool's three.
    seen = Counter(place for batch in batches for place in batch)
    assert {seen[place] for place in range(5)} == {6}
    assert {seen[place] for place in range(5, 8)} == {10}


def test_the_same_step_has_the_same_batch_wherever_one_starts() -> None:
    images = mixture()
    whole = images.batches(4, 0, 9, seed=3)
    assert images.batches(4, 4, 9, seed=3) == whole[4:]
    assert images.batches(4, 0, 9, seed=4) != whole


def test_turns_are_numbered_over_the_whole_epoch() -> None:
    batches = mixture().batches(4, 0, 6, seed=1)
    numbered = number_turns(batches)
    assert [[drawn.place for drawn in batch] for batch in numbered] == batches
    turns = [drawn.turn for batch in numbered for drawn in batch if drawn.place == 5]
    assert turns == list(range(4))


def test_a_new_epoch_reaches_every_part() -> None:
    images = mixture()
    images.set_epoch(2)
    assert [part.images.epoch for part in images.parts] == [2, 2]
