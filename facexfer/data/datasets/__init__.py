"""Image classification sets in their official layouts, one per file."""

from collections.abc import Callable
from pathlib import Path

from facexfer.data.image_set import ImageSet
from facexfer.registry import Registry, modules_of

DATASETS: Registry[Callable[[Path, int], ImageSet]] = Registry("data set", "datasets")
"""Layout name -> what reads it: (the set's folder, the seed of a draw where the set has no official split).

It is the function of the same name of every file here.
"""
for _module in modules_of(__name__, __path__):
    _name = _module.__name__.rpartition(".")[2]
    DATASETS.add(_name, getattr(_module, _name))
