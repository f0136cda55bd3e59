"""Run the GPU's look at blocks on a CPU, by Triton's interpreter; TRITON_INTERPRET must be set before the start."""

import numpy as np

from facexfer.eval.pairwise import between_on_gpu, cuts, pairs
from facexfer.eval.scores import all_pairs, gallery_probe_pairs

FARS = [0.5, 0.1, 0.01, 0.001]


def measure():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 8, 44)
    embeddings = (generator.normal(size=(8, 16))[labels] + generator.normal(size=(44, 16))).astype(np.float32)
    captures = np.array([f"c{index % 15}" for index in range(22)], dtype=object)
    cross = (embeddings[:22], labels[:22], embeddings[22:], labels[22:], FARS, captures, captures)
    return (
        all_pairs(embeddings, labels, FARS),
        all_pairs(np.sign(embeddings), labels, FARS),
        gallery_probe_pairs(*cross),
    )


def main() -> None:
    between_on_gpu.COLUMNS = 32
    pairs.BLOCK = 30
    usable = between_on_gpu.is_usable
    for cuts.KEPT in (4_000_000, 50):
        cuts.LEAST_ROOM = 64
        between_on_gpu.is_usable = usable
        expected = measure()
        between_on_gpu.is_usable = lambda device: True
        assert measure() == expected
    print("equal")


if __name__ == "__main__":
    main()
