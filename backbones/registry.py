"""The table of networks that `create_backbone` makes; each network's file adds itself."""

from collections.abc import Callable

from facexfer.backbones.parts.info import BackboneModule
from facexfer.registry import Registry

BACKBONES: Registry[Callable[..., BackboneModule]] = Registry("backbone", "backbones")
