"""The generated faces of the demo and of grids, with the source networks that come with the package."""

import json
import os
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from facexfer import recipes
from facexfer.errors import InputError
from facexfer.files.atomic import making_folder, write_text

if TYPE_CHECKING:
    from facexfer.comparison.grid import GeneratedFaces

VARIABLE = "FACEXFER_DEMO"
"""Names the folder in the recipes that use it."""
_RECORD = "faces.json"
SOURCES = {"vis": "demo-source.safetensors", "nir": "demo-source-nir.safetensors"}
"""Modality -> the packaged network that was trained on generated faces of it."""


def copy_source(path: Path, modality: str = "vis") -> None:
    """Write the demo's source network, trained on generated faces of one modality, ``vis`` or ``nir``, to a file."""
    packaged = resources.files(recipes).joinpath(SOURCES[modality])
    with resources.as_file(packaged) as file:
        shutil.copyfile(file, path)


def prepare_grid_faces(faces: "GeneratedFaces", folder: Path, drawn: Callable[[], None] = lambda: None) -> None:
    """Draw a grid's faces unless they are there, and set the process up so that its runs use them, reproducibly.

    Every run then has one thread: how a sum is shared between threads changes its last bits.

    Args:
        faces: How many, and the seed.
        folder: Where to: ``data/``, ``source.safetensors`` (trained on VIS) and ``source-nir.safetensors``. It appears
            only when it is complete.
        drawn: Called after every identity.

    Raises:
        InputError: If other faces are there.
    """
    # Imported here: it draws with OpenCV.
    from facexfer.data.generated.demo_set import write_demo_set

    record = json.dumps(faces.model_dump()) + "\n"
    if not folder.exists():
        with making_folder(folder) as temporary:
            write_demo_set(temporary / "data", faces.train, faces.val, faces.shots, faces.seed, drawn=drawn)
            copy_source(temporary / "source.safetensors")
            copy_source(temporary / "source-nir.safetensors", "nir")
            write_text(temporary / _RECORD, record)
    known = folder / _RECORD
    if not known.is_file() or known.read_text(encoding="utf-8") != record:
        raise InputError(f"{folder}: expected the faces of this grid, got others; give another --out")
    os.environ[VARIABLE] = str(folder.resolve())
    os.environ["OMP_NUM_THREADS"] = "1"
