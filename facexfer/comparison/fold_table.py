"""The table of a cross-validation: intervals by identity, and each method against the grid's first."""

from facexfer.comparison.cells import Outcome
from facexfer.comparison.grid import Cell, Grid


def fold_lines(grid: Grid, outcomes: list[Outcome], dataset: str, network: str) -> list[str]:
    """Write the pooled figures of one data set and network as Markdown.

    Args:
        grid: The comparison, with folds.
        outcomes: Of its runs so far.
        dataset: A name of the grid, like the next.
        network: Of the grid.

    Returns:
        Lines; the difference is to the first method that has a row, with the same seed.
    """
    known = {(outcome.cell, outcome.seed): outcome for outcome in outcomes if outcome.pooled}
    there = {cell.method for cell, _ in known if (cell.dataset, cell.network) == (dataset, network)}
    first = next((method for method in grid.methods if method in there), next(iter(grid.methods)))
    lines = [
        "",
        f"Pooled over {grid.folds} folds of the training identities, 95 % CI by identity. The last two columns compare "
        f"each row with {first} on the same pairs.",
        "",
        "| method | seed | figure | TAR | 95 % CI | difference (95 % CI) | p |",
        "|---" * 7 + "|",
    ]
    for method in grid.methods:
        for seed in grid.seeds:
            outcome, base = (known.get((Cell(dataset, network, name), seed)) for name in (method, first))
            if outcome is not None:
                lines += _rows(method, outcome, base if method != first else None)
    return lines


def _rows(method: str, outcome: Outcome, base: Outcome | None) -> list[str]:
    rows = []
    for kind, pairs in enumerate(outcome.pooled):
        differences = pairs.minus(base.pooled[kind]) if base is not None else [None] * len(pairs.points)
        for point, difference in zip(pairs.points, differences, strict=True):
            figure = f"{pairs.name}/tar@{point.far:g}"
            cells = ["-"] * 4
            if point.supported and point.tar is not None and point.tar_ci95 is not None:
                low, high = (100 * bound for bound in point.tar_ci95)
                cells[:2] = [f"{100 * point.tar:.1f}", f"{low:.1f} to {high:.1f}"]
            if difference is not None:
                low, high = (100 * bound for bound in difference.ci95)
                cells[2:] = [
                    f"{100 * difference.difference:+z.1f} ({low:+z.1f} to {high:+z.1f})",
                    f"{difference.p_value:.2g}",
                ]
            rows.append(f"| {method} | {outcome.seed} | {figure} | {' | '.join(cells)} |")
    return rows
