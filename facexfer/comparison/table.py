"""The outcome of a comparison: mean and deviation over seeds next to the paper's, as Markdown, CSV and a plot."""

import contextlib
import csv
import io
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from facexfer.comparison.cells import Outcome
from facexfer.comparison.fold_table import fold_lines
from facexfer.comparison.grid import Cell, Grid, cells_of, left_out
from facexfer.eval.classification import is_loss
from facexfer.files.atomic import write_text

_LEVEL = 1e-9
"""Methods whose means differ by less, as rounding makes them, are level."""


@dataclass(frozen=True)
class Summary:
    """One figure of one cell over its seeds.

    Attributes:
        values: Of the seeds that have it, as fractions, by seed.
        paper: As the paper prints it, in percent; empty if it does not.
        is_loss: It is no fraction.
    """

    values: dict[int, float]
    paper: str
    is_loss: bool = False

    @property
    def mean(self) -> float | None:
        """Over the seeds; None without any."""
        return float(np.mean(list(self.values.values()))) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation over the seeds (n - 1); None with fewer than two."""
        return float(np.std(list(self.values.values()), ddof=1)) if len(self.values) > 1 else None

    @property
    def text(self) -> str:
        """``mean ± deviation`` in percent, of a loss as they are."""
        if self.mean is None:
            return "-"
        parts = (self.mean,) if self.deviation is None else (self.mean, self.deviation)
        return " ± ".join(f"{part:.2f}" if self.is_loss else f"{100 * part:.1f}" for part in parts)


def summarise(grid: Grid, outcomes: list[Outcome], cell: Cell, figure: str) -> Summary:
    """Collect one figure of a cell."""
    values = {
        outcome.seed: float(outcome.result["figures"][figure])
        for outcome in outcomes
        if outcome.cell == cell and outcome.result is not None and outcome.result["figures"].get(figure) is not None
    }
    paper = grid.paper.get(cell.key)
    return Summary(values, paper[grid.figures.index(figure)] if paper else "", is_loss(figure))


def paired_test(first: dict[int, float], second: dict[int, float]) -> tuple[float, float, int]:
    """Compare two methods over the seeds that both have (paired t-test, two-sided).

    Args:
        first: Seed -> figure.
        second: Likewise.

    Returns:
        The mean difference, p (NaN with fewer than two seeds, or where all differences are equal), and the seeds.

    Example:
        >>> difference, p, seeds = paired_test({0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.4, 1: 0.5, 2: 0.5})
        >>> round(difference, 3), round(p, 3), seeds
        (0.133, 0.057, 3)
    """
    seeds = sorted(first.keys() & second.keys())
    differences = np.array([first[seed] - second[seed] for seed in seeds])
    if len(seeds) < 2 or np.ptp(differences) < _LEVEL:
        return float(differences.mean()) if seeds else float("nan"), float("nan"), len(seeds)
    return float(differences.mean()), float(stats.ttest_1samp(differences, 0).pvalue), len(seeds)


def write_tables(grid: Grid, outcomes: list[Outcome], out: Path) -> None:
    """Write ``table.md`` and ``table.csv`` into a comparison's folder.

    Args:
        grid: The comparison.
        outcomes: Of its runs so far.
        out: The folder.
    """
    write_text(out / "table.md", markdown(grid, outcomes, out))
    write_text(out / "table.csv", _csv(grid, outcomes, out))


def markdown(grid: Grid, outcomes: list[Outcome], out: Path) -> str:
    """Write the tables, the paired tests, what was chosen and what failed."""
    named = ", ".join(map(str, grid.seeds))
    over = f"mean ± standard deviation over seeds {named}" if len(grid.seeds) > 1 else f"seed {named}"
    lines = [f"# {grid.title}", "", f"Percent, {'losses as they are, ' * any(map(is_loss, grid.figures))}{over}."]
    runs = len(list(cells_of(grid))) * len(grid.seeds)
    if len(outcomes) < runs:
        lines += ["", f"**Not finished: {len(outcomes)} of {runs} runs so far.**"]
    for dataset in grid.datasets:
        for network in grid.networks:
            lines += ["", f"## {' / '.join(part for part in (dataset, network) if part) or 'All'}", ""]
            lines += _block(grid, outcomes, out, dataset, network)
            if grid.folds is not None:
                lines += fold_lines(grid, outcomes, dataset, network)
    failed = [outcome for outcome in outcomes if outcome.failure]
    if failed:
        lines += ["", "## Failed", ""]
        lines += [f"* {each.cell.key}, seed {each.seed}: {each.failure}" for each in failed]
    return "\n".join(lines) + "\n"


def _block(grid: Grid, outcomes: list[Outcome], out: Path, dataset: str, network: str) -> list[str]:
    with_paper = any(Cell(dataset, network, method).key in grid.paper for method in grid.methods)
    columns = [name for figure in grid.figures for name in ((figure, "paper") if with_paper else (figure,))]
    lines = [f"| method | {' | '.join(columns)} | alpha | runs |", "|---" * (len(columns) + 3) + "|"]
    deciding = grid.deciding_figure(dataset)
    values: dict[str, dict[int, float]] = {}
    for method in grid.methods:
        cell = Cell(dataset, network, method)
        row = [method]
        for figure in grid.figures:
            summary = summarise(grid, outcomes, cell, figure)
            row += [summary.text, summary.paper or "-"] if with_paper else [summary.text]
        ours = [outcome for outcome in outcomes if outcome.cell == cell]
        values[method] = summarise(grid, outcomes, cell, deciding).values
        alphas = sorted({f"{outcome.alpha:g}" for outcome in ours if outcome.alpha is not None})
        links = [f"{each.seed} failed" if each.failure else f"[{each.seed}]({_link(each, out)})" for each in ours]
        row += [", ".join(alphas) or "-", left_out(grid, cell) or ", ".join(links)]
        lines.append("| " + " | ".join(row) + " |")
    return lines + _best_two(deciding, {method: of for method, of in values.items() if of})


def _best_two(deciding: str, values: dict[str, dict[int, float]]) -> list[str]:
    """Name the two methods with the highest means, the better one over the seeds that both have first."""
    if len(values) < 2:
        return []
    first, second = sorted(values, key=lambda method: -float(np.mean(list(values[method].values()))))[:2]
    if values[first].keys().isdisjoint(values[second]):
        return ["", f"Best two in {deciding}: {first} and {second}, which have no seed in common (no test)."]
    difference, p, seeds = paired_test(values[first], values[second])
    if difference < -_LEVEL:
        first, second = second, first
    is_level = abs(difference) < _LEVEL
    apart = f"and {second}, level" if is_level else f"before {second} by {100 * abs(difference):.2f} points"
    told = f"paired t-test over {seeds} seeds: p = {p:.2g}"
    if np.isnan(p):
        told = "too few seeds for a test" if seeds < 2 else f"no test: equal differences over {seeds} seeds"
    if values[first].keys() != values[second].keys():
        common = ", ".join(map(str, sorted(values[first].keys() & values[second].keys())))
        told = f"over the seeds that both have: {common}; {told}"
    return ["", f"Best two in {deciding}: {first} {apart} ({told})."]


def _link(outcome: Outcome, out: Path) -> str:
    # A blank or a bracket would end it.
    return quote(outcome.folder.relative_to(out).as_posix())


def _csv(grid: Grid, outcomes: list[Outcome], out: Path) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "network", "method", "figure", "seed", "value", "alpha", "paper", "run", "failure"])
    for outcome in outcomes:
        for index, figure in enumerate(grid.figures):
            value = outcome.result["figures"].get(figure) if outcome.result else None
            paper = grid.paper.get(outcome.cell.key)
            writer.writerow([
                outcome.cell.dataset, outcome.cell.network, outcome.cell.method, figure, outcome.seed,
                "" if value is None else value, "" if outcome.alpha is None else outcome.alpha,
                paper[index] if paper else "", outcome.folder.relative_to(out).as_posix(), outcome.failure,
            ])  # fmt: skip
    return text.getvalue()


def draw_table(grid: Grid, outcomes: list[Outcome]) -> Figure:
    """Draw the deciding figure of every cell, which takes a second or two.

    Args:
        grid: The comparison.
        outcomes: Of its runs so far.

    Returns:
        The picture.
    """
    figure = Figure(figsize=(8, 0.28 * len(list(cells_of(grid))) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    labels = []
    for row, cell in enumerate(cells_of(grid)):
        summary = summarise(grid, outcomes, cell, grid.deciding_figure(cell.dataset))
        labels.append(cell.key)
        if summary.mean is not None:
            spread = 100 * summary.deviation if summary.deviation is not None else None
            axes.errorbar(100 * summary.mean, row, xerr=spread, fmt="o", color="C0", capsize=3)
        # What is no number, such as "-", is shown in the table alone.
        with contextlib.suppress(ValueError):
            axes.plot(float(summary.paper.split("±")[0].strip().removesuffix("%")), row, "x", color="C1")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    shown = " or ".join(dict.fromkeys(map(grid.deciding_figure, grid.datasets)))
    axes.set_xlabel(f"{shown}, %: measured with deviation over seeds (dot), the paper's (cross)")
    axes.set_title(grid.title)
    return figure
