"""Everything that a stage trains, in one module with one forward pass."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.transfer.precision import wide
from facexfer.transfer.stages import Passes, SourceBatch, Stage, StageSetting, Term
from facexfer.transfer.taps import FeatureTap

CLASSIFICATION = "classification"
NO_LABEL = -1
"""The label of an image whose class is not known."""


class Objective(nn.Module):
    """The objective of one stage: cross-entropy plus the stage's weighted terms (Xie et al. 2021, Eq. 4).

    It holds the backbone, the head and the terms' own parameters (attention), so that one optimizer, one data-parallel
    wrapper and one checkpoint entry see all that is trained. The frozen source network is deliberately no submodule.

    Args:
        backbone: The target network, images (N, 3, H, W) -> embeddings (N, D).
        head: (embeddings, labels) -> logits (N, K).
        stage: Its terms' weights, and whether the backbone is trained.
        terms: The stage's terms by name.
        layers: The tapped layers, the same in both networks.
        source: The frozen reference network, in whatever form it runs fastest.
        frozen_batchnorm: Whether the backbone's BatchNorm layers keep their running statistics.

    Attributes:
        runs_source: Whether any term compares with the reference network.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        stage: Stage,
        terms: Mapping[str, Term],
        layers: Sequence[str],
        source: nn.Module,
        frozen_batchnorm: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.terms = nn.ModuleDict(terms)
        self._alphas = {term.name: term.alpha for term in stage.terms}
        self._trains_backbone = stage.trains_backbone
        self._frozen_batchnorm = frozen_batchnorm
        compares = any(term.reads_maps for term in terms.values())
        self.reads_companion_maps = any(term.reads_companion_maps for term in terms.values())
        self._taps = (
            FeatureTap(backbone, layers if compares or self.reads_companion_maps else ()),
            FeatureTap(source, layers if compares else ()),
        )
        self._compute: Callable[..., dict[str, Tensor]] = self._losses
        self._reuses_memory = False
        # In a tuple the source is out of reach of parameters(), train(), state_dict() and data-parallel wrappers.
        self._source = (source,)
        self.runs_source = any(term.reads_maps or term.reads_source for term in terms.values())
        self.reads_source_images = any(term.reads_source_images for term in terms.values())
        self.reads_companions = any(term.reads_companions for term in terms.values())
        self.reads_spectra = any(term.reads_spectra for term in terms.values())
        self._classification = stage.classification
        for parameter in backbone.parameters():
            parameter.requires_grad_(stage.trains_backbone and stage.trained_part is None)
        if stage.trains_backbone and stage.trained_part is not None:
            for parameter in stage.trained_part(backbone):
                parameter.requires_grad_(True)
        for parameter in _fixed_parameters(backbone):
            parameter.requires_grad_(False)
        for parameter in head.parameters():
            parameter.requires_grad_(stage.classification > 0 and stage.trains_head)

    @property
    def source(self) -> nn.Module:
        """The frozen reference network."""
        return self._source[0]

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a backbone that is not trained, and frozen BatchNorm layers, stay in eval mode."""
        super().train(mode)
        if not self._trains_backbone:
            self.backbone.eval()
        elif self._frozen_batchnorm:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        source_images: Tensor | None = None,
        source_labels: Tensor | None = None,
        source_weight: Tensor | None = None,
        companions: Tensor | None = None,
        companion_maps: Tensor | None = None,
        spectra: Tensor | None = None,
        companion_images: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the parts of the objective.

        Args:
            images: Normalised images (N, 3, H, W).
            labels: (N,) int64; -1 leaves an image out of the classification loss.
            source_images: Images of the source's own kind, likewise; only where a term reads them.
            source_labels: (N,) int64, of the source's classes.
            source_weight: A scalar that falls from 1 to 0 over the stage.
            companions: (N, D) unit embeddings of the images' companions, zero for an image without; only where a term
                reads them.
            companion_maps: (N, C, H, W) float16 maps of the companions, likewise.
            spectra: (N,) int64 places in the recipe's modalities, -1 for images of other sets; only where a term reads
                them.
            companion_images: What the reference network sees instead of `images`, likewise; None, it sees the same.

        Returns:
            Scalars by name, each a mean over the batch and with its weight applied; their sum is the objective.
        """
        target_tap, source_tap = self._taps
        if self._reuses_memory:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with target_tap, source_tap:
            return self._compute(
                images,
                labels,
                source_images,
                source_labels,
                source_weight,
                companions,
                companion_maps,
                spectra,
                companion_images,
            )

    def compile(self, *args: Any, captured: bool = False, **options: Any) -> None:
        """Compile both networks and the terms into one graph; the hooks of the taps are traced into it.

        Args:
            *args: As for `torch.compile`.
            captured: A GPU replays the graph; the losses of one forward pass hold only until the next one.
            **options: As for `torch.compile`.
        """
        if captured:
            options = {"mode": "reduce-overhead", **options}
        self._compute = torch.compile(self._losses, *args, **options)
        self._reuses_memory = captured

    def _losses(
        self,
        images: Tensor,
        labels: Tensor,
        source_images: Tensor | None,
        source_labels: Tensor | None,
        source_weight: Tensor | None,
        companions: Tensor | None,
        companion_maps: Tensor | None,
        spectra: Tensor | None,
        companion_images: Tensor | None,
    ) -> dict[str, Tensor]:
        with nullcontext() if self._trains_backbone else torch.no_grad():
            embeddings = self.backbone(images)
        target_maps = self._taps[0].maps
        losses, logits = self._classify(embeddings, labels)
        if len(self.terms) > 0:
            source_maps, source_embeddings = self._run_source(images if companion_images is None else companion_images)
            source_batch = None
            if source_images is not None and source_labels is not None and source_weight is not None:
                source_batch = SourceBatch(self.backbone(source_images), source_labels, source_weight)
            passes = Passes(
                labels,
                source_maps,
                target_maps,
                source_embeddings,
                embeddings,
                source_batch,
                logits,
                companions,
                companion_maps,
                spectra,
            )
            for name, term in self.terms.items():
                loss = term(passes)
                if not isinstance(loss, Tensor) or loss.dim() > 0:
                    raise InputError(
                        f"term {name}: expected one number as a tensor, got {_described(loss)}; take its mean"
                    )
                losses[name] = self._alphas[name] * loss
        return losses

    def _classify(self, embeddings: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Compute the cross-entropy, the mean over the images whose class is known, and the logits that it is of."""
        if self._classification == 0:
            return {}, None
        logits = wide(self.head(embeddings, labels))
        total = F.cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="sum")
        return {CLASSIFICATION: self._classification * total / (labels != NO_LABEL).sum().clamp(min=1)}, logits

    @torch.no_grad()
    def _run_source(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        if not self.runs_source:
            return (), None
        # no_grad and not inference_mode: tensors of the latter cannot be saved for the target's backward pass.
        embeddings = self.source(images)
        return self._taps[1].maps, embeddings

    def parameter_groups(self, stage: Stage) -> list[dict[str, object]]:
        """Split what is trained by weight decay: backbone, head, and the terms' own parameters without any."""
        groups: list[tuple[Iterable[nn.Parameter], float]] = [
            (self.backbone.parameters(), stage.backbone_decay),
            (self.head.parameters(), stage.head_decay),
            (self.terms.parameters(), 0.0),
        ]
        split = [([p for p in parameters if p.requires_grad], decay) for parameters, decay in groups]
        return [{"params": parameters, "weight_decay": decay} for parameters, decay in split if parameters]


def _described(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _fixed_parameters(backbone: nn.Module) -> list[nn.Parameter]:
    """What a network, or one inside it, says by its ``fixed_parameters`` that it never trains."""
    return [
        module.get_parameter(name) for module in backbone.modules() for name in getattr(module, "fixed_parameters", ())
    ]


def make_terms(stage: Stage, setting: StageSetting) -> dict[str, Term]:
    """Make a stage's terms, by name.

    Args:
        stage: The stage.
        setting: What the terms may know.

    Returns:
        The terms in the stage's order.

    Raises:
        InputError: If two terms share a name, or one has that of the classification loss.
    """
    terms = {term.name: term.make(setting) for term in stage.terms}
    if len(terms) != len(stage.terms) or CLASSIFICATION in terms:
        raise InputError(
            f"stage {stage.name}: expected distinct names of terms, none of them {CLASSIFICATION}, got "
            f"{', '.join(term.name for term in stage.terms)}; rename one"
        )
    return terms
