"""Figure 4: accuracy against the number of training images per class."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from facexfer.errors import InputError
from facexfer.eval.report.plots import make_axes
from facexfer.files.rows import read_rows
from facexfer.recipe import read_recipe
from facexfer.runs.folder import RunFolder


def samples_per_class(comparison: Path, figure: str = "top1") -> Figure:
    """Draw a figure over the training images per class, one line per method, with the deviation over seeds.

    Args:
        comparison: The folder of a comparison whose cells differ in ``data.images_per_class``, such as the grid
            ``figure4``.
        figure: Which of the runs' figures.

    Returns:
        The figure.

    Raises:
        InputError: If it is no comparison, or no finished run says how many images per class it was trained on.
    """
    made, axes = make_axes("training pictures per class", f"{figure}, %")
    for method, values in read_samples(comparison, figure).items():
        counts = sorted(values)
        means = [100 * float(np.mean(values[count])) for count in counts]
        spreads = [100 * float(np.std(values[count], ddof=1)) if len(values[count]) > 1 else 0.0 for count in counts]
        axes.errorbar(counts, means, yerr=spreads, marker="o", markersize=3, capsize=2, linewidth=1.3, label=method)
    axes.legend(frameon=False, fontsize=8)
    return made


def read_samples(comparison: Path, figure: str) -> dict[str, dict[int, list[float]]]:
    """Collect a comparison's figures by method and by training images per class.

    Args:
        comparison: Its folder.
        figure: Which figure.

    Returns:
        Method (with the network, where there are several) -> images per class -> one value per seed.

    Raises:
        InputError: As for `samples_per_class`.
    """
    table = comparison / "table.csv"
    if not table.is_file():
        raise InputError(
            f"{comparison}: expected the folder of a comparison with {table.name}, found none; run it first"
        )
    rows = [row for _, row, _ in read_rows(table, ("run", "network", "method"), "table")]
    networks = {row["network"] for row in rows}
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for folder in dict.fromkeys(row["run"] for row in rows):
        run = RunFolder(comparison / folder)
        if not run.finished:
            continue
        count = read_recipe(run.recipe_file).data.images_per_class
        value = run.read_result()["figures"].get(figure)
        if count is not None and value is not None:
            row = next(row for row in rows if row["run"] == folder)
            name = row["method"] if len(networks) == 1 else f"{row['method']}, {row['network']}"
            values[name][count].append(value)
    if not values:
        raise InputError(
            f"{comparison}: expected finished runs with data.images_per_class and the figure {figure}, found none; "
            "the grid figure4 has them"
        )
    return {name: dict(of_count) for name, of_count in values.items()}
