"""A manifest of your own, for photos instead of crops; its landmarks are used where it has them."""

from collections.abc import Iterator
from pathlib import Path

from facexfer.data.layouts.entry import LayoutOptions, PhotoEntry, register_layout
from facexfer.data.manifest import read_manifest
from facexfer.data.references import as_listed
from facexfer.files.links import real_path


@register_layout("manifest")
def own_manifest(root: Path, options: LayoutOptions) -> Iterator[PhotoEntry]:
    """List the photos of a manifest (CSV or Parquet), or of ``images.csv`` in a folder.

    Args:
        root: The manifest, or the folder with ``images.csv``.
        options: Not used: the manifest tells.

    Yields:
        One entry per row; a path out of the manifest's folder has the problem ``path-out-of-folder``.

    Raises:
        InputError: If the manifest is bad.
    """
    manifest = read_manifest(root / "images.csv" if root.is_dir() else root)
    home = real_path(manifest.path.parent)
    for image in manifest.images:
        name = as_listed(image.path, manifest.path.parent)
        outside = home not in real_path(image.path).parents
        if not outside and name.startswith("../"):
            # An absolute path to the folder that the manifest is reached through a link in.
            name = real_path(image.path).relative_to(home).as_posix()
        problem = ("path-out-of-folder", "the manifest may only name photos below its own folder") if outside else None
        if problem is None:
            problem = _file_problem(image.path)
        yield PhotoEntry(
            name, image.path, image.identity, image.modality, image.split, landmarks=image.landmarks,
            capture=image.capture, session=image.session, camera=image.camera, problem=problem, extra=image.extra,
        )  # fmt: skip


def _file_problem(path: Path) -> tuple[str, str] | None:
    try:
        return None if path.is_file() else ("missing-file", "listed, but there is no such picture")
    except OSError as error:
        # A name longer than the system has names for.
        return "missing-file", error.strerror or type(error).__name__
