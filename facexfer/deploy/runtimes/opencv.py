"""OpenCV's ``dnn``: for programs that have nothing but OpenCV."""

import shutil
from pathlib import Path

import numpy as np

from facexfer.deploy.runtimes.runtime import RUNTIMES, Example, Original, Session, need, refusing
from facexfer.errors import InputError

_FILE = "model.opencv.onnx"


class OpenCv:
    """The runtime ``opencv``: the ONNX file as it is, read by ``cv2.dnn``."""

    name = "opencv"
    precisions = ("fp32",)
    needs = ("opencv-python-headless",)
    install = "pip install opencv-python-headless"
    fixed_batch = None
    on_device = ""

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Copy the ONNX file; OpenCV has no format of its own."""
        shutil.copyfile(original.onnx, folder / _FILE)
        return (_FILE,)

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Read the file; OpenCV's threads are those of the whole process."""
        cv2 = need("cv2", self)
        try:
            network = cv2.dnn.readNetFromONNX(str(file))
        except cv2.error as error:
            raise InputError(
                f"{file}: expected an ONNX model that OpenCV reads, got: {error}; export it again"
            ) from error

        def embed(images: np.ndarray) -> np.ndarray:
            before = cv2.getNumThreads()
            cv2.setNumThreads(-1 if threads is None else threads)
            try:
                with refusing(file, "a network that OpenCV runs", cv2.error):
                    network.setInput(images)
                    return np.array(network.forward(), dtype=np.float32)
            finally:
                cv2.setNumThreads(before)

        return embed

    def example(self, file: str, precision: str) -> Example:
        """Lines of code for a bundle's README."""
        return Example(
            "import cv2, numpy as np",
            f'network = cv2.dnn.readNetFromONNX("{file}")',
            "network.setInput(crop) or network.forward()[0].copy()",
            "opencv-python-headless",
        )


RUNTIMES.add("opencv", OpenCv())
