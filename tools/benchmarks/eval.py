"""The evaluation's bars: ``python tools/bench.py eval [--largest 100000]``.

Exact TAR at FAR over all pairs against the bare matrix product; time and memory as the pairs grow; and 10 million
scores against scikit-learn's roc_curve and a full sort. Every figure comes from a process of its own, the ratios from
one run.
"""

import argparse
import sys

import numpy as np
import torch
from measuring import in_child, report

FARS = (1e-3, 1e-4, 1e-5, 1e-6)
SCORES = 10_000_000


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.py eval", description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=100_000, help="the largest set, in images")
    largest = parser.parse_args(arguments).largest
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, FARs {FARS}")
    # By turns, so that whatever else the machine does meets both.
    rounds = [[in_child(__file__, case, 10_000, 512) for case in ("product", "exact")] for _ in range(2)]
    bare, exact = (best([each[side] for each in rounds]) for side in (0, 1))
    print(f"10,000 x 512, bare float32 product  {bare['seconds']:7.2f} s, {bare['cpu_seconds']:.2f} s of processors")
    print(
        f"10,000 x 512, exact, all pairs      {exact['seconds']:7.2f} s, {exact['cpu_seconds']:.2f} s of processors = "
        f"{exact['seconds'] / bare['seconds']:.2f} x, {exact['cpu_seconds'] / bare['cpu_seconds']:.2f} x of processors "
        f"(bar 2.00), {exact['megabytes']:.0f} MB above the embeddings (bar 300)"
    )
    sizes = [size for size in (20_000, 50_000, 100_000, largest) if size <= largest]
    for size in sorted(set(sizes)):
        row = in_child(__file__, "exact", size, 128)
        pairs = size * (size - 1) / 2
        print(
            f"{size:,} x 128: {pairs / 1e6:,.0f} M pairs, {row['seconds']:.1f} s = {row['seconds'] / pairs * 1e9:.2f} "
            f"s a billion, {row['cpu_seconds'] / pairs * 1e9:.2f} s of processors a billion, {row['megabytes']:.0f} MB "
            "above the embeddings (bar 1000)"
        )
    row = in_child(__file__, "everyday", 20_000, 128)
    print(f"20,000 x 128, FARs 0.5, 0.1, 0.01: {row['seconds']:.1f} s, {row['megabytes']:.0f} MB above the embeddings")
    for way in ("ours", "sort", "sklearn"):
        row = best([in_child(__file__, way, SCORES, 0) for _ in range(2)])
        print(
            f"{SCORES:,} scores, {way:8} {row['seconds']:6.2f} s, {row['cpu_seconds']:.2f} s of processors, "
            f"{row['megabytes']:5.0f} MB above the scores"
        )
    check_equal()


def best(runs: list[dict[str, float]]) -> dict[str, float]:
    """The fastest of several runs, and the most memory that any of them took."""
    return {key: (max if key == "megabytes" else min)(run[key] for run in runs) for key in runs[0]}


def embeddings_of(images: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw ten images of each person around a centre of their own."""
    generator = np.random.default_rng(0)
    labels = np.arange(images) // 10
    centres = generator.standard_normal((images // 10 + 1, dimension), dtype=np.float32)
    drawn = generator.standard_normal((images, dimension), dtype=np.float32)
    drawn += centres[labels]
    return drawn, labels


def scores_of(count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    genuine = 0.45 + 0.15 * generator.standard_normal(count // 10, dtype=np.float32)
    return genuine, 0.1 * generator.standard_normal(count - count // 10, dtype=np.float32)


def tar_by_ours(genuine: np.ndarray, impostor: np.ndarray) -> list[float]:
    from facexfer.eval.verification import tar_at_far

    return [float(point.tar or 0) for point in tar_at_far(genuine, impostor, FARS)]


def tar_by_sort(genuine: np.ndarray, impostor: np.ndarray) -> list[float]:
    ordered = np.sort(impostor)[::-1]
    return [float((genuine > ordered[int(far * len(ordered) + 1e-9)]).mean()) for far in FARS]


def tar_by_sklearn(genuine: np.ndarray, impostor: np.ndarray) -> list[float]:
    from sklearn.metrics import roc_curve

    truth = np.concatenate([np.ones(len(genuine), dtype=bool), np.zeros(len(impostor), dtype=bool)])
    rates, hits, _ = roc_curve(truth, np.concatenate([genuine, impostor]), drop_intermediate=False)
    return [float(hits[np.searchsorted(rates, far + 1e-12, side="right") - 1]) for far in FARS]


def check_equal() -> None:
    genuine, impostor = scores_of(SCORES)
    results = [way(genuine, impostor) for way in (tar_by_ours, tar_by_sort, tar_by_sklearn)]
    # A pair at the threshold itself is a reject with us; scikit-learn's thresholds lie on genuine scores too.
    print("TAR of the three ways:", *(", ".join(f"{tar:.6f}" for tar in row) for row in results), sep="\n  ")


def child(case: str, size: int, dimension: int) -> None:
    if case in ("product", "exact", "everyday"):
        embeddings, labels = embeddings_of(size, dimension)
        tensor = torch.from_numpy(embeddings)
        if case == "product":
            report(lambda: tensor @ tensor.T, times=3)
            return
        from facexfer.eval.scores import all_pairs

        fars = FARS if case == "exact" else (0.5, 0.1, 0.01)
        all_pairs(embeddings[:200], labels[:200], FARS[:1])
        report(lambda: all_pairs(embeddings, labels, fars), times=3 if size <= 10_000 else 1)
        return
    import sklearn.metrics  # noqa: F401  # its import is not what is measured

    way = {"ours": tar_by_ours, "sort": tar_by_sort, "sklearn": tar_by_sklearn}[case]
    way(*scores_of(1000_000))
    scores = scores_of(size)
    report(lambda: way(*scores))


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
