"""What a runtime is: it converts a network with its own converter, and embeds crops from the files it wrote."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from facexfer.errors import InputError
from facexfer.registry import Registry

if TYPE_CHECKING:
    from torch import nn

LARGEST_NOISE = 0.002
"""What rounding to 8 bits may add to a map around a convolution in int8, as a share of its channels' variance."""


@dataclass(frozen=True)
class Original:
    """What is converted: the network as it was measured.

    Attributes:
        network: In eval mode on the CPU; it takes pixels (N, 3, H, W) float32 RGB 0..255.
        input_size: (height, width) of the crops in pixels.
        onnx: The same as an ONNX file in float32 that takes pixels.
        batch: A fixed number of images, or None for any number.
        calibration: Gives training crops (N, H, W, 3) uint8 RGB, for 8 bits.
        write_onnx: Writes the ONNX file in a precision, as `facexfer.deploy.quantize.write_precision` does.
        rounding_noise: What 8 bits do to the maps around each convolution, as `facexfer.deploy.quantize` estimates it.
        flip: Whether the network adds the embedding of the mirrored image.
    """

    network: "nn.Module"
    input_size: tuple[int, int]
    onnx: Path
    batch: int | None
    calibration: Callable[[], np.ndarray]
    write_onnx: Callable[[str, Path], None]
    rounding_noise: Callable[[], Mapping[str, float]]
    flip: bool = False

    def check_no_flip(self, choice: str) -> None:
        """Refuse the mirrored image, for converters that fail on it.

        Args:
            choice: The runtime and the precision, as in ``--runtime``.

        Raises:
            InputError: If the network adds it.
        """
        if self.flip:
            raise InputError(
                f"expected a network without the mirrored crop for {choice}, got one with it; leave --flip out, or "
                f"take {choice.partition(':')[0]}:fp32"
            )

    def trace(self, batch: int) -> Any:
        """Trace the network in TorchScript, for converters that read it.

        Args:
            batch: The number of images.
        """
        import torch

        with torch.no_grad(), warnings.catch_warnings():
            # torch would rather have everybody on torch.export, which pnnx and coremltools do not read yet.
            warnings.simplefilter("ignore")
            images = torch.zeros(batch, 3, *self.input_size)
            return torch.jit.trace(self.network, images)  # type: ignore[no-untyped-call]

    def calibration_batches(self, size: int) -> list[np.ndarray]:
        """Training crops as the network takes them, for 8 bits; what fills no whole batch is left out.

        Args:
            size: Images in a batch, where `batch` leaves that free.

        Returns:
            Arrays (B, 3, H, W) float32.
        """
        images = self.calibration().transpose(0, 3, 1, 2).astype(np.float32)
        step = self.batch or size
        return [images[start : start + step] for start in range(0, len(images) - step + 1, step)]

    def loud(self, layers: Sequence[str], largest: float = LARGEST_NOISE) -> set[str]:
        """Find the convolutions and matrix products that 8 bits would blur, under a converter's names for them.

        Args:
            layers: All of them, in the order in which they are computed, which is that of the ONNX file.
            largest: Noise that a layer may have, a share as in `rounding_noise`.

        Raises:
            InputError: If the ONNX file has another number of them.
        """
        noise = self.rounding_noise()
        if len(layers) != len(noise):
            raise InputError(
                f"expected the {len(noise)} convolutions and matrix products of the ONNX file, the converter has "
                f"{len(layers)}; ship the network in fp32"
            )
        return {layer for layer, share in zip(layers, noise.values(), strict=True) if not share <= largest}


