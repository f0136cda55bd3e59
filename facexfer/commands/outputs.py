"""Where a command is to write, checked before its work, and what it says of files that it could not check."""

from collections.abc import Sequence
from pathlib import Path

import typer

from facexfer.errors import InputError
from facexfer.files.folders import check_not_read, check_place_of
from facexfer.files.links import real_path

_REPORT = "report.html", "report.json"


def show_unchecked(bundle: Path, names: Sequence[str]) -> None:
    """Say on the error output which files of a bundle nothing tells from others.

    Args:
        bundle: The folder.
        names: Of the files whose hash it does not record; none prints nothing.
    """
    if names:
        typer.echo(
            f"not checked: {', '.join(names)} of {bundle}, whose SHA-256 the bundle does not record; export again to "
            "have them checked",
            err=True,
        )


def check_outputs(
    json_file: Path | None, report: Path | None, inputs: Sequence[Path | None] = (), bundles: Sequence[Path] = ()
) -> None:
    """Check the options ``--json`` and ``--report``.

    Args:
        json_file: The file to write.
        report: The folder to write into; it need not be there.
        inputs: Files that the command reads, and that its models were trained from; None is none.
        bundles: Folders of which every file is kept as it was exported.

    Raises:
        InputError: If either cannot be written as what it is, or an input, a device or a pipe would be lost.
    """
    if json_file is not None:
        check_place_of(json_file, "after --json")
    read = [each for each in inputs if each is not None]
    if json_file is not None:
        check_not_read(json_file, read, "after --json")
    for file in [] if report is None else [report / name for name in _REPORT]:
        check_not_read(file, read, "in the folder after --report", "name another folder")
    for option, written in (("--json", json_file), ("--report", report)):
        if written is not None and written.exists() and any(_is_inside(written, each) for each in bundles):
            raise InputError(f"{written}: expected a new place after {option}, got a part of the bundle; name another")
    if json_file is not None and report is not None and _is_same(json_file, report):
        raise InputError(f"{json_file}: expected a file after --json and a folder after --report, got one for both")
    if report is not None and report.exists():
        if not report.is_dir():
            raise InputError(f"{report}: expected a folder after --report, got a file; name another")
        for name in _REPORT:
            check_place_of(report / name, "in the folder after --report")


def _is_inside(place: Path, folder: Path) -> bool:
    return real_path(folder) in (real_path(place), *real_path(place).parents)


def _is_same(one: Path, other: Path) -> bool:
    return real_path(one) == real_path(other)
