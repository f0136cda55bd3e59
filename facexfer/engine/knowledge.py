"""What the methods ask about the source network: its classifier, DELTA's channel weights, a trained SAM's mean."""

import copy
import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.normalize import Normalize
from facexfer.data.training_set import TrainingSet
from facexfer.engine.schedule import epoch_batches
from facexfer.errors import InputError
from facexfer.heads import HEADS, Head, class_means
from facexfer.networks.embedding import embed_dataset
from facexfer.networks.fingerprint import network_digest
from facexfer.recipe import Recipe
from facexfer.runs.folder import RunFolder
from facexfer.runs.state import MADE_AGAIN, load_state, save_state
from facexfer.tasks.task import Task
from facexfer.transfer.attention import SpatialAttention
from facexfer.transfer.channel_weights import loss_rises, weights_from_rises
from facexfer.transfer.prototypes import PrototypeClassifier
from facexfer.transfer.stages import SAM_STAGE, Need, Stage, classifies
from facexfer.transfer.taps import FeatureTap, map_shapes

# DELTA's published implementation: 4 training batches of 32.
_BATCHES, _BATCH_SIZE = 4, 32
# L2-FE's published schedule: 10 epochs, the rate falling exponentially to a tenth by epoch 6.
_HEAD_EPOCHS, _TENTH_AT = 10, 6


def check_needs(stages: tuple[Stage, ...], task: Task, source: BackboneModule) -> None:
    """Check that what the stages need is there.

    Args:
        stages: The method.
        task: The problem, with its source images if any.
        source: The source network.

    Raises:
        InputError: If source images or the source's classifier are needed and missing, or do not fit together, or a
            method of two modalities does not get exactly two.
    """
    needs = {need for stage in stages for need in stage.needs}
    if Need.SOURCE_IMAGES in needs and task.source_set is None:
        raise InputError(
            "expected images of the source's own kind for this method, got none; name them in [source_data] "
            '(faces: modality = "vis")'
        )
    if Need.SOURCE_IMAGES in needs and task.source_set is not None and len(task.source_set) < 2:
        raise InputError(
            f"expected at least two images in [source_data], got {len(task.source_set)}; add some, or select others"
        )
    if Need.CLASSIFIER in needs and source.classifier is None:
        raise InputError(
            f"expected a source network with its own classifier, {source.info.name} came without one; set "
            'method.old_task = "source_set" with images in [source_data], or for lwf "training_set"'
        )
    if {Need.CLASSIFIER, Need.SOURCE_IMAGES} <= needs and task.source_set is not None and source.classifier is not None:
        embedding = next(source.classifier.parameters()).new_zeros(1, source.info.embedding_size)
        with torch.no_grad():
            classes = source.classifier(embedding).shape[1]
        if max(task.source_set.labels) >= classes:
            raise InputError(
                f"expected source images of the {classes} classes that {source.info.name} was trained on, got labels "
                f'up to {max(task.source_set.labels)}; set method.old_task = "source_set", which needs no classifier'
            )
    if Need.COMPANIONS in needs and task.companions is None and not any(part.pictures for part in task.more):
        raise InputError(
            "expected companions of the training images for this method, got none; add [companions] with the modality "
            'that the source knows (match = "capture", "identity" or "simulated"), or [pool] with visible-light '
            "photos of any people; with labelled training images alone, the methods are l2 and afa; without, adabn; "
            "facexfer advise looks for what your pictures allow"
        )
    # Places in the recipe's list: a third one, or one that is skipped, would enter no term.
    if Need.SPECTRA in needs and set(task.spectra or ()) != {0, 1}:
        raise InputError(
            "expected training images of exactly two modalities for this method, got those of "
            f"{len(set(task.spectra or (0,)))}; name two that have images, the new spectrum first, such as "
            'data.modality = ["nir", "vis"]'
        )


