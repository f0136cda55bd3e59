"""The hand-kept package list equals the folders, and nothing is installed under a bare name."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
MAPPED = {"facexfer": "facexfer", "backbones": "facexfer.backbones", "eval": "facexfer.eval"}


def test_package_list_equals_folders():
    found = set()
    for folder, package in MAPPED.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((package, *parts)))
    assert sorted(SETUPTOOLS["packages"]) == sorted(found)


def test_mapped_folders_import_under_facexfer_only():
    import facexfer.backbones
    import facexfer.eval

    assert Path(facexfer.backbones.__file__).parent == ROOT / "backbones"
    assert Path(facexfer.eval.__file__).parent == ROOT / "eval"
    assert SETUPTOOLS["package-dir"] == {package: folder for folder, package in MAPPED.items()}
