"""``facexfer verify-bundle``: is a bundle here what it was where it was made?"""

from pathlib import Path
from typing import Annotated

import typer

from facexfer.commands.export import show_latencies, show_row
from facexfer.commands.outputs import show_unchecked


def verify_bundle(
    folder: Annotated[Path, typer.Argument(help="The bundle.")],
    manifest: Annotated[
        Path | None, typer.Option(help="The images it was measured on. Default: those that the bundle's recipe names.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run it was made from, to compare the embeddings as well.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Measure the bundle's file for this runtime, such as openvino:int8.")
    ] = None,
) -> None:
    """Measure a bundle on this machine and compare with the figures in it."""
    from facexfer.deploy import bundle_check

    found = bundle_check.verify_bundle(folder, manifest, run, runtime)
    show_unchecked(folder, found.unchecked)
    if found.row is not None:
        show_row(found.row)
    else:
        typer.echo(show_latencies(found.latencies))
    who = "model.onnx has" if found.is_first else "the bundle says"
    for far, said, now in found.tars:
        typer.echo(f"FAR {far:g}: TAR {100 * now:.2f} %, {who} {100 * said:.2f} %")
    if not found.tars:
        typer.echo("TAR: not compared, the bundle's images support none of its FARs")
    typer.echo(f"{folder}: {f'{runtime} passed its first measurement' if found.is_first else 'as it was measured'}")
