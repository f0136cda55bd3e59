"""What a bundle decides by."""

import numpy as np

from facexfer.deploy.contract import choose_point
from facexfer.eval.scores import all_pairs


def test_no_bundle_decides_by_a_far_at_which_everybody_is_accepted() -> None:
    embeddings = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    everybody, half = all_pairs(embeddings, np.arange(20) // 4, [1.0, 0.5])
    assert choose_point([everybody], None) is None
    assert choose_point([everybody, half], None) == half
