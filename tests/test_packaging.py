"""The hand-kept package list equals the folders, and nothing is installed under a bare name."""

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
MAPPED = {"facexfer": "facexfer", "backbones": "facexfer.backbones", "eval": "facexfer.eval"}


def test_package_list_equals_folders() -> None:
    found = set()
    for folder, package in MAPPED.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((package, *parts)))
    assert sorted(SETUPTOOLS["packages"]) == sorted(found)


def test_mapped_folders_import_under_facexfer_only() -> None:
    import facexfer.backbones
    import facexfer.eval

    assert Path(facexfer.backbones.__file__).parent == ROOT / "backbones"
    assert Path(facexfer.eval.__file__).parent == ROOT / "eval"
    assert SETUPTOOLS["package-dir"] == {package: folder for folder, package in MAPPED.items()}


@pytest.mark.parametrize("folder", ["recipes", "grids"])
def test_only_what_a_user_can_run_is_in_the_wheel(folder: str) -> None:
    """What needs the data of the reported runs stays in the repository, where its names are known as before."""
    texts = {file.name: file.read_text() for file in (ROOT / "facexfer" / folder).glob("*.toml")}
    patterns = SETUPTOOLS["package-data"][f"facexfer.{folder}"]
    shipped = {name for name in texts if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}
    if folder == "recipes":
        own = {name for name, text in texts.items() if "FACEXFER_SHARED" not in text}
        assert shipped == own
    for name in shipped:
        assert "FACEXFER_SHARED" not in texts[name]
        # A recipe on which a grid builds is shipped too.
        built_on = [line.split('"')[1] for line in texts[name].splitlines() if line.startswith("recipe = ")]
        recipes = SETUPTOOLS["package-data"]["facexfer.recipes"]
        assert all(any(fnmatch.fnmatch(f"{each}.toml", pattern) for pattern in recipes) for each in built_on)


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {line.split(":")[0] for line in makefile.splitlines() if line[:1].isalpha() and ":" in line}
    named = set()
    for file in ("CONTRIBUTING.md", ".github/workflows/ci.yml", ".pre-commit-config.yaml"):
        named |= set(re.findall(r"make ([a-z][a-z-]*)", (ROOT / file).read_text().replace("and make", "")))
    named |= set(re.findall(r"target: \[(.*)\]", (ROOT / ".github/workflows/ci.yml").read_text())[0].split(", "))
    assert {"check", "test", "types", "wheel-test", "test-lowest"} <= named
    assert named <= targets


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    headings = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:2] == ["Unreleased", version]


def test_the_tools_of_the_style_are_pinned_in_one_place() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    assert [name.split("==")[0] for name in groups if "==" in name] == ["mypy", "ruff"]
    assert "rev:" not in (ROOT / ".pre-commit-config.yaml").read_text()
