"""Image classification sets in their official layouts, one a file."""

from collections.abc import Callable
from pathlib import Path

from facexfer.data.datasets.caltech256 import caltech256
from facexfer.data.datasets.cub200 import cub200
from facexfer.data.datasets.folders import folders
from facexfer.data.datasets.mit67 import mit67
from facexfer.data.datasets.stanford_dogs import stanford_dogs
from facexfer.data.image_set import ImageSet
from facexfer.registry import Registry

DATASETS: Registry[Callable[[Path, int], ImageSet]] = Registry("data set")
"""Layout name -> what reads it: (the set's folder, the seed of a draw where the set has no official split)."""
for _layout in (caltech256, cub200, folders, mit67, stanford_dogs):
    DATASETS.add(_layout.__name__, _layout)