Session: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Embeds pixels (N, 3, H, W) float32 RGB 0..255 as (N, D) float32."""


@dataclass(frozen=True)
class Example:
    """Lines of code that embed by a runtime without facexfer, in Python.

    Attributes:
        imports: With numpy as ``np`` and ``cv2``.
        opens: Opens the file.
        embeds: An expression: the embedding (D,) of ``crop``, (1, 3, H, W) float32 RGB 0..255.
        packages: What pip has to install for these lines, besides numpy and cv2; no converter. Empty: the
            runtime's `install`.
    """

    imports: str
    opens: str
    embeds: str
    packages: str = ""


class Runtime(Protocol):
    """A library that runs networks on a device."""

    @property
    def name(self) -> str:
        """As in ``--runtime NAME``."""
        ...

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it can convert to; the first is taken where none is named."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The distributions that it is made of, as on the package index."""
        ...

    @property
    def install(self) -> str:
        """The command that installs them all, to convert."""
        ...

    @property
    def fixed_batch(self) -> int | None:
        """The number of images that its files take when none was asked for; None for any number."""
        ...

    @property
    def on_device(self) -> str:
        """What measures a file on its device, where this machine can only convert; else empty."""
        ...

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Write a network's files into a folder; give their names, first the one that `open` takes.

        Raises:
            InputError: If a library is missing or the network cannot be converted.
        """
        ...

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Open what `convert` wrote, on a number of threads; None lets the library choose.

        Raises:
            InputError: If a library is missing or the file is damaged.
        """
        ...

    def example(self, file: str, precision: str) -> Example | None:
        """Lines of code that embed by a file without facexfer, for a bundle's README; None where there is no Python."""
        ...


@runtime_checkable
class BuiltOnDevice(Protocol):
    """A runtime besides whose command on the device names the shapes that go in."""

    def command(self, input_size: tuple[int, int], batch: int | None) -> str:
        """The command for one network.

        Args:
            input_size: (height, width) of the crops in pixels.
            batch: A fixed number of images, or None for any number.
        """
        ...


RUNTIMES: Registry[Runtime] = Registry("runtime", "runtimes")
"""Name -> runtime; another package adds its own by the entry points ``facexfer.runtimes``."""


@dataclass(frozen=True)
class Choice:
    """A runtime and one of its precisions.

    Attributes:
        runtime: The runtime.
        precision: Of its file.
    """

    runtime: Runtime
    precision: str

    @property
    def name(self) -> str:
        """As in ``--runtime``: ``openvino:bf16``."""
        return f"{self.runtime.name}:{self.precision}"


def choose_runtime(name: str) -> Choice:
    """Find a runtime by its name, with a precision after a colon: ``openvino`` or ``openvino:int8``.

    Raises:
        InputError: If no runtime has that name, or it has no such precision.
    """
    kind, colon, precision = name.partition(":")
    runtime = RUNTIMES[kind]
    if colon and precision not in runtime.precisions:
        raise InputError(f"expected a precision that {kind} has ({', '.join(runtime.precisions)}), got '{precision}'")
    return Choice(runtime, precision or runtime.precisions[0])


def need(module: str, runtime: Runtime) -> ModuleType:
    """Import a runtime's library.

    Args:
        module: The name to import.
        runtime: Whose library it is.

    Raises:
        InputError: If it is not installed, or cannot be loaded.
    """
    try:
        return import_module(module)
    except (ImportError, OSError) as error:
        raise InputError(
            f"expected the library of the runtime {runtime.name}, got: {error}; install it by {runtime.install}"
        ) from error


def need_quietly(module: str, runtime: Runtime) -> ModuleType:
    """Import a library as `need` does, one that warns of what Python and torch will drop.

    Args:
        module: The name to import.
        runtime: Whose library it is.

    Raises:
        InputError: As for `need`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return need(module, runtime)


def on_device(runtime: Runtime, input_size: tuple[int, int], batch: int | None) -> str:
    """What measures a network's file on its device; empty for a runtime that runs here.

    Args:
        runtime: Whose file it is.
        input_size: (height, width) of the crops in pixels.
        batch: A fixed number of images, or None for any number.
    """
    return runtime.command(input_size, batch) if isinstance(runtime, BuiltOnDevice) else runtime.on_device


@contextmanager
def refusing(file: Path, wanted: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn what a runtime's library raises into one line.

    Args:
        file: What is converted or run.
        wanted: What was expected of it: "a network that OpenCV runs".
        errors: The kinds of exception that it raises; one that is a line for the user already stays as it is.

    Raises:
        InputError: If it raises one of them.
    """
    try:
        yield
    except InputError:
        raise
    except errors as error:
        said = " ".join(str(error).split())
        raise InputError(f"{file}: expected {wanted}, got: {said}; ship it for another runtime") from error


def versions(distributions: Sequence[str]) -> dict[str, str]:
    """Installed versions of the named distributions; those that are not installed are left out."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
