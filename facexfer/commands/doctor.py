"""``facexfer doctor``: is this machine fit?"""

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    folder: Annotated[Path, typer.Option("--out", help="The folder that runs will be written to.")] = Path("runs"),
) -> None:
    """Check packages, GPU, onnxruntime and write access, with a one-line fix for each problem found."""
    from facexfer.deploy.doctor import examine
    from facexfer.errors import RunError

    findings = examine(folder)
    for each in findings:
        typer.echo(f"{'TO DO' if each.cure else 'ok':<6}{each.check}: {each.found}")
        if each.cure:
            typer.echo(f"      fix: {each.cure}")
    wrong = sum(bool(each.cure) for each in findings)
    if wrong:
        raise RunError(f"{wrong} of {len(findings)} checks found something to fix, see above")
