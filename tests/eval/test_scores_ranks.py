"""Ranks of a distributed run share the work and agree bit for bit."""

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn

from facexfer.eval.pairwise import cuts, pairs
from facexfer.eval.scores import all_pairs, gallery_probe_pairs, points_at_thresholds

FARS = [0.2, 0.01, 1e-3, 1e-4]


def measure():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 40, 500)
    embeddings = (generator.normal(size=(40, 16))[labels] + generator.normal(size=(500, 16))).astype(np.float32)
    # Scores of sign vectors tie.
    signs = np.sign(embeddings)
    captures = np.array([f"c{index % 100}" for index in range(250)], dtype=object)
    cross = (embeddings[:250], labels[:250], embeddings[250:], labels[250:], FARS, captures, captures)
    return (
        all_pairs(embeddings, labels, FARS),
        all_pairs(signs, labels, FARS),
        gallery_probe_pairs(*cross),
        points_at_thresholds(pairs.PairSet.within(embeddings, labels), [0.1, 0.6]),
    )


def work(rank, ranks, folder: Path) -> None:
    torch.set_num_threads(1)
    pairs.BLOCK = 64
    # NCCL's sum, which a run on several GPUs would take, knows no tensors of the host.
    distributed.all_reduce = None
    if ranks:
        distributed.init_process_group("gloo", f"file://{folder}/meet{ranks}", rank=rank, world_size=ranks)
    for cuts.KEPT in (4_000_000, 500):
        (folder / f"{cuts.KEPT}-{ranks}-{rank}").write_bytes(pickle.dumps(measure()))
    if ranks:
        distributed.destroy_process_group()


def test_the_same_on_any_number_of_ranks(tmp_path: Path) -> None:
    for ranks in (0, 1, 2, 3):
        spawn(work, (ranks, tmp_path), nprocs=max(ranks, 1))
    for kept in (4_000_000, 500):
        results = [pickle.loads(file.read_bytes()) for file in sorted(tmp_path.glob(f"{kept}-*"))]
        assert len(results) == 7
        assert all(result == results[0] for result in results)
