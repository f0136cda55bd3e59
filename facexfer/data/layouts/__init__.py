"""The published forms of face sets, one small file each, which adds itself to the table."""

from facexfer.data.layouts.entry import LAYOUTS, Layout, LayoutOptions, PhotoEntry, layout_options, register_layout
from facexfer.registry import modules_of

for _ in modules_of(__name__, __path__):
    pass

__all__ = ["LAYOUTS", "Layout", "LayoutOptions", "PhotoEntry", "layout_options", "register_layout"]
