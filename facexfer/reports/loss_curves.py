"""Figures 3 and 5: cross-entropy and total loss in training and testing, over the steps of some runs."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facexfer.errors import InputError
from facexfer.eval.report.plots import make_axes, to_svg
from facexfer.runs.folder import RunFolder
from facexfer.transfer.objective import CLASSIFICATION

Points = list[tuple[int, float]]


def loss_curves(runs: Mapping[str, Path]) -> Figure:
    """Draw two panels, the cross-entropy and the whole objective; training solid, testing dashed, one colour per run.

    The objective is the cross-entropy with the weighted terms of the method; weight decay, which the optimizer applies,
    is in neither. Training values are means over the last logged steps in train mode on augmented images, testing
    values means over the test images in eval mode. They are there for runs with ``evaluation.test_loss``; without,
    image runs have the cross-entropy alone.

    Args:
        runs: Run folders by the name that the legend gives them; they may be unfinished.

    Returns:
        The figure.

    Raises:
        InputError: If a run has no losses.
    """
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for number, (name, run) in enumerate(runs.items()):
        training, testing = read_curves(run)
        for axes, part in zip(panels, (CLASSIFICATION, _TOTAL), strict=True):
            _draw(axes, training[part], name, f"C{number}-")
            _draw(axes, testing[part], f"{name}, test", f"C{number}o--")
    for axes, title in zip(panels, ("cross-entropy", "total loss"), strict=True):
        axes.set_xlabel("step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(title, fontsize=10)
        axes.grid(True, color="#e4e4e4", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[1].legend(frameon=False, fontsize=8)
    return figure


def loss_parts(runs: Mapping[str, Path]) -> str:
    """Draw the parts of the objective in training over the steps of some runs.

    Args:
        runs: Run folders by the name that the legend gives them.

    Returns:
        SVG text.
    """
    figure, axes = make_axes("step", "loss")
    for name, run in runs.items():
        records = [record for record in RunFolder(run).metrics() if "losses" in record]
        for part in dict.fromkeys(part for record in records for part in record["losses"]):
            points = [(record["step"], record["losses"][part]) for record in records if part in record["losses"]]
            _draw(axes, points, f"{name}: {part}")
    axes.legend(frameon=False)
    return to_svg(figure)


_TOTAL = "total"


def read_curves(run: Path) -> tuple[dict[str, Points], dict[str, Points]]:
    """Read a run's losses.

    Args:
        run: A run folder.

    Returns:
        Training and testing: ``classification`` and ``total`` -> (step, loss), in the order of the steps; no point of
        the first where the method reads no label.

    Raises:
        InputError: If the run has no such records.
    """
    records = RunFolder(run).metrics()
    training = _curves((record["step"], record["losses"]) for record in records if "losses" in record)
    testing = _curves((record["step"], record["test_losses"]) for record in records if "test_losses" in record)
    if not training[_TOTAL]:
        raise InputError(f"{run}: expected a run with losses in its metrics, found none; check the path")
    if not testing[CLASSIFICATION]:
        name = f"test/{CLASSIFICATION}"
        testing[CLASSIFICATION] = [
            (record["step"], record["figures"][name]) for record in records if name in record.get("figures", ())
        ]
    return training, testing


def _curves(records: Iterator[tuple[int, dict[str, float]]]) -> dict[str, Points]:
    curves: dict[str, Points] = {CLASSIFICATION: [], _TOTAL: []}
    for step, losses in records:
        if CLASSIFICATION in losses:  # A method may read no label.
            curves[CLASSIFICATION].append((step, losses[CLASSIFICATION]))
        curves[_TOTAL].append((step, sum(losses.values())))
    return curves


def _draw(axes: Axes, points: Points, label: str, style: str = "") -> None:
    if points:
        axes.plot(*zip(*points, strict=True), style, linewidth=1.4, markersize=3, label=label)
        axes.set_yscale("log")
