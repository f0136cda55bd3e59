"""Which of the toolkit's methods some pictures allow, read off what the methods' stages declare."""

import inspect
from collections.abc import Mapping

from facexfer.advice.situation import Situation
from facexfer.advice.source import Source
from facexfer.errors import InputError
from facexfer.transfer import methods
from facexfer.transfer.partial import batchnorm_layers
from facexfer.transfer.stages import Need, Stage

# Where the source came without its classifier: prototypes of photos, or of the training pictures (LwF, Soft FT).
_OLD_TASKS = ("training_set", "source_set")


def method_needs(there: Situation, source: Source) -> Mapping[str, str]:
    """What is missing for each registered method.

    Args:
        there: The pictures.
        source: The network to start from.

    Returns:
        Method -> what is missing; "" where nothing is.
    """
    return {name: _missing(name, there, source) for name in sorted(methods.METHODS)}


def _missing(name: str, there: Situation, source: Source) -> str:
    try:
        said = [_of_stages(methods.create(name, **options), there, source) for options in _variants(name)]
    except InputError as error:
        # A method of another package may have options without defaults.
        return f"needs options of its own: {error}"
    return next((each for each in said if not each), said[0])


def _variants(name: str) -> list[dict[str, str]]:
    known = inspect.signature(methods.METHODS[name]).parameters
    if "old_task" not in known:
        return [{}]
    return [{}, *({"old_task": task} for task in _OLD_TASKS if task in str(known["old_task"].annotation))]


def _of_stages(stages: tuple[Stage, ...], there: Situation, source: Source) -> str:
    needs = {need for stage in stages for need in stage.needs}
    found = []
    if not there.has_new and Need.COMPANIONS not in needs:
        found.append(f"no training pictures of modality '{there.new}'")
    if any(stage.classification for stage in stages) and not there.labelled:
        found.append("no identity with two training pictures")
    if Need.COMPANIONS in needs and there.has_new and not (there.same_shot or there.same_person or there.photos):
        found.append(f"no '{there.visible}' picture of the same shot or person, and none of others")
    if Need.SPECTRA in needs and not (there.in_both and there.labelled):
        found.append("nobody has pictures of both spectra in the training split of one manifest")
    if Need.SOURCE_IMAGES in needs and there.photos is None:
        found.append(f"no split of '{there.visible}' photos without a held-out person")
    if not source.has_batchnorm and (not stages or any(stage.trained_part is batchnorm_layers for stage in stages)):
        found.append("the source has no BatchNorm")
    if not source.has_batchnorm and any(stage.make_optimizer is not None for stage in stages):
        found.append("it is a form of SGD, which destroys a source without BatchNorm")
    if Need.CLASSIFIER in needs and not source.has_classifier:
        found.append("the source came without its classifier")
    return "; ".join(found)
