"""The checks of the environment: on the installed packages, and on lists of packages that are known to be traps."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import onnxruntime
import pytest

from facexfer.deploy.doctor import (
    check_bfloat16,
    check_provider,
    check_requirements,
    check_twins,
    check_writing,
    examine,
    installed_versions,
    processor_features,
)
from facexfer.measure.providers import working_provider


def test_this_environment_is_described(tmp_path: Path) -> None:
    findings = {each.check: each for each in examine(tmp_path)}
    assert "torch" in findings["torch"].found
    assert "ExecutionProvider" in check_provider().found
    assert findings["writing"].cure == ""
    assert findings["packages"].found.startswith("all ")


@pytest.mark.parametrize(
    ("one", "other"), [("onnxruntime", "onnxruntime-gpu"), ("opencv-python", "opencv-python-headless")]
)
def test_twins_have_a_cure_that_leaves_one(one: str, other: str) -> None:
    both = check_twins({one: "1.0", other: "1.1"})
    (wrong,) = [each for each in both if each.cure]
    assert f"{one} 1.0 and {other} 1.1" in wrong.found
    assert "pip uninstall -y" in wrong.cure
    assert not any(each.cure for each in check_twins({one: "1.0"}))


def test_old_and_missing_packages_are_named() -> None:
    asked = ["numpy>=2.0", "onnx>=1.17", "timm>=1; extra == 'timm'", "opencv-python-headless>=4"]
    findings = check_requirements(asked, {"numpy": "1.26.4", "opencv-python": "4.9"})
    assert [each.found for each in findings] == ["expected numpy>=2.0, got 1.26.4", "expected onnx>=1.17, got none"]
    assert findings[1].cure == "pip install 'onnx>=1.17'"


def test_installed_versions_are_those_of_the_packages() -> None:
    assert installed_versions()["numpy"] == metadata.version("numpy")


def test_bfloat16_is_advised_where_it_is_measured_to_pay() -> None:
    (found,) = check_bfloat16({"sse2", "avx512_bf16", "amx_bf16"}, lambda: 0.61)
    assert found.found.startswith("avx512_bf16 and amx_bf16: a training step takes 0.61 of float32's time here: ")
    assert found.found.endswith("train with --precision bf16-mixed")
    # Some processors have the instructions and nothing of them.
    (found,) = check_bfloat16({"sse2", "avx512_bf16"}, lambda: 0.97)
    assert found.found.endswith("train in float32, the default")

    def never() -> float:
        raise AssertionError

    assert "train in float32" in check_bfloat16({"sse2", "avx512f"}, never)[0].found
    assert check_bfloat16({"asimd", "bf16"}, never) == check_bfloat16(set(), never) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/cpuinfo")
def test_the_features_of_this_cpu_are_read() -> None:
    assert processor_features() & {"sse2", "asimd"}


@pytest.mark.skipif(os.name != "posix", reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_to_is_found(tmp_path: Path) -> None:
    assert "may write to" in check_writing(Path("/proc/1")).cure
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        assert check_writing(folder).found == f"{tmp_path / 'file'} is a file"
    assert check_writing(tmp_path / "new" / "run").cure == ""


def test_the_provider_is_said_once(tmp_path: Path) -> None:
    """In a process of its own: two sessions, one line."""
    code = (
        "from facexfer.measure.providers import choose_provider; "
        "print(choose_provider(), choose_provider(), choose_provider())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert len(set(done.stdout.split())) == 1
    (line,) = [line for line in done.stderr.splitlines() if "runs on" in line]
    assert done.stdout.split()[0] in line


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is offered here")
def test_without_cuda_the_cpu_works() -> None:
    assert working_provider() == "CPUExecutionProvider"
