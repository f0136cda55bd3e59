"""Device, precision, ranks and seeds: the only place that asks."""

import ctypes
import os
import platform
from importlib import metadata
from typing import Any, cast

import torch
from torch import distributed, nn

from facexfer.errors import InputError
from facexfer.recipe import RuntimeSection

try:
    from lightning_fabric import Fabric as Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException as MisconfigurationException
except ModuleNotFoundError:
    # The same, where a machine has lightning as a whole; it takes longer to load.
    from lightning.fabric import Fabric as Fabric  # type: ignore[no-redef, import-not-found, unused-ignore]
    from lightning.fabric.utilities.exceptions import (  # type: ignore[no-redef, import-not-found, unused-ignore]
        MisconfigurationException as MisconfigurationException,
    )

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_VERSIONED = (
    "facexfer", "torch", "torchvision", "lightning-fabric", "albumentations", "numpy", "opencv-python-headless",
)  # fmt: skip


def make_fabric(settings: RuntimeSection) -> Fabric:
    """Set up device, precision and ranks, and start the ranks.

    On a machine without a GPU, ``accelerator = "auto"`` takes one CPU process.

    Args:
        settings: The recipe's runtime section.

    Returns:
        A launched Fabric.

    Raises:
        InputError: If the accelerator, the number of devices or the precision is not available here.
    """
    prepare_cpu()
    torch.set_float32_matmul_precision("high" if settings.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = settings.tf32
    devices = settings.devices
    if devices == "auto" and not torch.cuda.is_available():
        # torchrun says how many processes it has started here.
        devices = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    has["gpu"] = any(has.values())
    if not has.get(settings.accelerator, True):
        raise InputError(f"runtime.accelerator: expected a GPU for {settings.accelerator}, found none; leave it out")
    if settings.precision == "16-mixed" and not torch.cuda.is_available():
        raise InputError("runtime.precision: expected a GPU for 16-mixed, found none; take bf16-mixed or 32-true")
    if settings.cuda_graphs and not torch.cuda.is_available():
        raise InputError("runtime.cuda_graphs: expected a GPU, found none; leave it out")
    try:
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=devices,
            num_nodes=settings.num_nodes,
            precision=cast(Any, settings.precision),
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        raise InputError(
            f"expected runtime settings that this machine has, got accelerator={settings.accelerator}, "
            f"devices={settings.devices}, precision={settings.precision}: {' '.join(str(error).split())}"
        ) from error
    if is_restarted() and not distributed.is_initialized():
        _join_anew("gloo" if fabric.device.type == "cpu" else "nccl")
    fabric.launch()
    return fabric


def is_restarted() -> bool:
    """Whether torchrun has started this process again after one was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def _join_anew(backend: str) -> None:
    """Meet the other ranks apart from what lost ones have left in torchrun's store (pytorch/pytorch#135712).

    Restarts are counted by machine, so on several the store itself has to be another one: torchrun's own switch,
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1.
    """
    shares_store = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not shares_store or int(os.environ.get("GROUP_WORLD_SIZE", 1)) > 1:
        return
    ranks, port = int(os.environ["WORLD_SIZE"]), int(os.environ["MASTER_PORT"])
    whole = distributed.TCPStore(os.environ["MASTER_ADDR"], port, ranks, is_master=False)  # type: ignore[attr-defined]
    restart = f"restart-{os.environ['TORCHELASTIC_RESTART_COUNT']}"
    store = distributed.PrefixStore(restart, whole)  # type: ignore[attr-defined]
    distributed.init_process_group(backend, store=store, rank=int(os.environ["RANK"]), world_size=ranks)


def prepare_cpu() -> None:
    """Set what makes training and inference on a CPU fast, once per process.

    Denormals count as zero: trained weights drift into them, and CPUs are tens of times slower there. And glibc keeps
    freed memory: else every large tensor of every step is mapped and faulted in again, which takes about half of a
    MobileFaceNet step.
    """
    torch.set_flush_denormal(True)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def best_device() -> str:
    """Name the device that products of large matrices are made on: the GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def memory_format(settings: RuntimeSection) -> torch.memory_format:
    """The layout of images and convolution weights: channels_last speeds up mobile networks, most of all on CPUs."""
    return torch.channels_last if settings.channels_last else torch.contiguous_format


def weights_dtype(settings: RuntimeSection) -> torch.dtype:
    """The number type of weights: float32 also under autocast, float64 for checks of the arithmetic."""
    return torch.float64 if settings.precision == "64-true" else torch.float32


def seed_everything(seed: int, *parts: int) -> None:
    """Seed torch's generators from a seed and what distinguishes this use of it, e.g. stage and rank.

    Args:
        seed: The run's seed.
        *parts: Small non-negative numbers.
    """
    mixed = seed
    for part in parts:
        mixed = (mixed * 1_000_003 + part + 1) % 2**63
    torch.manual_seed(mixed)


def seed_stage(seed: int, number: int) -> None:
    """Seed torch's generators for what a stage, counted from 0, makes at its start, the same on every rank."""
    seed_everything(seed, 1 + number)


def describe_environment(network: nn.Module | None = None) -> dict[str, Any]:
    """What a run was made on: versions, platform, device names and the number of parameters.

    Args:
        network: Count this network's parameters too.

    Returns:
        A JSON-ready mapping; nothing in it names the machine or its user.
    """
    versions = {}
    for package in _VERSIONED:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "absent"
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    environment: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "devices": devices or [f"CPU, {torch.get_num_threads()} threads"],
        "versions": versions,
    }
    if network is not None:
        environment["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    return environment
