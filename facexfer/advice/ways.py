"""The ways to train, by what a user has: docs/methods.md's table, each with its recipe's settings and what it needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from facexfer.advice.situation import Situation
from facexfer.advice.source import Source

Check = Callable[[Situation], str]
"""Says what is missing; nothing where it is there."""


def _new_pictures(there: Situation) -> str:
    return "" if there.has_new else f"no training pictures of modality '{there.new}'"


def _same_shots(there: Situation) -> str:
    """Half of the pictures at least: the loss leaves the others out."""
    if 2 * there.same_shot >= there.training.images:
        return ""
    return (
        f"{there.same_shot:,} of {there.training.images:,} training pictures have a '{there.visible}' picture of the "
        "same shot (column capture), not half of them"
    )


def _same_people(there: Situation) -> str:
    if 2 * there.same_person >= there.training.images and there.labelled:
        return ""
    return (
        f"{there.same_person:,} of {there.training.images:,} training pictures have a '{there.visible}' picture of the "
        "same person, not half of them"
    )


def _identities(there: Situation) -> str:
    return "" if there.labelled else "no identity with two training pictures"


def has_photos(there: Situation) -> bool:
    """Whether there are photos of two people or more whom no training picture shows."""
    return there.photos is not None and there.photos.others > 1


def _photos(there: Situation) -> str:
    return "" if has_photos(there) else _no_photos(there)


def _photos_of_many(there: Situation) -> str:
    """Of more people than the training pictures show: what was measured had twenty times as many."""
    if there.photos is not None and there.photos.others > there.training.people:
        return ""
    return _no_photos(there, f"more than {there.training.people:,} ")


def _no_photos(there: Situation, how_many: str = "") -> str:
    found = 0 if there.photos is None else there.photos.others
    return f"no split of '{there.visible}' photos of {how_many}other people without any held-out one (found {found:,})"


def _in_one_split(there: Situation) -> str:
    if there.in_both > 1 and there.labelled:
        return ""
    return f"{there.in_both} people have pictures of both spectra in the training split of one manifest"


def _photos_alone(there: Situation) -> str:
    """Training pictures of the source's own spectrum are photos; beside new ones, other photos are needed."""
    return _photos(there) if there.has_new else ""


@dataclass(frozen=True)
class Way:
    """One way to train.

    Attributes:
        name: How it is called.
        has: What a user must have for it.
        needs: Each says what is missing.
        sections: The recipe's settings, without the paths; equal to those of the committed recipe.
        epochs: Passes over the training images where it was measured.
        recipes: The committed recipes of it, whose figures are its own.
        instead: Recipes whose figures are the nearest, where it has none.
        differs: How those differ from it.
        spectra: 2 where it trains on the source's own spectrum as well.
        without_batchnorm: Why a source without BatchNorm gains nothing by it; empty where it does.
    """

    name: str
    has: str
    needs: tuple[Check, ...]
    sections: Mapping[str, Mapping[str, Any]]
    epochs: int
    recipes: tuple[str, ...]
    instead: tuple[str, ...] = ()
    differs: str = ""
    spectra: int = 1
    without_batchnorm: str = ""

    def missing(self, there: Situation, source: Source) -> str:
        """What is missing for it; nothing where it can be taken."""
        network = "" if source.has_batchnorm else self.without_batchnorm
        return "; ".join(filter(None, (*(check(there) for check in self.needs), network)))


_HEAD = {"name": "arcface", "start": "class_means", "scale": 32.0, "margin": 0.5}
_MEASURED_ANEW = {"recalibrate_batchnorm": True}
_AS_NIR = {"augmentation": "nir"}
_COSINE = {"learning_rate": 0.03, "schedule": "cosine", "batch_size": 64}
_SETTLED = {**_COSINE, "final_batchnorm": True, "final_keep": 0.25}
_STEPS = {"learning_rate": 0.01, "batch_size": 64}
_SHARES = {"share": 0.4375, "keep": 0.1875}