def check_head_start(recipe: Recipe, stages: tuple[Stage, ...], task: Task) -> None:
    """Check that the head can start where the recipe wants it to.

    Args:
        recipe: The run.
        stages: Its method.
        task: The problem, with its companions if any.

    Raises:
        InputError: If a head that is not trained would start at random, or a class has no companion to start from.
    """
    is_read = task.is_closed or classifies(stages)
    is_trained = any(stage.trains_head for stage in stages if stage.classification > 0)
    if recipe.head.start == "random" and is_read and not is_trained:
        raise InputError(
            f'expected head.start = "companions" or "class_means" with {recipe.method.name}, which does not train the '
            'head, got "random"; change it'
        )
    if recipe.head.start != "companions":
        return
    if task.companions is None:
        raise InputError(
            'expected companions of the training images with head.start = "companions", got none; add [companions] '
            'with the modality that the source knows, or take "class_means"'
        )
    labels = task.plain_training_set.labels
    known = {label for label, places in zip(labels, task.companions.of_image, strict=True) if places}
    if missing := [name for label, name in enumerate(task.classes) if label not in known]:
        raise InputError(
            f'expected a companion for some image of every class with head.start = "companions", {len(missing)} of '
            f'{len(task.classes)} classes have none, the first is {missing[0]}; match by "identity", or leave them out'
        )


