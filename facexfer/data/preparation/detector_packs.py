"""InsightFace's packs of models, of which the preparation needs the detector."""

from pathlib import Path
from zipfile import BadZipFile

from facexfer.errors import InputError

_PACKS = Path("~/.insightface/models")
# Those that insightface can download; any other is looked for only.
_PUBLISHED = ("antelopev2", "buffalo_l", "buffalo_m", "buffalo_s", "buffalo_sc")


def find_pack_detector(name: str) -> Path:
    """Give the detector of a pack, downloaded by insightface itself if it is a published one that is not there yet.

    Args:
        name: The pack's, e.g. ``buffalo_sc``.

    Returns:
        Its ``det_*.onnx``.

    Raises:
        InputError: If there is no such pack, or it is not there and not to be had, or holds no detector.
    """
    folder = _PACKS.expanduser() / name
    if name in _PUBLISHED and not folder.exists():
        folder = _downloaded(name)
    found = sorted(folder.rglob("det_*.onnx"))
    if not found:
        raise InputError(
            f"expected a detector's .onnx file or an InsightFace pack, got '{name}'; there is no det_*.onnx in "
            f"{folder} (published packs: {', '.join(_PUBLISHED)})"
        )
    return found[0]


def _downloaded(name: str) -> Path:
    from insightface.utils.storage import ensure_available

    try:
        return Path(ensure_available("models", name))
    except (OSError, RuntimeError, ValueError, BadZipFile) as error:
        raise InputError(
            f"expected a network connection to download the pack '{name}', got: {error}; unpack its zip to "
            f"{_PACKS / name}, or give a detector's .onnx file"
        ) from error
