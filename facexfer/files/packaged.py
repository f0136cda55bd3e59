"""Files that come with the package: recipes and grids by name."""

from importlib import resources
from importlib.resources.abc import Traversable
from types import ModuleType

_ENDING = ".toml"


def packaged_toml(folder: ModuleType) -> dict[str, Traversable]:
    """List the TOML files of a folder of the package.

    Args:
        folder: `facexfer.recipes` or `facexfer.grids`.

    Returns:
        Name without its ending -> file.
    """
    files = resources.files(folder).iterdir()
    return {file.name.removesuffix(_ENDING): file for file in files if file.name.endswith(_ENDING)}
