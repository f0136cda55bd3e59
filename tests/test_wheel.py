"""The wheel, built and installed as a user has it: complete, and without what only this repository is for."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*words: object, **options: Any):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "FACEXFER_SHARED")}
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environment, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A copy, for setuptools leaves its build next to the sources.
    copy = tmp_path_factory.mktemp("source")
    for name in ("facexfer", "backbones", "eval"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, copy / name)
    words = ("wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", copy / "dist", copy)
    run(sys.executable, "-m", "pip", *words)
    (file,) = (copy / "dist").iterdir()
    return file


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and with this one's packages in the place of downloads."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", wheel)
    # Hooks of editable installs are not followed from there, so the checkout itself stays out of reach.
    shared = [path for path in sys.path if Path(path).name == "site-packages"]
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text("\n".join(shared) + "\n")
    return python


@pytest.mark.slow
def test_the_wheel_holds_what_a_user_needs_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        texts = {name: archive.read(name).decode() for name in names if name.endswith(".toml")}
    assert {
        "facexfer/py.typed", "facexfer/eval/report/page.html", "facexfer/recipes/demo-source.safetensors",
        "facexfer/recipes/demo-source-nir.safetensors",
        "facexfer/recipes/nir-csd.toml", "facexfer/grids/generated.toml", "facexfer/backbones/__init__.py",
    } <= names  # fmt: skip
    assert [name for name, text in texts.items() if "FACEXFER_SHARED" in text] == []
    # Nothing under a bare name, such as backbones or tests.
    assert {name.split("/")[0].split("-")[0] for name in names} == {"facexfer"}
    mapped = {"facexfer": "facexfer", "backbones": "facexfer/backbones", "eval": "facexfer/eval"}
    modules = {
        f"{package}/{file.relative_to(ROOT / folder).as_posix()}"
        for folder, package in mapped.items()
        for file in (ROOT / folder).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == modules


@pytest.mark.slow
def test_the_installed_wheel_runs(python: Path, tmp_path: Path) -> None:
    script = python.parent / "facexfer"
    assert "Usage: facexfer demo" in run(script, "demo", "--help", cwd=tmp_path)
    listed = run(script, "train", "--list", cwd=tmp_path)
    assert "nir-csd" in listed
    assert "FACEXFER_SHARED" not in listed
    program = (
        "import facexfer, facexfer.backbones, facexfer.eval\n"
        "print(facexfer.__file__, facexfer.backbones.__file__, facexfer.eval.__file__)\n"
        "facexfer.create_backbone('mobilefacenet_slim')"
    )
    places = run(python, "-c", program, cwd=tmp_path).split()
    assert all(Path(place).is_relative_to(python.parents[1]) for place in places), places
