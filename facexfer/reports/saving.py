"""Write a figure as PNG and as SVG."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from facexfer.errors import InputError
from facexfer.eval.report.plots import to_svg
from facexfer.files.atomic import write_bytes, write_text

_DOTS_PER_INCH = 150


def save_figure(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write ``name.png`` and ``name.svg`` into a folder, atomically.

    Args:
        figure: What to write.
        folder: Made if it is not there.
        name: Without an ending.

    Returns:
        The two files.

    Raises:
        InputError: If the folder cannot be written.
    """
    pixels = io.BytesIO()
    figure.savefig(pixels, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    files = folder / f"{name}.png", folder / f"{name}.svg"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(files[0], pixels.getvalue())
        write_text(files[1], to_svg(figure))
    except OSError as error:
        raise InputError(
            f"{folder}: expected a folder to write figures into, got: {error}; give another --out"
        ) from error
    return files
