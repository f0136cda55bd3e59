"""`import facexfer`: which names there are, what they cost, and what a type checker sees."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import facexfer


def test_importing_pays_for_no_heavy_package() -> None:
    heavy = ["torch", "numpy", "pydantic", "onnxruntime", "cv2", "lightning_fabric", "typer"]
    code = f"import facexfer, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(set(facexfer.__all__) - {"__version__"}))
def test_every_name_is_what_a_type_checker_takes_it_for(name: str) -> None:
    """The names of the lazy imports and those under TYPE_CHECKING come from the same modules."""
    tree = ast.parse(Path(facexfer.__file__).read_text())
    seen = {alias.name: node.module for node in tree.body if isinstance(node, ast.If | ast.ImportFrom)
            for node in ([node] if isinstance(node, ast.ImportFrom) else node.body)
            if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
    found = getattr(facexfer, name)
    assert found.__name__ == name
    assert found.__module__ == seen[name]
    assert found.__doc__
    assert name in dir(facexfer)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'facexfer' has no attribute 'trian'"):
        facexfer.trian  # type: ignore[attr-defined]  # noqa: B018
