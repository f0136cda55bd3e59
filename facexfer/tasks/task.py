"""What a problem must say about itself, so that one training loop serves faces and image classification."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn
from torch.utils.data import ConcatDataset, Subset

from facexfer.backbones.parts.info import BackboneInfo
from facexfer.data.companions import Companions
from facexfer.data.mixture import Mixture, Part, Turns
from facexfer.data.training_set import AugmentedSet, TrainingSet
from facexfer.recipe import PairsSection, Recipe

_BATCH = 128


@dataclass(frozen=True)
class Task:
    """The things in which problems differ.

    Attributes:
        classes: The class names; their positions are the labels.
        training_set: The training images, augmented.
        plain_training_set: The same images as they are, for class means and the like.
        evaluate: (backbone, head or None for the untouched source, which of the recipe's pairs) -> metrics by name.
        fingerprints: What identifies the data, for the run folder.
        source_set: Labelled images of the source's own kind, as the methods that ask for them train on them.
        plain_source_set: The same images as they are, for prototypes and statistics.
        details: (backbone, head) -> what else the result should hold.
        test_set: Images that no run trains on, as they are, to be shown and measured.
        is_closed: Whether the test images are of the training classes, so that the objective is defined on them.
        companions: What the source sees in addition to the training images.
        more: What the batches hold in addition to the training images.
        notes: What a person should know about the data, a line each.
        spectra: Each training image's place in the recipe's modalities, where there are two or more.
        is_rendered: Whether the augmentation shows training images in another spectrum than they were taken in.
    """

    classes: tuple[str, ...]
    training_set: AugmentedSet
    plain_training_set: TrainingSet
    evaluate: Callable[[nn.Module, nn.Module | None, Sequence[PairsSection]], dict[str, float | None]]
    fingerprints: dict[str, str]
    source_set: TrainingSet | None = None
    plain_source_set: TrainingSet | None = None
    details: Callable[[nn.Module, nn.Module], dict[str, Any]] | None = None
    test_set: TrainingSet | None = None
    is_closed: bool = False
    companions: Companions | None = None
    more: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    spectra: tuple[int, ...] | None = None
    is_rendered: bool = False

    @property
    def mixture(self) -> Mixture:
        """All that batches are drawn from: the training images first."""
        share = 1 - sum(part.share for part in self.more)
        return Mixture([Part("training", self.training_set, share, is_labelled=True), *self.more])

    @property
    def in_batches(self) -> TrainingSet:
        """As many images as there are training images, as they are, in the proportions of a batch.

        Those that the network sees rendered in another spectrum are rendered here, too.
        """
        if not self.more:
            return self._as_seen
        mixture = self.mixture
        sets = [self._as_seen, *(each.as_it_is for each in self.more)]
        steps = max(1, len(self.plain_training_set) // _BATCH)
        places = [place for batch in mixture.batches(_BATCH, 0, steps, seed=0) for place in batch]
        return cast(TrainingSet, Subset(ConcatDataset(cast(Any, sets)), places))

    def at_the_end(self, keep: float) -> TrainingSet:
        """The training images, as they are or rendered as in `in_batches`, and pictures of the source's own kind.

        Args:
            keep: The part of the latter in the whole, 0 to 1; above 0 at least one of them, and those of a small set
                several times. Where there are none (`of_source`), the training images are all.
        """
        own = self.of_source
        seen = self._as_seen
        if keep == 0 or own is None:
            return seen
        new = [place for place, spectrum in enumerate(self.spectra or ()) if spectrum == 0]
        images = cast(TrainingSet, Subset(cast(Any, seen), new)) if new else seen
        turns = Turns(len(own), seed=0)
        places = [turns[number] for number in range(max(1, round(len(images) * keep / (1 - keep))))]
        return cast(TrainingSet, ConcatDataset(cast(Any, [images, Subset(cast(Any, own), places)])))

    @property
    def _as_seen(self) -> TrainingSet:
        """The training images as they are, or as the first epoch renders them."""
        if not self.is_rendered:
            return self.plain_training_set
        self.training_set.set_epoch(0)
        return self.training_set

    @property
    def of_source(self) -> TrainingSet | None:
        """Images of the kind that the source was trained on, where the recipe names any.

        Of training images in two spectra or more, those of all but the first, which is the new one.
        """
        if self.plain_source_set is not None:
            return self.plain_source_set
        pictures = [self.companions.pictures] if self.companions is not None else []
        pictures += [part.pictures for part in self.more if part.pictures is not None]
        if pictures:
            return pictures[0].images
        known = [place for place, spectrum in enumerate(self.spectra or ()) if spectrum > 0]
        return cast(TrainingSet, Subset(cast(Any, self.plain_training_set), known)) if known else None


@dataclass(frozen=True)
class TaskKind:
    """A task by its name: what makes it from a recipe, and what it reads there.

    Attributes:
        make: Makes the task of a recipe; every error in the data is raised there, before training.
        reads: Dotted keys of the recipe that only tasks read, those that this one does; ``section.*`` for all of a
            section. A recipe of this task that sets a key which only others read is an error.
        figures: Names the figures of a recipe's ``result.json``; none, they are not known before the run.
        fingerprints: Identifies the data of a recipe as `Task.fingerprints` does, without making the task.
    """

    make: Callable[[Recipe, BackboneInfo], Task]
    reads: tuple[str, ...]
    figures: Callable[[Recipe], Sequence[str]] = lambda recipe: ()
    fingerprints: Callable[[Recipe], dict[str, str]] = lambda recipe: {}

    def __call__(self, recipe: Recipe, info: BackboneInfo) -> Task:
        """Make the task of a recipe for the backbone of these facts."""
        return self.make(recipe, info)
