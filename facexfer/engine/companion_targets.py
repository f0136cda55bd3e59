"""Where the untouched source puts companions: their embeddings and maps, worked out once, before training."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, Subset

from facexfer.backbones.parts.info import BackboneModule
from facexfer.data.companions import Pictures
from facexfer.data.training_set import TrainingSet
from facexfer.engine.companions import companion_rows, lie_over_images, reads_companion_maps, reads_companions
from facexfer.engine.setup import Setup
from facexfer.errors import InputError
from facexfer.networks.embedding import embed_dataset
from facexfer.networks.fingerprint import network_digest
from facexfer.runs.state import MADE_AGAIN, load_state, save_state
from facexfer.transfer.taps import FeatureTap, map_shapes

_MAP_BYTES = 8 * 2**30
_AT_ONCE = 1024


class TargetMaps:
    """The maps of companions as the untouched source sees them, where the places in the mixture are as well.

    Args:
        maps: (2 P, C, H, W) float16, of P pictures and then of their mirror images; unit vectors at each position.
        rows: (M,) int64 on the same device, each image's picture; -1 for an image without one, or with several.
    """

    def __init__(self, maps: Tensor, rows: Tensor) -> None:
        self._maps, self._rows = maps, rows

    def of(self, places: Tensor, mirrored: Tensor) -> Tensor:
        """The maps of the images' companions, mirrored as the images are.

        Args:
            places: (N,) int64 in the mixture, on the maps' device.
            mirrored: (N,) bool, likewise.

        Returns:
            (N, C, H, W) float16 there; zero for an image without.
        """
        rows, pictures = self._rows[places], len(self._maps) // 2
        maps = self._maps[rows.clamp(min=0) + pictures * mirrored]
        # In place, and without asking how many there are, for which a GPU would have to be waited for.
        return maps.masked_fill_((rows < 0)[:, None, None, None], 0)


@dataclass(frozen=True)
class CompanionTargets:
    """What the untouched source makes of companions.

    Attributes:
        embeddings: (M, D) unit rows on the run's device, in the order of the mixture's images; zero where an image has
            no companion.
        maps: Of the deepest tapped layer, if a term reads them.
    """

    embeddings: Tensor
    maps: TargetMaps | None = None


def companion_targets(setup: Setup) -> CompanionTargets | None:
    """Work out what the untouched source makes of the companion of every image that can be in a batch.

    An embedding is the unit sum of a picture's and its mirror image's unit embeddings; several companions of one image
    are summed likewise. Embeddings are kept in ``data.cache``, or else in the run folder, under a fingerprint of the
    network and the pictures; maps, which are larger, in ``data.cache`` alone.

    Args:
        setup: The run; its source must still be untouched.

    Returns:
        The targets; None if nothing reads companions.

    Raises:
        InputError: If the maps would not fit into memory.
    """
    if not reads_companions(setup.recipe, setup.stages):
        return None
    seen = _See(setup)
    views = {id(pictures): seen.view(pictures) for pictures in seen.pictures}
    companions, targets = setup.task.companions, []
    for part in setup.task.mixture.parts:
        if part.pictures is not None:
            targets.append(views[id(part.pictures)].embeddings)
        elif companions is None:
            targets.append(torch.zeros(len(part.images), setup.source.info.embedding_size))
        else:
            targets.append(_of_images(views[id(companions.pictures)].embeddings, companions.of_image))
    weights = next(setup.source.parameters())
    return CompanionTargets(torch.cat(targets).to(weights.device, weights.dtype), seen.maps(views))


@dataclass(frozen=True)
class _View:
    """(P, D) embeddings of some pictures, both ways together, and (2, P, C, H, W) maps or None."""

    embeddings: Tensor
    maps: Tensor | None


class _See:
    """Lets the source see pictures, or reads what it saw in an earlier run."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.pictures, self._rows = companion_rows(setup.task)
        self._network = network_digest(setup.source)
        self._layer: str | None = None
        self._shape: tuple[int, ...] = ()
        if reads_companion_maps(setup.stages):
            stage = next(stage for stage in setup.stages if reads_companion_maps((stage,)))
            layer = (setup.recipe.method.layers or setup.source.info.layers(stage.taps))[-1]
            (self._shape,) = map_shapes(setup.source, [layer], setup.source.info.input_size)
            if lie_over_images(setup.task):
                self._layer = layer
                self._check_size(sum(len(pictures.images) for pictures in self.pictures))

    def view(self, pictures: Pictures) -> _View:
        """What the source makes of pictures."""
        setup, cache = self._setup, self._setup.recipe.data.cache
        named = _named("companions", f"{self._network} {pictures.fingerprint}")
        embeddings_file, maps_file = (cache or setup.run.path) / named, None
        if self._layer is not None and cache is not None:
            maps_file = cache / _named("companion-maps", f"{self._network} {pictures.fingerprint} {self._layer}")
        # One rank looks, so that all of them go the same way.
        has_embeddings, has_maps = setup.fabric.broadcast(
            (embeddings_file.is_file(), self._layer is None or (maps_file is not None and maps_file.is_file()))
        )
        view = _View(torch.empty(0), None)
        if not (has_embeddings and has_maps):
            view = _both_ways(setup.source, pictures.images, self._layer, self._shape)
        embeddings = self._kept(embeddings_file, "embeddings", has_embeddings, view.embeddings)
        maps = view.maps if maps_file is None else self._kept(maps_file, "maps", has_maps, cast(Tensor, view.maps))
        return _View(embeddings, maps)

    def _kept(self, file: Path, name: str, is_there: bool, values: Tensor) -> Tensor:
        """Read what an earlier run has kept, or keep what this one found."""
        if is_there:
            return cast(Tensor, load_state(file, MADE_AGAIN)[name])
        if self._setup.fabric.is_global_zero:
            file.parent.mkdir(parents=True, exist_ok=True)
            save_state(file, {name: values})
        self._setup.fabric.barrier()
        return values

    def maps(self, views: dict[int, _View]) -> TargetMaps | None:
        """Put the maps of all pictures together, where they are read: on the device where batches are made there."""
        if not self._shape:
            return None
        device = self._setup.batches.device
        if self._layer is None:
            none = torch.zeros(2, *self._shape, dtype=torch.float16, device=device)
            return TargetMaps(none, torch.full_like(self._rows, -1, device=device))
        known = [cast(Tensor, views[id(pictures)].maps) for pictures in self.pictures]
        maps = known[0] if len(known) == 1 else torch.cat(known, dim=1)
        return TargetMaps(maps.flatten(0, 1).to(device), self._rows.to(device))

    def _check_size(self, pictures: int) -> None:
        needed = 2 * 2 * pictures * math.prod(self._shape)
        if needed > _MAP_BYTES:
            raise InputError(
                f"expected maps of the companions of at most {_MAP_BYTES / 2**30:.0f} GiB, got {pictures:,} pictures "
                f"that take {needed / 2**30:.1f}; set method.map_weight = 0, or take fewer"
            )


