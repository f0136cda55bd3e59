"""facexfer: take a face network from visible light to near infrared, and prove that what ships is what was measured.

Everything that a program needs is here; each name comes from its room when it is first asked for, so that
``import facexfer`` and ``facexfer --help`` do not pay for torch.
"""

import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from facexfer.errors import InputError, RunError

if TYPE_CHECKING:
    from facexfer.advice.advise import advise
    from facexfer.backbones import create_backbone
    from facexfer.data.preparation.photo_set import prepare
    from facexfer.deploy.export import export
    from facexfer.deploy.monitor import monitor
    from facexfer.engine.train import train
    from facexfer.eval.scores import all_pairs
    from facexfer.eval.verification import tar_at_far
    from facexfer.measure.embed import embed
    from facexfer.measure.embedder import load
    from facexfer.measure.evaluation import evaluate
    from facexfer.recipe import Recipe
    from facexfer.transfer.methods import register_method
    from facexfer.transfer.stages import Stage, Term, WeightedTerm

# Nothing here opens a connection. albumentations asks a package index for its newest version when it is imported, and
# NNCF reports its use: both are off before any of our modules, or a plugin of yours, can import them.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["NNCF_CI"] = "1"

__version__ = version("facexfer")
__all__ = [
    "InputError",
    "Recipe",
    "RunError",
    "Stage",
    "Term",
    "WeightedTerm",
    "__version__",
    "advise",
    "all_pairs",
    "create_backbone",
    "embed",
    "evaluate",
    "export",
    "load",
    "monitor",
    "prepare",
    "register_method",
    "tar_at_far",
    "train",
]

if not TYPE_CHECKING:  # With it, a type checker would take any name for one of ours.

    def __getattr__(name: str) -> Any:
        match name:
            case "advise":
                from facexfer.advice import advise as room
            case "create_backbone":
                from facexfer import backbones as room
            case "prepare":
                from facexfer.data.preparation import photo_set as room
            case "export":
                from facexfer.deploy import export as room
            case "monitor":
                from facexfer.deploy import monitor as room
            case "train":
                from facexfer.engine import train as room
            case "all_pairs":
                from facexfer.eval import scores as room
            case "tar_at_far":
                from facexfer.eval import verification as room
            case "embed":
                from facexfer.measure import embed as room
            case "load":
                from facexfer.measure import embedder as room
            case "evaluate":
                from facexfer.measure import evaluation as room
            case "Recipe":
                from facexfer import recipe as room
            case "register_method":
                from facexfer.transfer import methods as room
            case "Stage" | "Term" | "WeightedTerm":
                from facexfer.transfer import stages as room
            case _:
                raise AttributeError(f"module 'facexfer' has no attribute '{name}'")
        return getattr(room, name)


def __dir__() -> list[str]:
    return __all__
