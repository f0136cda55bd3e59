"""Lightning Fabric, which runs one training loop on one device or many, in whatever precision.

From its own package, which loads in half the time; from lightning where a machine has that alone.
"""

try:
    from lightning_fabric import Fabric
except ModuleNotFoundError:
    from lightning.fabric import Fabric  # type: ignore[no-redef, import-not-found, unused-ignore]

__all__ = ["Fabric"]
