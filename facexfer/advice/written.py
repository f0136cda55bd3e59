"""The recipe of a way, for one user's pictures and network."""

import math
from typing import Any

import tomli_w

from facexfer.advice.measured import Measured
from facexfer.advice.situation import Situation
from facexfer.advice.source import Source
from facexfer.advice.ways import Way, has_photos
from facexfer.recipe import Recipe, parse_recipe

_EVALUATIONS = 4
# The most passes that a large set keeps, whatever was measured; for a small one the measured steps decide.
_PASSES = 24
# Measured with EdgeFace (docs/experiments/edgeface.md): labels alone cost more than they bring at the rate of CSD.
_WITHOUT_BATCHNORM = {"name": "adamw", "learning_rate": 1e-4}
_RATE_OF_LABELS_ALONE = 3e-5
_OF_BATCHNORM = ("final_batchnorm", "final_keep")


def recipe_values(way: Way, there: Situation, source: Source, measured: Measured | None) -> dict[str, Any]:
    """Fill in a way's settings: paths, modalities, what can be measured, and a length.

    The length is that of the committed recipe in passes over the images, or more of them where that makes fewer steps
    than were measured.

    Args:
        way: What was chosen.
        there: The pictures.
        source: The network.
        measured: The run whose number of steps counts; None where there is none.

    Returns:
        The nested mapping that a recipe file holds.
    """
    sections = {name: dict(section) for name, section in way.sections.items()}
    if not source.has_batchnorm:
        sections.get("source", {}).pop("recalibrate_batchnorm", None)
        optimizer = {**sections.get("optimizer", {}), **_WITHOUT_BATCHNORM}
        if way.sections["method"]["name"] == "l2":
            optimizer["learning_rate"] = _RATE_OF_LABELS_ALONE
        sections["optimizer"] = {name: value for name, value in optimizer.items() if name not in _OF_BATCHNORM}
    if there.has_new and sections.get("companions", {}).get("match") == "simulated":
        # The training pictures are no photos: those of other people are all of every batch.
        del sections["companions"], sections["data"]
        sections["pool"]["share"] = 1 - sections["pool"]["keep"]
    data = there.data.model_dump(mode="json", exclude_defaults=True)
    data["modality"] = there.data.modality
    if way.spectra > 1:
        data["modality"] = [there.new, there.visible]
    values: dict[str, Any] = {
        "task": "face",
        "seed": 0,
        "source": {"backbone": source.info.name, "weights": source.weights, **sections.pop("source", {})},
        "data": {**data, **sections.pop("data", {})},
    }
    if (companions := sections.get("companions")) and companions["match"] != "simulated":
        if there.companions is not None:
            companions["manifest"] = str(there.companions)
        companions["modality"] = there.visible
    if "pool" in sections and not has_photos(there):
        # The training pictures themselves are photos then; as many of them stay as they are.
        sections.setdefault("companions", {})["keep"] = sections.pop("pool")["keep"]
    if (pool := sections.get("pool")) and there.photos is not None:
        pool |= {"manifest": str(there.photos.manifest), "split": there.photos.split, "modality": there.visible}
    values |= sections
    values["optimizer"] = _length(sections.get("optimizer", {}), way, there, measured)
    pairs = [each.model_dump(exclude_none=True) for each in there.measurable.pairs]
    evaluation = {
        "fars": list(there.measurable.fars),
        "pairs": pairs,
        "every_epochs": max(1, math.ceil(values["optimizer"]["epochs"] / _EVALUATIONS)),
    }
    return {**values, "evaluation": evaluation}


def recipe_text(values: dict[str, Any], remarks: list[str]) -> tuple[Recipe, str]:
    """Check a recipe's values and write them as a file.

    Args:
        values: As `recipe_values` gives them.
        remarks: The lines of the comment at the top.

    Returns:
        The recipe, and the text of its file.
    """
    comment = "".join(f"# {line}\n" for line in remarks)
    return parse_recipe(values, "the advised recipe"), comment + tomli_w.dumps(values)


def _length(optimizer: dict[str, Any], way: Way, there: Situation, measured: Measured | None) -> dict[str, Any]:
    """The optimizer's section with batch and length."""
    if way.epochs == 0:
        return {**optimizer, "epochs": 0}
    images = there.images_of_both if way.spectra > 1 else there.training.images
    batch = min(int(optimizer["batch_size"]), 2 ** (images.bit_length() - 1))
    steps = 0 if measured is None or measured.steps is None else measured.steps
    passes = min(way.epochs, _PASSES)
    return {**optimizer, "batch_size": batch, "epochs": max(passes, round(steps / (images // batch)))}