class _Mirrored(Dataset[tuple[Tensor, int]]):
    """Images seen in a mirror."""

    def __init__(self, images: TrainingSet) -> None:
        self._images = images
        self.labels = images.labels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self._images[index]
        return image.flip(2), label


class _WithMaps(nn.Module):
    """A network that gives its embeddings (N, D) and a layer's maps, in one row (N, D + C * H * W)."""

    def __init__(self, network: BackboneModule, layer: str) -> None:
        super().__init__()
        self.network = network
        self.info = network.info
        self._layer = layer

    def forward(self, images: Tensor) -> Tensor:
        with FeatureTap(self.network, [self._layer]) as tap:
            embeddings = self.network(images)
            return torch.cat([embeddings, F.normalize(tap.maps[0]).flatten(1)], dim=1)


def _both_ways(source: BackboneModule, images: TrainingSet, layer: str | None, shape: tuple[int, ...]) -> _View:
    network = source if layer is None else _WithMaps(source, layer)
    size, embeddings = source.info.embedding_size, []
    maps = None if layer is None else torch.empty(2, len(images), *shape, dtype=torch.float16)
    for way, shown in enumerate((images, cast(TrainingSet, _Mirrored(images)))):
        found = []
        # In parts: a row holds maps in twice the bytes that are kept of them.
        for start in range(0, len(images), _AT_ONCE):
            part = range(start, min(start + _AT_ONCE, len(images)))
            rows = embed_dataset(network, cast(TrainingSet, Subset(shown, part)))  # type: ignore[arg-type]
            found.append(rows[:, :size].clone())
            if maps is not None:
                maps[way, part.start : part.stop] = rows[:, size:].half().view(-1, *shape)
        embeddings.append(F.normalize(torch.cat(found)))
    return _View(F.normalize(embeddings[0] + embeddings[1]), maps)


def _named(name: str, what: str) -> str:
    return f"{name}-{hashlib.sha256(what.encode()).hexdigest()[:16]}.safetensors"


def _of_images(pictures: Tensor, of_image: tuple[tuple[int, ...], ...]) -> Tensor:
    sums = torch.zeros(len(of_image), pictures.shape[1])
    rows = torch.tensor([row for row, places in enumerate(of_image) for _ in places], dtype=torch.int64)
    places = torch.tensor([place for places in of_image for place in places], dtype=torch.int64)
    return F.normalize(sums.index_add_(0, rows, pictures[places]))
