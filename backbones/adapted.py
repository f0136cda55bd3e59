"""A frozen network with a small trained part added to it, for another spectrum than its own."""

from dataclasses import replace
from pathlib import Path

from facexfer.backbones.checkpoints.containers import tensor_groups
from facexfer.backbones.checkpoints.form import file_form
from facexfer.backbones.checkpoints.torch_files import read_content
from facexfer.backbones.parts.info import BackboneModule, Tap

_NETWORK = "network"


class AdaptedNetwork(BackboneModule):
    """A network that stays in eval mode, so that its statistics never move, and what a subclass adds.

    Args:
        kind: How the names of such networks start.
        network: Any of ours, with its weights.

    Attributes:
        added: The name of the trained part among the modules; a subclass sets it.
    """

    added: str

    def __init__(self, kind: str, network: BackboneModule) -> None:
        info = network.info
        taps, blocks = (
            tuple(Tap(f"{_NETWORK}.{tap.layer}", tap.channels, tap.stride) for tap in each)
            for each in (info.taps, info.blocks)
        )
        super().__init__(replace(info, name=f"{kind}:{info.name}", taps=taps, blocks=blocks))
        self.network = network.eval()
        # Revived from images like any other network's, which needs the whole.
        self.folded, network.folded = tuple(f"{_NETWORK}.{name}" for name in network.folded), ()
        self._classifier = network._classifier

    def train(self, mode: bool = True) -> "AdaptedNetwork":
        """Set the mode of the trained part."""
        super().train(mode)
        self.network.eval()
        return self

    @classmethod
    def is_in(cls, path: Path) -> bool:
        """Whether a file holds the trained part and a network, as a run with one saves it.

        Raises:
            InputError: If the file is missing or damaged.
        """
        if file_form(path) in ("onnx", "mxnet", "symbol"):
            return False
        groups = tensor_groups(read_content(path)).values()
        return any(name.startswith(f"{cls.added}.") for group in groups for name in group)
