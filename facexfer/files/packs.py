"""InsightFace's packs of models, in the place where insightface keeps them."""

from pathlib import Path
from zipfile import BadZipFile

from facexfer.errors import InputError

PACKS = {
    "buffalo_sc": "w600k_mbf.onnx",
    "buffalo_s": "w600k_mbf.onnx",
    "buffalo_m": "w600k_r50.onnx",
    "buffalo_l": "w600k_r50.onnx",
    "antelopev2": "glintr100.onnx",
}
"""Those that insightface can download -> their recognition model; any other is looked for only."""


def pack_folder(name: str) -> Path:
    """Where a pack lies, or will lie once it is downloaded."""
    return Path("~/.insightface/models").expanduser() / name


def find_pack(name: str) -> Path:
    """The folder of a pack; insightface itself downloads a published one that is not there yet.

    Args:
        name: The pack's, e.g. ``buffalo_sc``.

    Returns:
        The folder; one of an unpublished pack may not be there.

    Raises:
        InputError: If the pack is not there and cannot be downloaded.
    """
    folder = pack_folder(name)
    if name not in PACKS or folder.exists():
        return folder
    # Imported here: insightface takes seconds, and most models come as files.
    from insightface.utils.storage import ensure_available

    try:
        return Path(ensure_available("models", name))
    except (OSError, RuntimeError, ValueError, BadZipFile) as error:
        raise InputError(
            f"expected a network connection to download the pack '{name}', got: {error}; unpack its zip to "
            f"{folder}, or give the path of a model's .onnx file"
        ) from error
