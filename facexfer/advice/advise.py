"""Say what can be done with some pictures and a network, and write the recipe to start from. Nothing is trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from facexfer.advice.measured import Measured, first_of_each_set, read_measured
from facexfer.advice.methods import method_needs
from facexfer.advice.situation import Situation, read_situation
from facexfer.advice.source import Source, read_source
from facexfer.advice.ways import WAYS, Way
from facexfer.advice.written import recipe_text, recipe_values
from facexfer.data.manifest import read_manifest
from facexfer.errors import InputError
from facexfer.files.atomic import write_text
from facexfer.files.folders import check_folder_of
from facexfer.files.names import clean_name
from facexfer.recipe import Recipe
from facexfer.tasks import TASKS
from facexfer.tasks.keys import check_keys


@dataclass(frozen=True)
class Advice:
    """What to do.

    Attributes:
        there: The pictures.
        source: The network.
        possible: The ways to train that the pictures allow; the first is the one to take.
        missing: The other ways, each with what is missing.
        methods: Every method -> what is missing for it; empty where nothing is.
        measured: Runs of the first way, or of the nearest that was measured, one a set of data.
        is_own: Whether they are of the very way.
        recipe: The recipe of the first way, which `facexfer.train` takes as it is.
        text: Its file.
    """

    there: Situation
    source: Source
    possible: tuple[Way, ...]
    missing: Mapping[str, str]
    methods: Mapping[str, str]
    measured: tuple[Measured, ...]
    is_own: bool
    recipe: Recipe
    text: str


def advise(
    manifest: str | Path,
    source: str | Path,
    *,
    backbone: str | None = None,
    visible_manifest: str | Path | None = None,
    modality: str = "nir",
    visible_modality: str = "vis",
    out: str | Path | None = None,
) -> Advice:
    """Look at pictures and a network, and choose a way to train.

    Args:
        manifest: The CSV of the crops.
        source: The network to start from: a file of weights, an InsightFace pack, a run folder or a bundle.
        backbone: Its name, if the file does not state it.
        visible_manifest: The CSV of further photos in the source's spectrum.
        modality: What the new spectrum is called in the manifest.
        visible_modality: What the source's spectrum is called.
        out: Where to write the recipe; an existing file is not overwritten. None writes nothing.

    Returns:
        The advice, with the recipe.

    Raises:
        InputError: If a file cannot be read, a picture does not fit, the two spectra have one name or
            none, or nothing can be trained or measured.

    Warns:
        DataWarning: If pictures are listed twice, or under two identities.
    """
    names = clean_name(modality), clean_name(visible_modality)
    if "" in names or names[0] == names[1]:
        raise InputError(
            f"expected the names of two spectra, got '{modality}' and '{visible_modality}'; give --modality and "
            "--visible-modality as the manifest has them"
        )
    if out is not None and Path(out).exists():
        raise InputError(f"{out}: expected a new file, it already exists; give another --out")
    if out is not None:
        check_folder_of(Path(out))
    seen = None if visible_manifest is None else Path(visible_manifest)
    for each in (manifest, seen):
        if each is not None:
            # Before the network is opened, which says where its weights are from.
            read_manifest(Path(each))
    network = read_source(source, backbone)
    there = read_situation(Path(manifest), network.info.input_size, seen, modality, visible_modality)
    missing = {way.name: way.missing(there, network) for way in WAYS}
    possible = tuple(way for way in WAYS if not missing[way.name])
    if not possible:
        # BatchNorm statistics alone need nothing else, where there is BatchNorm.
        raise InputError(
            f"{manifest}: expected labelled pictures, or photos in '{visible_modality}', since {network.info.name} has "
            "no BatchNorm, got neither; add identities or --visible-manifest"
        )
    rows = read_measured()
    own = first_of_each_set(rows, possible[0].recipes)
    measured = own or first_of_each_set(rows, possible[0].instead)
    values = recipe_values(possible[0], there, network, measured[0] if measured else None)
    recipe, text = recipe_text(values, _remarks(possible[0], measured, bool(own)))
    check_keys(recipe)
    # All that a run checks of its data before it trains.
    TASKS[recipe.task](recipe, network.info)
    if out is not None:
        write_text(Path(out), text)
    refused = {name: why for name, why in missing.items() if why}
    needs = method_needs(there, network)
    return Advice(there, network, possible, refused, needs, measured, bool(own), recipe, text)


def _remarks(way: Way, measured: tuple[Measured, ...], is_own: bool) -> list[str]:
    lines = [f"{way.name}: {way.has}.", "Written by facexfer advise."]
    if not measured:
        return [*lines, "Not measured yet."]
    nearest = "" if is_own else f" The nearest that was measured: {way.differs}."
    return [*lines, f"Measured in {measured[0].document}: {measured[0].row}.{nearest}"]