class SourceKnowledge:
    """Answers about the source network, worked out once and kept in the run folder where they are costly.

    Args:
        recipe: The run.
        run: Its folder.
        task: The problem.
        source: The network that stages compare with, frozen; asked only after its statistics are final.
        shown: What it sees instead of the training images, one each; None, those themselves.
    """

    def __init__(
        self, recipe: Recipe, run: RunFolder, task: Task, source: BackboneModule, shown: TrainingSet | None = None
    ) -> None:
        self._recipe, self._run, self._task, self._source = recipe, run, task, source
        self._shown = shown
        self._images = task.plain_training_set if shown is None else shown
        self._device = next(source.parameters()).device

    def classifier(self, old_task: str, scale: float) -> nn.Module:
        """The source's classifier, or prototypes of the classes of ``source_set`` or ``training_set``."""
        if old_task == "classifier":
            if self._source.classifier is None:
                raise InputError("expected a source network with its own classifier, got none; choose another old_task")
            return copy.deepcopy(self._source.classifier).to(self._device)
        images = self._task.plain_source_set if old_task == "source_set" else self._images
        if images is None:
            raise InputError("expected source images, got none; name them in [source_data]")
        prototypes = _means_of(self._source, images)
        return PrototypeClassifier(prototypes, scale).to(self._device)

    def channel_weights(self, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """DELTA's weights, kept in the run folder with the fingerprint of network, layers, data and head."""
        return tuple(weights_from_rises(rises) for rises in self.channel_rises(layers))

    def channel_rises(self, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """The increases of the loss that DELTA's weights come from, (C,) per layer; kept likewise."""
        fingerprint = self._fingerprint(layers)
        file = self._run.channel_file
        if file.is_file():
            state = load_state(file, MADE_AGAIN)
            if state["fingerprint"] == fingerprint:
                return tuple(rises.to(self._device) for rises in state["rises"])
        rises = channel_rises(self._source, self._images, len(self._task.classes), self._recipe, layers)
        weights = tuple(weights_from_rises(each) for each in rises)
        save_state(file, {"fingerprint": fingerprint, "layers": layers, "rises": rises, "weights": weights})
        return rises

    def mean_attention(self, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """A SAM's mean output over the training images as the source sees them.

        AST alone has trained it, in ``attention/`` of the folder.
        """
        state = load_state(RunFolder(self._run.path / SAM_STAGE).stage_file(SAM_STAGE))["terms"]
        shapes = map_shapes(self._source, layers, self._source.info.input_size)
        attentions = nn.ModuleList(SpatialAttention(height, width) for _, height, width in shapes)
        attentions.to(self._device, next(self._source.parameters()).dtype)
        prefix = "spatial.attentions."
        attentions.load_state_dict({key.removeprefix(prefix): value for key, value in state.items()})
        return _mean_outputs(self._source, attentions, layers, self._images)

    def _fingerprint(self, layers: tuple[str, ...]) -> str:
        settings = self._recipe.optimizer
        how = (self._recipe.seed, self._recipe.head, settings.learning_rate, settings.momentum, settings.batch_size)
        what = (layers, sorted(self._task.fingerprints.items()), how, network_digest(self._source))
        text = repr(what) if self._shown is None else repr((*what, "companions"))
        return hashlib.sha256(text.encode()).hexdigest()


def channel_rises(
    source: BackboneModule, images: TrainingSet, classes: int, recipe: Recipe, layers: tuple[str, ...]
) -> tuple[Tensor, ...]:
    """Work out what DELTA's channel weights come from: train the head alone, then silence channel by channel.

    Args:
        source: The source network, frozen, in eval mode.
        images: What it sees, without augmentation.
        classes: How many these are of.
        recipe: Head, learning rate, batch size and seed.
        layers: The tapped layers.

    Returns:
        The rise of the loss, one (C,) a layer.
    """
    device = next(source.parameters()).device
    embeddings = embed_dataset(source, images).to(device)
    labels = torch.tensor(images.labels, device=device)
    head = HEADS[recipe.head.name](source.info.embedding_size, classes, **recipe.head.options)
    if recipe.head.start != "random":
        head.start_from_class_means(class_means(embeddings.cpu(), labels.cpu(), classes))
    head = head.to(device)
    train_head(head, embeddings, labels, recipe)
    size = min(_BATCH_SIZE, len(images))
    chosen = epoch_batches(len(images), size, recipe.seed, 0)[:_BATCHES]
    batches = [(_input_of(source, images, rows), labels[rows]) for rows in chosen]

    def loss(embeddings: Tensor, labels: Tensor) -> Tensor:
        # The head was trained in float32, whatever the source computes in.
        return F.cross_entropy(head(embeddings.float(), labels), labels, reduction="none")

    return loss_rises(source, loss, layers, batches)


def train_head(head: Head, embeddings: Tensor, labels: Tensor, recipe: Recipe) -> None:
    """Train a head alone on embeddings of the frozen source: 10 epochs, the rate falling to a tenth by epoch 6.

    Args:
        head: What is trained.
        embeddings: (N, D).
        labels: (N,) int64.
        recipe: Learning rate, momentum, batch size and seed.
    """
    settings = recipe.optimizer
    optimizer = torch.optim.SGD(head.parameters(), settings.learning_rate, settings.momentum, weight_decay=1e-4)
    size = min(settings.batch_size, len(labels))
    for epoch in range(_HEAD_EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * 0.1 ** (epoch / _TENTH_AT)
        for rows in epoch_batches(len(labels), size, recipe.seed, epoch):
            optimizer.zero_grad()
            F.cross_entropy(head(embeddings[rows], labels[rows]).float(), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def _means_of(source: BackboneModule, images: TrainingSet) -> Tensor:
    embeddings = embed_dataset(source, images)
    labels = torch.tensor(images.labels)
    return class_means(embeddings, labels, int(labels.max()) + 1)


@torch.no_grad()
def _mean_outputs(
    source: BackboneModule, attentions: nn.ModuleList, layers: tuple[str, ...], images: TrainingSet
) -> tuple[Tensor, ...]:
    sums: list[Tensor] = []
    for start in range(0, len(images), _BATCH_SIZE):
        rows = range(start, min(start + _BATCH_SIZE, len(images)))
        with FeatureTap(source, layers) as tap:
            source(_input_of(source, images, rows))
            outputs = [attend(maps).sum(dim=0) for attend, maps in zip(attentions, tap.maps, strict=True)]
        sums = [a + b for a, b in zip(sums, outputs, strict=True)] if sums else outputs
    return tuple(each / len(images) for each in sums)


def _input_of(network: BackboneModule, images: TrainingSet, rows: Sequence[int]) -> Tensor:
    """Some images as a network takes them: normalised, on its device and of its number type."""
    weights = next(network.parameters())
    shown = torch.stack([images[row][0] for row in rows]).to(weights.device)
    normalised: Tensor = Normalize(network.info).to(weights.device)(shown)
    return normalised.to(weights.dtype)
