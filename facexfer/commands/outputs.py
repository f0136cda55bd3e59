"""Where a command is to write, checked before its work."""

from pathlib import Path

from facexfer.errors import InputError


def check_outputs(json_file: Path | None, report: Path | None) -> None:
    """Check the options ``--json`` and ``--report``.

    Args:
        json_file: The file to write.
        report: The folder to write into; it need not be there.

    Raises:
        InputError: If either cannot be written as what it is.
    """
    if json_file is not None and not json_file.parent.is_dir():
        raise InputError(f"{json_file}: expected an existing folder, {json_file.parent} does not exist; make it first")
    if json_file is not None and json_file.is_dir():
        raise InputError(f"{json_file}: expected a file after --json, got a folder; name a file in it")
    if report is not None and report.exists() and not report.is_dir():
        raise InputError(f"{report}: expected a folder after --report, got a file; name another")
