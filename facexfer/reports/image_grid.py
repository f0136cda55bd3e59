"""Images in rows and columns under titles."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

_SIDE = 1.5


def image_grid(titles: Sequence[str], rows: Sequence[Sequence[np.ndarray]]) -> Figure:
    """Arrange images in a grid.

    Args:
        titles: One a column.
        rows: Images (H, W, 3) uint8 RGB, as many a row as there are titles.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(_SIDE * len(titles) + 0.2, _SIDE * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for places, pictures in zip(grid, rows, strict=True):
        for axes, picture in zip(places, pictures, strict=True):
            axes.imshow(picture)
            axes.set_axis_off()
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=8)
    return figure