WAYS = (
    Way(
        "CSD, same shots and photos of others", "pictures of the same shots in both spectra, and photos of many others",
        (_new_pictures, _same_shots, _photos_of_many),
        {"source": _MEASURED_ANEW, "data": _AS_NIR, "companions": {"match": "capture"}, "pool": _SHARES,
         "method": {"name": "csd"}, "optimizer": {**_COSINE, "batch_size": 128}},
        72, ("nirsim-csd", "nirsim-mild-csd"),
    ),
    Way(
        "CSD, same shots", "pictures of the same shots in both spectra",
        (_new_pictures, _same_shots),
        {"source": _MEASURED_ANEW, "data": _AS_NIR, "companions": {"match": "capture", "keep": 0.25},
         "method": {"name": "csd"}, "optimizer": _COSINE},
        4, ("nirsim-csd-pairs", "nirsim-mild-csd-pairs"),
    ),
    Way(
        "CSD, same people and photos of others",
        "pictures of the same people in both spectra, and photos of many others",
        (_new_pictures, _same_people, _photos_of_many),
        {"source": _MEASURED_ANEW, "data": _AS_NIR, "companions": {"match": "identity"}, "pool": _SHARES,
         "method": {"name": "csd"}, "optimizer": _SETTLED},
        24, ("nirsim-csd-identity", "nirsim-mild-csd-identity"), ("nirsim-csd", "nirsim-mild-csd"),
        "pictures of the same shots, not of the same people in other shots",
    ),
    Way(
        "CSD, same people", "pictures of the same people in both spectra",
        (_new_pictures, _same_people),
        {"source": _MEASURED_ANEW, "data": _AS_NIR, "companions": {"match": "identity", **_SHARES},
         "method": {"name": "csd"}, "optimizer": _SETTLED},
        6, ("nirsim-csd-people",),
    ),
    # On simulated NIR labels bring nothing to this; on thermal pictures, which nothing here simulates, 13 points
    # (docs/experiments/thermal.md), so where there are labels they are used.
    Way(
        "CSD, labelled pictures and photos of others", "labelled pictures, and photos of other people",
        (_new_pictures, _identities, _photos),
        {"source": _MEASURED_ANEW, "pool": {"share": 0.375, "keep": 0.125}, "head": _HEAD,
         "method": {"name": "csd", "identity_weight": 1.0}, "optimizer": _STEPS},
        6, ("nirsim-csd-nir-only", "nirsim-mild-csd-nir-only"),
    ),
    Way(
        "CSD, unlabelled pictures and photos of others", "unlabelled pictures, and photos of other people",
        (_new_pictures, _photos),
        {"source": _MEASURED_ANEW, "data": _AS_NIR, "pool": {"share": 1.0}, "method": {"name": "csd"},
         "optimizer": {**_COSINE, "final_batchnorm": True}},
        24, ("nirsim-csd-unlabelled", "nirsim-mild-csd-unlabelled"),
        without_batchnorm="the source has no BatchNorm, and unlabelled pictures only give its statistics",
    ),
    Way(
        "CSD, visible-light photos alone", "photos in the source's own spectrum",
        (_photos_alone,),
        {"data": {"augmentation": "vis-to-nir"}, "companions": {"match": "simulated"},
         "pool": {"share": 0.5, "keep": 0.1875}, "method": {"name": "csd"}, "optimizer": _COSINE},
        24, ("nirsim-csd-vis-only", "nirsim-mild-csd-vis-only"),
    ),
    Way(
        "plain fine-tuning on both spectra", "labelled pictures of the same people in both spectra, in one manifest",
        (_new_pictures, _in_one_split),
        {"source": _MEASURED_ANEW, "head": _HEAD, "method": {"name": "l2"}, "optimizer": _STEPS},
        3, ("nirsim-joint", "nirsim-mild-joint"), spectra=2,
    ),
    Way(
        "plain fine-tuning", "labelled pictures",
        (_new_pictures, _identities),
        {"source": _MEASURED_ANEW, "head": _HEAD, "method": {"name": "l2"}, "optimizer": _STEPS},
        6, ("nirsim-l2", "nirsim-mild-l2", "demo-l2"),
    ),
    Way(
        "BatchNorm statistics alone", "pictures in the new spectrum",
        (_new_pictures,),
        {"source": _MEASURED_ANEW, "data": {"augmentation": "none"}, "method": {"name": "adabn"}},
        0, ("nirsim-adabn", "nirsim-mild-adabn", "demo-adabn"), without_batchnorm="the source has no BatchNorm",
    ),
)  # fmt: skip
"""The first that the pictures allow is the one to take: mostly by TAR within NIR, and labels where there are any."""
