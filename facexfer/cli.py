"""The ``facexfer`` command: every subcommand is one function of ``facexfer.commands``."""

import typer

from facexfer.commands.compare import compare
from facexfer.commands.delta_weights import delta_weights
from facexfer.commands.demo import demo
from facexfer.commands.doctor import doctor
from facexfer.commands.entry import run_app
from facexfer.commands.evaluate import evaluate
from facexfer.commands.export import export
from facexfer.commands.figures import figures
from facexfer.commands.inspect import inspect
from facexfer.commands.match import match
from facexfer.commands.prepare import prepare
from facexfer.commands.runs import runs
from facexfer.commands.split import split
from facexfer.commands.train import train
from facexfer.commands.verify_bundle import verify_bundle

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Take a face network from visible light to near infrared, and prove that what ships is what was measured.",
)
for _command in (
    demo,
    prepare,
    split,
    train,
    evaluate,
    export,
    inspect,
    compare,
    delta_weights,
    verify_bundle,
    match,
    runs,
    doctor,
):
    app.command()(_command)
app.add_typer(figures, name="figures")


def main() -> None:
    """Run the command line."""
    run_app(app)
