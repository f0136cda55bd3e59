"""The ``facexfer`` command: every subcommand is one function of ``facexfer.commands``."""

from collections.abc import Callable

import typer

from facexfer.commands.advise import advise
from facexfer.commands.compare import compare
from facexfer.commands.delta_weights import delta_weights
from facexfer.commands.demo import demo
from facexfer.commands.doctor import doctor
from facexfer.commands.entry import run_app, telling_of_interrupts
from facexfer.commands.evaluate import evaluate
from facexfer.commands.export import export
from facexfer.commands.figures import figures
from facexfer.commands.inspect import inspect
from facexfer.commands.match import match
from facexfer.commands.merge import merge
from facexfer.commands.monitor import monitor
from facexfer.commands.plan import plan
from facexfer.commands.prepare import prepare
from facexfer.commands.runs import runs
from facexfer.commands.simulate_nir import simulate_nir
from facexfer.commands.split import split
from facexfer.commands.train import train
from facexfer.commands.verify_bundle import verify_bundle

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Adapt a face network from visible light to near infrared, and ship exactly what you measured.\n\n"
    "The usual order: prepare, train, evaluate, export. To see it all once without any data: facexfer demo.",
)
# Panel of the help -> its commands, in the usual order, each with an example where its options are many.
_PANELS: dict[str, dict[Callable[..., None], str | None]] = {
    "Data": {
        plan: "plan --identities 80 --images 6 --far 1e-5 --tar 95 --width 2",
        prepare: "prepare nir-photos --layout folders --detector buffalo_sc --modality nir "
        "--protocol identity-disjoint --out nir",
        simulate_nir: "simulate-nir vis --strength mild --out both",
        split: "split nir/images.csv --protocol identity-disjoint --draws 5 --out draws",
        merge: "merge nir/images.csv vis/images.csv --out both.csv",
        advise: "advise nir/images.csv --visible-manifest vis/images.csv --source buffalo_sc --out recipe.toml",
    },
    "Train": {
        train: "train nir-csd --set data.manifest=nir/images.csv companions.manifest=vis/images.csv --out runs/mine",
        compare: "compare grid.toml --out comparisons/mine --jobs 2",
        delta_weights: "delta-weights recipe.toml --out runs/delta",
    },
    "Measure": {
        evaluate: "evaluate --model runs/mine --manifest nir/images.csv --split val --probe nir --far 1e-2 1e-3 "
        "--report report",
    },
    "Ship": {
        export: "export runs/mine --out bundle --precision fp32 int8",
        verify_bundle: "verify-bundle bundle --run runs/mine",
        match: "match first.jpg second.jpg --bundle bundle --detector yunet.onnx",
        monitor: "monitor scores.csv --bundle bundle --report page",
    },
    "Look around": {demo: None, inspect: None, runs: None, doctor: None},
}
for _panel, _commands in _PANELS.items():
    for _command, _example in _commands.items():
        _epilog = None if _example is None else f"Example: facexfer {_example}"
        app.command(rich_help_panel=_panel, epilog=_epilog)(telling_of_interrupts(_command))
app.add_typer(figures, name="figures", rich_help_panel="Measure")


def main() -> None:
    """Run the command line."""
    run_app(app)
