"""``facexfer figures``: the paper's figures from run folders, as PNG and SVG."""

from pathlib import Path
from typing import Annotated

import typer

figures = typer.Typer(no_args_is_help=True, help="Draw the paper's figures from run folders, as PNG and SVG.")

_Runs = Annotated[list[Path], typer.Argument(help="Run folders.")]
_Names = Annotated[
    list[str] | None,
    typer.Option("--name", help="A name for each run, in their order. Default: their folders' names."),
]
_Out = Annotated[Path, typer.Option(help="The folder to write into.")]
_Pictures = Annotated[int, typer.Option(help="How many test pictures to show.", min=1)]


@figures.command(
    "activation-maps", epilog="Example: facexfer figures activation-maps runs/l2 runs/afa --channel 5 --out figures"
)
def activation_maps(
    runs: _Runs,
    out: _Out,
    channel: Annotated[int, typer.Option(help="The channel, counted from 0.", min=0)] = 0,
    layer: Annotated[str | None, typer.Option(help="The layer's name. Default: the last tapped layer.")] = None,
    pictures: _Pictures = 4,
    names: _Names = None,
) -> None:
    """Figure 2: one channel's maps over test images, by the source and by each run."""
    from facexfer.reports.activation_maps import activation_maps
    from facexfer.reports.saving import save_figure

    _tell(*save_figure(activation_maps(_by_name(runs, names), channel, layer, pictures), out, "activation-maps"))


@figures.command("loss-curves", epilog="Example: facexfer figures loss-curves runs/dfa runs/afa --out figures")
def loss_curves(runs: _Runs, out: _Out, names: _Names = None) -> None:
    """Figures 3 and 5: cross-entropy and total loss in training and testing."""
    from facexfer.reports.loss_curves import loss_curves
    from facexfer.reports.saving import save_figure

    _tell(*save_figure(loss_curves(_by_name(runs, names)), out, "loss-curves"))


@figures.command(
    "samples-per-class", epilog="Example: facexfer figures samples-per-class comparisons/figure4 --out figures"
)
def samples_per_class(
    comparison: Annotated[Path, typer.Argument(help="The folder of a comparison, such as that of the grid figure4.")],
    out: _Out,
    figure: Annotated[str, typer.Option(help="The figure to plot.")] = "top1",
) -> None:
    """Figure 4: accuracy against training images per class."""
    from facexfer.reports.samples_per_class import samples_per_class
    from facexfer.reports.saving import save_figure

    _tell(*save_figure(samples_per_class(comparison, figure), out, "samples-per-class"))


@figures.command("attention", epilog="Example: facexfer figures attention runs/afa --out figures")
def attention(
    run: Annotated[Path, typer.Argument(help="A run of the method afa.")], out: _Out, pictures: _Pictures = 4
) -> None:
    """Where SAM looks and which channels CAM weighs, over test images."""
    from facexfer.reports.attention import attention_figures
    from facexfer.reports.saving import save_figure

    drawn, told = attention_figures(run, pictures)
    typer.echo("\n".join(told))
    for name, figure in drawn.items():
        _tell(*save_figure(figure, out, name))


def _by_name(runs: list[Path], names: list[str] | None) -> dict[str, Path]:
    from facexfer.errors import InputError

    chosen = [_folder_name(run) for run in runs] if names is None else names
    if len(chosen) != len(runs) or len(set(chosen)) != len(runs):
        raise InputError(
            f"expected {len(runs)} different names for {len(runs)} runs, got {', '.join(chosen)}; give --name for each"
        )
    return dict(zip(chosen, runs, strict=True))


def _folder_name(run: Path) -> str:
    """The method's folder for a run in a comparison (``METHOD/seed0``), else the run's own."""
    return run.resolve().parent.name if run.name.startswith("seed") else run.resolve().name


def _tell(*files: Path) -> None:
    for file in files:
        typer.echo(file)
