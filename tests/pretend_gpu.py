"""A GPU that is only pretended, for machines without one: values are worked out on the CPU, and devices are checked.

Tensors on it say that they are on another device. An operation on tensors of both devices is the error that it is on a
real GPU, and what makes the host wait for the device is counted. Kernels, speed and memory are for `tests/gpu`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from facexfer.engine import train as train_module
from facexfer.runtime import make_fabric

# Of torch's own device types the one that autograd runs on the host's thread.
GPU = torch.device("lazy", 0)
_ATEN = torch.ops.aten
_WAITS = {_ATEN._local_scalar_dense.default, _ATEN.nonzero.default, _ATEN.equal.default, _ATEN.masked_select.default}
# Where a GPU's tensor is changed or picked from, indices may be the host's; a copy is between any two devices.
_TAKES_THE_HOSTS = {_ATEN.index.Tensor, _ATEN.index_put_.default, _ATEN.index_put.default, _ATEN.copy_.default}


class OnGpu(torch.Tensor):
    """A tensor on the pretended GPU.

    Attributes:
        held: Its values, on the CPU.
    """

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnGpu":
        shell = torch.empty_strided(held.size(), held.stride(), dtype=held.dtype, device="meta")
        made = torch.Tensor._make_subclass(cls, shell, False, dispatch_device=True, device_for_backend_keys=GPU)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {}, [])


class _Mode(TorchDispatchMode):
    def __init__(self, waits: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._waits = waits
        # As torch's own FakeTensorMode is known: else it looks for a GPU's driver before this mode is asked.
        self._mode_key = torch._C._TorchDispatchModeKey.FAKE

    @classmethod
    def is_infra_mode(cls) -> bool:
        return True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, self._waits)


def _run(func: Any, args: Any, kwargs: dict[str, Any], waits: list[str]) -> Any:
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    ours = [each for each in tensors if isinstance(each, OnGpu)]
    if func is torch.ops.prim.device.default:
        return GPU if ours else torch.device("cpu")
    mixed = ours and any(not isinstance(each, OnGpu) and each.dim() > 0 for each in tensors)
    takes = func is _ATEN.copy_.default or (func in _TAKES_THE_HOSTS and isinstance(args[0], OnGpu))
    if mixed and not takes:
        raise RuntimeError(f"{func}: expected tensors on one device, found some on the host and some on the GPU")
    if func in _WAITS and ours:
        waits.append(str(func))
    stays = bool(ours)
    if func is _ATEN.copy_.default:
        stays = isinstance(args[0], OnGpu)
    if kwargs.get("device") is not None:
        stays = torch.device(kwargs["device"]).type == GPU.type
        kwargs = {**kwargs, "device": torch.device("cpu") if stays else kwargs["device"]}
    plain_args, plain_kwargs = tree_map(lambda each: each.held if isinstance(each, OnGpu) else each, (args, kwargs))
    with _disable_current_modes():
        found = func(*plain_args, **plain_kwargs)
    if not stays:
        return found
    # What is changed in place stays the tensor that it was.
    known = {id(each.held): each for each in ours}

    def wrap(each: Any) -> Any:
        if not isinstance(each, Tensor):
            return each
        return known[id(each)] if id(each) in known else OnGpu(each)

    return tree_map(wrap, found)


@contextmanager
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let `facexfer.train` find a GPU.

    Yields:
        The operations for which the host has waited, as they come.
    """
    autocast, generator = torch.autocast, torch.Generator

    def on_gpu(settings: Any) -> Any:
        fabric = make_fabric(settings)
        strategy: Any = fabric.strategy
        strategy._root_device = GPU
        strategy.accelerator.setup_device = lambda device: None
        return fabric

    def cast(kind: str, **options: Any) -> Any:
        return autocast("cpu" if kind == GPU.type else kind, **options)

    monkeypatch.setattr(train_module, "make_fabric", on_gpu)
    monkeypatch.setattr(torch, "autocast", cast)
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": generator("cpu"))
    # A parameter of the host's cannot be given the GPU's values in place.
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch._C._ensureCUDADeviceGuardSet()
    lifts = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    waits: list[str] = []
    try:
        with _Mode(waits):
            yield waits
    finally:
        torch._C._set_only_lift_cpu_tensors(lifts)
        torch.__future__.set_swap_module_params_on_conversion(False)
