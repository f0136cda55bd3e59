"""Which pairs share a key, against a plain loop over all pairs."""

import numpy as np

from facexfer.eval.pairwise.inputs import pairs_of_one_capture, pairs_that_share


def keys(generator: np.random.Generator, count: int) -> list[int | None]:
    """Draw few keys, so that they meet; 0 is none."""
    return [int(key) or None for key in generator.integers(0, 4, count)]


def test_pairs_that_share_a_key_are_those_of_a_plain_loop() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        rows, columns = generator.integers(0, 9, 2)
        pictures, shots = keys(generator, rows), keys(generator, rows)
        others = keys(generator, columns), keys(generator, columns)

        def share(i: int, j: int, mine=(pictures, shots), of_others=others) -> bool:
            return any(one[i] is not None and one[i] == other[j] for one, other in zip(mine, of_others, strict=True))

        expected = [[i, j] for i in range(rows) for j in range(columns) if share(i, j)]
        assert pairs_that_share([pictures, shots], list(others)).tolist() == expected
        within = [[i, j] for i in range(rows) for j in range(i + 1, rows) if share(i, j, of_others=(pictures, shots))]
        assert pairs_that_share([pictures, shots]).tolist() == within
        of_one = [[i, j] for i in range(rows) for j in range(columns) if pictures[i] and pictures[i] == others[0][j]]
        assert sorted(pairs_of_one_capture(pictures, others[0]).tolist()) == of_one
