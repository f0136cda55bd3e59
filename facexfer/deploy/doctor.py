"""Is this machine fit? Each check says what it found and, where something is wrong, the one line that cures it."""

import platform
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import onnxruntime
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from facexfer.files.links import real_path
from facexfer.measure.providers import CUDA, working_provider
from facexfer.networks.half_precision import time_of_bfloat16

# Distributions that install the same module over each other: (one, other, the line that leaves one of them).
_TWINS = (
    (
        "onnxruntime",
        "onnxruntime-gpu",
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
    ),
    (
        "opencv-python",
        "opencv-python-headless",
        "pip uninstall -y opencv-python opencv-python-headless && pip install --no-deps opencv-python-headless",
    ),
)
# x86's instructions that compute in bfloat16. ARM has some; training with them has not been measured.
_BFLOAT16 = ("avx512_bf16", "amx_bf16")
_PAYS = 0.8


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at.
        found: One line.
        cure: The command that fixes it; empty where nothing is wrong.
    """

    check: str
    found: str
    cure: str = ""


def examine(folder: Path) -> list[Finding]:
    """Run every check.

    Args:
        folder: Where runs are to be written.

    Returns:
        One finding a check, in a fixed order.
    """
    installed = installed_versions()
    return [
        Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *check_requirements(metadata.requires("facexfer") or [], installed),
        *check_twins(installed),
        check_torch(),
        *([] if torch.cuda.is_available() else check_bfloat16(processor_features(), time_of_bfloat16)),
        check_provider(),
        check_writing(folder),
    ]


def installed_versions() -> dict[str, str]:
    """The installed distributions: canonical name -> version."""
    return {
        canonicalize_name(name): each.version for each in metadata.distributions() if (name := each.metadata["Name"])
    }


def check_requirements(requirements: list[str], installed: Mapping[str, str]) -> list[Finding]:
    """Compare installed versions with what the package asks for; extras are left out.

    Args:
        requirements: As in the package's metadata, e.g. ``numpy>=1.26``.
        installed: Canonical name -> version.

    Returns:
        One finding for all if they are met, else one a requirement that is not.

    Example:
        >>> check_requirements(["numpy>=2", "onnx>=1"], {"numpy": "1.26.4", "onnx": "1.17"})[0].found
        'expected numpy>=2, got 1.26.4'
    """
    asked = [Requirement(each) for each in requirements]
    asked = [each for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    unmet = []
    for each in asked:
        # The headless build and the other one hold the same module.
        names = [each.name, *(twin for pair in _TWINS for twin in pair[:2] if each.name in pair[:2])]
        versions = [installed[name] for name in map(canonicalize_name, names) if name in installed]
        if not any(each.specifier.contains(version, prereleases=True) for version in versions):
            unmet.append(
                Finding(
                    f"package {each.name}",
                    f"expected {each.name}{each.specifier}, got {versions[0] if versions else 'none'}",
                    f"pip install '{each.name}{each.specifier}'",
                )
            )
    return unmet or [Finding("packages", f"all {len(asked)} required ones are new enough")]


def check_twins(installed: Mapping[str, str]) -> list[Finding]:
    """Find distributions that overwrite each other's files.

    Args:
        installed: Canonical name -> version.

    Returns:
        One finding a pair.
    """
    findings = []
    for one, other, cure in _TWINS:
        present = [f"{name} {installed[name]}" for name in (one, other) if name in installed]
        if len(present) == 2:
            findings.append(Finding(one, f"{' and '.join(present)} overwrite each other's files", cure))
        else:
            findings.append(Finding(one, f"{present[0] if present else 'absent'}, alone"))
    return findings


def check_torch() -> Finding:
    """Check whether torch computes on a GPU here, by computing on it."""
    version = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        cure = "" if torch.version.cuda is None or not _has_nvidia() else "update the NVIDIA driver (nvidia-smi tells)"
        return Finding("torch", f"{version}, {torch.get_num_threads()} CPU threads, no usable GPU", cure)
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    try:
        torch.ones(2, device="cuda").sum().item()
    except RuntimeError as error:
        line = str(error).splitlines()[0]
        return Finding("torch", f"{version} sees {', '.join(names)} and fails there: {line}", "pip install -U torch")
    return Finding("torch", f"{version}, CUDA {torch.version.cuda}: {', '.join(names)}")


def check_bfloat16(features: Collection[str], measure: Callable[[], float]) -> list[Finding]:
    """Say whether training in bfloat16 pays on this CPU, which is measured where it has the instructions.

    Args:
        features: What the CPU has, as Linux names it.
        measure: Gives a training step's time in bfloat16 as a share of float32's.

    Returns:
        One finding; none for another CPU than x86, where this has not been measured.

    Example:
        >>> check_bfloat16({"sse2", "avx512f"}, lambda: 1.5)[0].found
        'no instructions for it: train in float32, the default; bf16-mixed is slower here'
        >>> check_bfloat16({"sse2", "avx512_bf16"}, lambda: 0.6)[0].found
        "avx512_bf16: a training step takes 0.60 of float32's time here: train with --precision bf16-mixed"
    """
    if "sse2" not in features:
        return []
    known = [each for each in _BFLOAT16 if each in features]
    if not known:
        found = "no instructions for it: train in float32, the default; bf16-mixed is slower here"
    else:
        share = measure()
        advice = "train with --precision bf16-mixed" if share < _PAYS else "train in float32, the default"
        found = f"{' and '.join(known)}: a training step takes {share:.2f} of float32's time here: {advice}"
    return [Finding("bfloat16 on the CPU", found)]


def processor_features() -> set[str]:
    """The instruction sets of this machine's first CPU, as Linux names them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    named = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return set(next(named, "").split())


def check_provider() -> Finding:
    """Find where onnxruntime really runs, by running a network of one addition."""
    offered, used = onnxruntime.get_available_providers(), working_provider()
    version = f"onnxruntime {onnxruntime.__version__}"
    if CUDA in offered and used != CUDA:
        cure = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
        return Finding("onnxruntime provider", f"{version} offers CUDA but falls back to {used}", cure)
    if _has_nvidia() and CUDA not in offered:
        cure = "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        return Finding("onnxruntime provider", f"{version} runs on {used} although there is an NVIDIA GPU", cure)
    return Finding("onnxruntime provider", f"{version} runs on {used}")


def check_writing(folder: Path) -> Finding:
    """Check whether files can be written, by writing one.

    Args:
        folder: Where to; made if it is not there, as a run would.
    """
    cure = "give an --out folder that you may write to"
    try:
        place = next(each for each in (folder, *real_path(folder).parents) if each.exists())
        if not place.is_dir():
            return Finding("writing", f"{place} is a file", cure)
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"facexfer")
    except OSError as error:
        return Finding("writing", f"{folder}: {error.strerror}", cure)
    return Finding("writing", f"{folder}: possible")


def _has_nvidia() -> bool:
    return Path("/proc/driver/nvidia/version").exists()
