"""Run an ONNX file on images, whatever type and number of them it takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from facexfer.errors import InputError
from facexfer.files.fixed_batches import call_in_batches
from facexfer.files.onnx_parts import read_onnx
from facexfer.files.onnx_refusals import onnx_refusals

# What onnxruntime calls a type -> ours. A signed byte does not hold 255, and NumPy has no bfloat16.
_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8, "tensor(int16)": np.int16, "tensor(uint16)": np.uint16, "tensor(int32)": np.int32,
    "tensor(uint32)": np.uint32, "tensor(int64)": np.int64, "tensor(uint64)": np.uint64,
}  # fmt: skip
_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")


class OnnxSession:
    """A recognition model: images (N, 3, H, W) -> embeddings (N, D).

    Args:
        path: The file; external weights are read from its folder.
        providers: Of onnxruntime.
        threads: How many; None lets onnxruntime choose.

    Raises:
        InputError: If onnxruntime cannot read it, or it does not map one input (N, 3, H, W) of pixels to one output.

    Attributes:
        model: The graph, without its external weights.
        input_shape: (N, 3, H, W) as declared, also of a file that takes (N, H, W, 3); a free length is text or None.
        provider: What it runs on.
    """

    def __init__(self, path: Path, providers: Sequence[str], threads: int | None = None) -> None:
        self.model = read_onnx(path)
        self._path = path
        options = onnxruntime.SessionOptions()
        # What is wrong comes as an exception; warnings about the graph are not the user's.
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or 0
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        except onnx_refusals() as error:
            raise InputError(f"{path}: expected an ONNX model, got: {_first_line(error)}; export it again") from error
        self.input_shape: list[Any] = list(inputs[0].shape) if inputs else []
        self._channels_last = len(self.input_shape) == 4 and self.input_shape[1] != 3 and self.input_shape[3] == 3
        if self._channels_last:
            self.input_shape = [self.input_shape[place] for place in (0, 3, 1, 2)]
        if len(inputs) != 1 or len(outputs) != 1 or len(self.input_shape) != 4 or self.input_shape[1] != 3:
            raise InputError(
                f"{path}: expected one input (N, 3, H, W) or (N, H, W, 3) and one output, got {len(inputs)} and "
                f"{len(outputs)} with input shape {self.input_shape}; is it a recognition model?"
            )
        if inputs[0].type not in _TYPES:
            raise InputError(
                f"{path}: expected an input of floats or of whole numbers that hold 0 to 255, got {inputs[0].type}; "
                "export it with a float32 or uint8 input"
            )
        if outputs[0].type not in _FLOATS:
            raise InputError(
                f"{path}: expected embeddings of floats, got {outputs[0].type}; is it a recognition model?"
            )
        self.takes_integers = inputs[0].type not in _FLOATS
        self.input_name: str = inputs[0].name
        self.provider: str = self._session.get_providers()[0]
        self._type = _TYPES[inputs[0].type]
        batch = self.input_shape[0]
        self._fixed = batch if isinstance(batch, int) and batch > 0 else None

    def run(self, images: np.ndarray, batch: int | None = None) -> np.ndarray:
        """Embed images, in as many calls as the file needs.

        Args:
            images: (N, 3, H, W) of any type; what the file takes is made of it.
            batch: Images in a call where the file leaves that free; None takes all.

        Returns:
            (N, D) float32.

        Raises:
            InputError: If onnxruntime fails, or does not return one embedding per image.
        """
        step = self._fixed or batch or len(images)
        first = images[:step]
        # One image settles nothing: a file that takes no more has to be asked with more.
        if self._fixed is None and len(first) > 1 and not self._takes(first):
            # Declared as free, but not so inside: older converters fix the one image of their example.
            self._fixed = step = 1
        return call_in_batches(self._call, images, step, self._fixed is not None)

    def _takes(self, images: np.ndarray) -> bool:
        if self._known:
            return True
        try:
            self._known = len(self._embed(images)) == len(images)
        except InputError:
            self._known = False
        return self._known

    _known = False

    def _call(self, images: np.ndarray) -> np.ndarray:
        embeddings = self._embed(images)
        if len(embeddings) != len(images):
            raise InputError(
                f"{self._path}: expected {len(images)} embeddings for as many images, got {len(embeddings)}; is it a "
                "recognition model?"
            )
        return embeddings

    def _embed(self, images: np.ndarray) -> np.ndarray:
        given = images.transpose(0, 2, 3, 1) if self._channels_last else images
        fed = np.ascontiguousarray(given, dtype=self._type)
        try:
            output = self._session.run(None, {self.input_name: fed})[0]
        except onnx_refusals() as error:
            raise InputError(
                f"{self._path}: expected a file that onnxruntime runs, got: {_first_line(error)}; export it again"
            ) from error
        embeddings: np.ndarray = np.asarray(output, dtype=np.float32)
        if embeddings.ndim < 2 or embeddings[0].size != embeddings.shape[1]:
            raise InputError(
                f"{self._path}: expected embeddings (N, D), got {embeddings.shape}; is it a recognition model?"
            )
        return embeddings.reshape(len(embeddings), -1)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
