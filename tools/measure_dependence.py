"""How much do pairs agree that share people? ``python tools/measure_dependence.py NAME=E.npy,L.npy ...``.

Draws parts of each set of embeddings (40 to 300 people, 3 to 10 images of each), measures the intervals by identity,
and prints what `facexfer.eval.design.Dependence` needs to know, and how its expectations compare with the measured
widths.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer

from facexfer.errors import InputError
from facexfer.eval.design import Design
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import operating_points, points_at_thresholds
from facexfer.eval.verification import OperatingPoint

PEOPLE, IMAGES, FARS = (40, 80, 160, 300), (3, 6, 10), (1e-2, 1e-3, 1e-4)
_WIDTH = 2 * 1.96


@dataclass(frozen=True)
class Row:
    """What one part showed at one FAR.

    Attributes:
        far: The target.
        design: The part's size.
        genuine: The correlation of a person's genuine pairs, at a fixed threshold.
        impostor_effect: The design effect of impostor pairs.
        tar_ratio: Expected over measured width of TAR's interval.
        far_ratio: The same of FAR's, in logarithms.
    """

    far: float
    design: Design
    genuine: float
    impostor_effect: float
    tar_ratio: float
    far_ratio: float


def measure(embeddings: np.ndarray, labels: np.ndarray, seed: int) -> list[Row]:
    """Measure parts of a set."""
    generator = np.random.default_rng(seed)
    names, counts = np.unique(labels, return_counts=True)
    rows = []
    for people, images in itertools.product(PEOPLE, IMAGES):
        there = names[counts >= images]
        if len(there) < people:
            continue
        chosen = [
            place
            for name in generator.choice(there, people, replace=False)
            for place in generator.choice(np.flatnonzero(labels == name), images, replace=False)
        ]
        pairs = PairSet.within(embeddings[chosen], labels[chosen])
        rows += [
            _row(Design(people, images), pairs, point)
            for point in operating_points(pairs, FARS)
            if point.supported and (point.false_accepts or 0) >= 10 and 0.02 < (point.tar or 0) < 0.995
        ]
    return rows


def _row(design: Design, pairs: PairSet, point: OperatingPoint) -> Row:
    assert point.tar is not None
    assert point.threshold is not None
    assert point.false_accepts is not None
    assert point.tar_ci95 is not None
    assert point.far_ci95 is not None
    (fixed,) = points_at_thresholds(pairs, [point.threshold])
    assert fixed.tar_ci95 is not None
    low, high = (math.log(min(bound, 1 - 1e-9) / (1 - min(bound, 1 - 1e-9))) for bound in fixed.tar_ci95)
    effect = ((high - low) / _WIDTH) ** 2 * point.tar * (1 - point.tar) * design.genuine_pairs
    pairs_each = design.images * (design.images - 1) / 2
    of_rate = math.log(point.far_ci95[1] / point.far_ci95[0])
    expected = design.far_interval(point.far)
    return Row(
        point.far,
        design,
        (effect - 1) / (pairs_each - 1),
        (of_rate / _WIDTH) ** 2 * point.false_accepts,
        design.tar_width(point.tar, point.far) / (point.tar_ci95[1] - point.tar_ci95[0]),
        math.log(expected[1] / expected[0]) / of_rate,
    )


def main(
    sets: Annotated[list[str], typer.Argument(help="NAME=EMBEDDINGS.npy,LABELS.npy")],
    seed: Annotated[int, typer.Option(help="Of the parts drawn.")] = 0,
) -> None:
    """Print the table of docs/experiments/planning.md."""
    print("| set | FAR | parts | genuine | two people | person | TAR width, expected / measured | FAR width |")
    print("|---|---|---|---|---|---|---|---|")
    for given in sets:
        name, _, files = given.partition("=")
        if files.count(",") != 1:
            raise InputError(f"expected NAME=EMBEDDINGS.npy,LABELS.npy, got '{given}'; name both files")
        embeddings, labels = (np.load(file) for file in files.split(","))
        rows = measure(embeddings, labels, seed)
        for far in FARS:
            some = [row for row in rows if row.far == far]
            if len(some) >= 3:
                print(_line(name, far, some))


def _line(name: str, far: float, rows: list[Row]) -> str:
    from scipy.optimize import nnls

    expected = np.array(
        [[row.design.images**2 - 1, 4 * far * row.design.impostor_pairs / row.design.people] for row in rows]
    )
    effects = np.array([row.impostor_effect for row in rows])
    weights = 1 / np.maximum(effects, 1)
    (two_people, person), _ = nnls(expected * weights[:, None], (effects - 1) * weights)
    genuine = float(np.median([row.genuine for row in rows]))
    ratios = []
    for ratio in ("tar_ratio", "far_ratio"):
        low, middle, high = np.quantile([getattr(row, ratio) for row in rows], (0.1, 0.5, 0.9))
        ratios.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
    known = f"{genuine:.2f} | {two_people:.3f} | {person:.2f}"
    return f"| {name} | {far:g} | {len(rows)} | {known} | {' | '.join(ratios)} |"


if __name__ == "__main__":
    from facexfer.commands.entry import run_command

    run_command(main)
