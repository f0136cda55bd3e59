"""facexfer: take a face network from visible light to near infrared, and prove that what ships is what was measured."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facexfer.backbones import create_backbone as create_backbone

__version__ = version("facexfer")
__all__ = ["__version__", "create_backbone"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `import facexfer.errors` or `facexfer --help` does not pay for torch.
    if name == "create_backbone":
        from facexfer.backbones import create_backbone

        return create_backbone
    raise AttributeError(f"module 'facexfer' has no attribute '{name}'")
