"""What a stage trains and looks at: head, reference network, terms, objective and optimizer."""

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from facexfer.backbones.parts.info import BackboneModule
from facexfer.engine.setup import Setup
from facexfer.heads import HEADS, Head, class_means
from facexfer.networks.embedding import embed_dataset
from facexfer.networks.folded import fold_batchnorm
from facexfer.networks.half_precision import spare_slow_gradients
from facexfer.recipe import OptimizerSection
from facexfer.runtime import memory_format, seed_everything, seed_stage, weights_dtype
from facexfer.tasks.task import Task
from facexfer.transfer.objective import Objective, make_terms
from facexfer.transfer.stages import Reference, Stage, StageSetting, classifies
from facexfer.transfer.taps import map_shapes


def make_head(setup: Setup, companions: Tensor | None) -> Head:
    """Make the run's head, drawn by its seed or started from class means.

    Where nothing reads it, as in a run of faces that does not classify, it stays as it was drawn.

    Args:
        setup: The run; its source is as training finds it.
        companions: (M, D) the untouched source's embeddings of the companions, those of the training images first; the
            class means come from them where ``head.start`` says so.
    """
    recipe, task, info = setup.recipe, setup.task, setup.source.info
    seed_everything(recipe.seed, 0)
    classes = len(task.classes)
    head = HEADS[recipe.head.name](info.embedding_size, classes, **recipe.head.options)
    if recipe.head.start != "random" and (task.is_closed or classifies(setup.stages)):
        if companions is not None and recipe.head.start == "companions":
            labels = torch.tensor(task.plain_training_set.labels)
            _start_head(head, class_means(companions[: len(labels)].cpu().float(), labels, classes))
        else:
            start_from_class_means(head, setup.source, task)
    return head.to(setup.fabric.device, weights_dtype(recipe.runtime))


def start_from_class_means(head: Head, network: nn.Module, task: Task) -> None:
    """Point a head at the means of what a network makes of each class's training images.

    Args:
        head: Changed in place.
        network: A backbone with `info`.
        task: Its training images.
    """
    # Every rank computes them: the same images and the same network give the same means.
    embeddings = embed_dataset(network, task.plain_training_set)
    labels = torch.tensor(task.plain_training_set.labels)
    _start_head(head, class_means(embeddings, labels, len(task.classes)))


def _start_head(head: Head, means: Tensor) -> None:
    head.start_from_class_means(means.to(next(head.parameters()).device))


def choose_reference(
    setup: Setup, index: int, source: BackboneModule, backbone: BackboneModule, checkpoint: dict[str, Any] | None
) -> BackboneModule:
    """The network that a stage aligns with: the source, or the result of the stage before, frozen.

    Args:
        setup: The run.
        index: The stage's place.
        source: The frozen source, as stages compare with it.
        backbone: What is trained, as the stage finds it.
        checkpoint: Of this stage, if it continues; it holds a reference that the stage before has made.
    """
    if setup.stages[index].reference is not Reference.PREVIOUS or index == 0:
        return source
    reference = copy.deepcopy(backbone).eval().requires_grad_(False)
    if checkpoint and checkpoint["reference"] is not None:
        reference.load_state_dict(checkpoint["reference"])
    return reference


def make_objective(
    setup: Setup,
    index: int,
    reference: BackboneModule,
    backbone: BackboneModule,
    head: Head,
    say: Callable[[str], None],
) -> Objective:
    """Set up a stage.

    Args:
        setup: The run.
        index: The stage's place.
        reference: What its terms align with.
        backbone: What is trained.
        head: What is trained with it.
        say: Shows a line of progress.

    Returns:
        All that the stage trains.

    Raises:
        InputError: If the terms read maps and the network has too few layers.
    """
    recipe, info, stage = setup.recipe, setup.source.info, setup.stages[index]
    # A network may have too few layers to tap: that only matters to terms that read maps.
    layers = recipe.method.layers or (info.layers(stage.taps) if info.has_taps(stage.taps) else ())
    seed_stage(recipe.seed, index)
    setting = StageSetting(
        map_shapes=map_shapes(reference, layers, info.input_size) if stage.terms and layers else (),
        embedding_size=info.embedding_size,
        classes=len(setup.task.classes),
        source=reference,
        target=backbone,
        layers=layers,
        knowledge=setup.knowledge,
    )
    terms = make_terms(stage, setting)
    if not layers and any(term.reads_maps or term.reads_companion_maps for term in terms.values()):
        info.layers(stage.taps)  # It says what is missing.
    for term in terms.values():
        term.to(setup.fabric.device)
    seed_everything(recipe.seed, 1 + index, setup.fabric.global_rank)
    frozen: nn.Module = reference
    if any(term.reads_maps or term.reads_source for term in terms.values()) and recipe.runtime.fold_source:
        folded = fold_batchnorm(reference, layers, info.input_size)
        say(
            f"the frozen source runs with {folded.folded} BatchNorm layers folded; its maps and embeddings differ by "
            f"{folded.difference:.0e} of the largest value"
        )
        frozen = folded.network.to(memory_format=memory_format(recipe.runtime))
    if recipe.runtime.precision == "bf16-mixed":
        spare_slow_gradients(backbone)
    objective = Objective(backbone, head, stage, terms, layers, frozen, recipe.optimizer.frozen_batchnorm)
    if recipe.runtime.compile:
        say(f"compiling stage {stage.name}, which takes minutes")
        objective.compile(captured=recipe.runtime.cuda_graphs)
    return objective


def make_average(network: nn.Module, decay: float) -> AveragedModel:
    """Make a copy of a network that follows it slowly: ``average += (1 - decay) * (network - average)`` a step.

    Early on, when the copy is still the start, it follows faster: by ``(1 + n) / (10 + n)`` after n steps. Statistics
    follow too, counters are taken over.

    Args:
        network: The network in training.
        decay: Between 0 and 1; 0.999 remembers about a thousand steps.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(network.weight)
        >>> average = make_average(network, decay=0.0)
        >>> _ = nn.init.ones_(network.weight)
        >>> average.update_parameters(network)
        >>> average.module.weight.item()
        1.0
    """

    def follow(averages: Any, weights: Any, _: object) -> None:
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, weights)
            return
        # Of the buffer itself: what comes here lies on the device, and reading it there would make the step wait.
        updates = int(average.n_averaged)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + updates) / (10 + updates)))

    average = AveragedModel(network, multi_avg_fn=follow, use_buffers=True).eval().requires_grad_(False)
    # At 0 torch takes the first step's weights as they are; the start counts here.
    average.n_averaged.fill_(1)
    return average


def make_optimizer(
    objective: Objective, stage: Stage, settings: OptimizerSection, source: nn.Module
) -> torch.optim.Optimizer:
    """Make the optimizer of a stage over the objective's groups: the recipe's, or what the stage makes itself.

    Args:
        objective: What is trained.
        stage: Its first rate is a factor of the run's.
        settings: The recipe's.
        source: The network that the backbone started from.
    """
    groups, rate = cast(Any, objective.parameter_groups(stage)), settings.learning_rate * stage.rate_factor
    if stage.make_optimizer is None and settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(settings.momentum, 0.999))
    if stage.make_optimizer is None:
        return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum)
    sources: dict[Tensor, Tensor] = dict(zip(objective.backbone.parameters(), source.parameters(), strict=True))
    return stage.make_optimizer(groups, sources, rate, settings.momentum)
