"""Core ML: Apple's phones and computers; converted anywhere, measured on macOS."""

import logging
import platform
from pathlib import Path

import numpy as np

from facexfer.deploy.runtimes.runtime import RUNTIMES, Example, Original, Session, need, refusing

_FILES = {"fp32": "model.mlpackage", "fp16": "model.fp16.mlpackage"}
# coremltools raises exceptions of all kinds, plain ones too.
_WANTED = "a network that Core ML runs"


class CoreMl:
    """The runtime ``coreml``."""

    name = "coreml"
    precisions = ("fp32", "fp16")
    needs = ("coremltools",)
    install = 'pip install "facexfer[coreml]"'
    fixed_batch = 1

    @property
    def on_device(self) -> str:
        """What measures the file on macOS; empty there."""
        return "" if platform.system() == "Darwin" else "on macOS, facexfer verify-bundle BUNDLE --runtime coreml"

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Trace the network and let coremltools write an ML package, which is a folder."""
        coremltools = need("coremltools", self)
        batch, package = original.batch or 1, folder / _FILES[precision]
        logging.getLogger("coremltools").setLevel(logging.ERROR)
        precisions = coremltools.precision
        with refusing(package, _WANTED, Exception):
            model = coremltools.convert(
                original.trace(batch),
                inputs=[coremltools.TensorType(name="input", shape=(batch, 3, *original.input_size))],
                outputs=[coremltools.TensorType(name="embedding")],
                convert_to="mlprogram",
                compute_precision=precisions.FLOAT16 if precision == "fp16" else precisions.FLOAT32,
                minimum_deployment_target=coremltools.target.iOS16,
            )
        model.save(str(package))
        files = sorted(each.relative_to(folder).as_posix() for each in package.rglob("*") if each.is_file())
        return tuple(sorted(files, key=lambda name: not name.endswith("Manifest.json")))

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Open the package, on macOS."""
        coremltools = need("coremltools", self)
        with refusing(file.parent, _WANTED, Exception):
            model = coremltools.models.MLModel(str(file.parent))

        def embed(images: np.ndarray) -> np.ndarray:
            with refusing(file.parent, _WANTED, Exception):
                return np.array(model.predict({"input": images})["embedding"], dtype=np.float32)

        return embed

    def example(self, file: str, precision: str) -> Example:
        """Lines of code for a bundle's README."""
        return Example(
            "import coremltools, cv2, numpy as np",
            f'network = coremltools.models.MLModel("{file.partition("/")[0]}")',
            'network.predict({"input": crop})["embedding"][0]',
            "coremltools",
        )


RUNTIMES.add("coreml", CoreMl())
