"""``facexfer advise``: what can be done with some pictures, before anything is trained."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from facexfer.advice.advise import Advice
    from facexfer.advice.measured import Measured
    from facexfer.advice.situation import Situation

_WIDTH = 110
_COLUMNS = {"within": "{new} - {new}", "across": "{visible} - {new}", "visible": "{visible} - {visible}"}


def advise(
    manifest: Annotated[Path, typer.Argument(help="The CSV of the crops.")],
    source: Annotated[str, typer.Option(help="The network to start from: weights, a pack, a run or a bundle.")],
    backbone: Annotated[
        str | None,
        typer.Option(help="The network's name, if the file does not state it. Default: what the file states."),
    ] = None,
    visible_manifest: Annotated[
        Path | None, typer.Option(help="The CSV of further photos in the source's spectrum.")
    ] = None,
    modality: Annotated[str, typer.Option(help="What the new spectrum is called in the manifest.")] = "nir",
    visible_modality: Annotated[str, typer.Option(help="What the source's spectrum is called.")] = "vis",
    out: Annotated[Path | None, typer.Option(help="Write the recipe to start from to this new file.")] = None,
) -> None:
    """Say which methods your pictures allow, which recipe to take, and what it gained in our measurements.

    Nothing is trained. The figures come from our own result pages; most of them are of simulated NIR.
    """
    from facexfer.advice.advise import advise as look

    found = look(
        manifest, source, backbone=backbone, visible_manifest=visible_manifest, modality=modality,
        visible_modality=visible_modality, out=out,
    )  # fmt: skip
    chosen, *others = found.possible
    sections = {
        "Pictures": _pictures(found.there),
        "Network": _network(found),
        "Take": [f"{chosen.name}: you have {chosen.has}."],
        "What it gained in our measurements": _gains(found),
        "Also possible": [f"{way.name}: {way.has}" for way in others] or ["nothing else"],
        "Not possible": [f"{name}: {why}" for name, why in found.missing.items()] or ["everything is"],
        "Methods": _methods(found),
    }
    for title, lines in sections.items():
        typer.echo(title)
        for line in lines:
            typer.echo(textwrap.fill(line, _WIDTH, initial_indent="  ", subsequent_indent="    "))
    if out is not None:
        typer.echo(f"Written: {out}. Next: facexfer train {out} --out runs/mine")


def _pictures(there: "Situation") -> list[str]:
    amount, quality = there.training, there.quality
    each = f"{amount.fewest}" if amount.fewest == amount.most else f"{amount.fewest} to {amount.most}"
    lines = [
        f"trained on: {amount.images:,} of modality '{there.data.modality}', {amount.people:,} people with "
        f"{each} each{'' if there.labelled else ' (no labels to learn from)'}",
        f"measured on: {there.validation.people:,} others; {there.measurable.impostor_pairs:,} impostor pairs support "
        f"FAR {there.measurable.fars[-1]:g} of {', '.join(each.name for each in there.measurable.pairs)}",
        f"of the same shot in '{there.visible}': {there.same_shot:,}; of the same person: {there.same_person:,}",
    ]
    if there.photos is not None:
        photos = there.photos
        lines.append(
            f"'{there.visible}' photos of nobody who is measured: {photos.images:,} of {photos.people:,} people, "
            f"{photos.others:,} of them not trained on (split '{photos.split}' of {photos.manifest})"
        )
    lines.append(
        "sharpness {:.3f} / {:.3f} / {:.3f}, brightness {:.0f} / {:.0f} / {:.0f} of 255 (5 %, median, 95 %)".format(
            *quality.sharpness, *quality.brightness
        )
    )
    if quality.blurred:
        lines.append(f"as blurred as after a Gaussian blur of 4 pixels: {quality.blurred:,}")
    lines.append(f"listed twice: {there.repeated:,}")
    return lines


def _network(found: "Advice") -> list[str]:
    info, folded = found.source.info, found.source.folded
    height, width = info.input_size
    batchnorm = f"{folded} BatchNorm layers folded, a run revives them first" if folded else "BatchNorm as it is"
    return [
        f"{info.name}: embeddings of {info.embedding_size} numbers; crops of {width}x{height}, {info.color_order}, "
        f"(pixel - {info.mean[0]:g}) * {info.scale[0]:.6g}; {batchnorm}"
    ]


def _gains(found: "Advice") -> list[str]:
    if not found.measured:
        return ["Not measured yet, neither this way nor one that is near."]
    lines = [] if found.is_own else [f"This way is not measured yet. The nearest that is: {found.possible[0].differs}."]
    for row in found.measured:
        lines += [
            f"{row.data}; {row.seeds} seed{'s' if row.seeds > 1 else ''}{_steps(row)} ({row.document}: {row.row})",
            *(_gain(found.there, row, name) for name in _COLUMNS),
        ]
    if len(found.measured) > 1:
        lines.append("Which of them is nearer to yours? The one whose untouched figures are nearer to your source's.")
    return [*lines, "Simulated or generated pictures, one network: no promise. Measure on your own."]


def _steps(row: "Measured") -> str:
    return "" if row.steps is None else f", {row.steps:,} steps"


def _gain(there: "Situation", row: "Measured", name: str) -> str:
    title = _COLUMNS[name].format(new=there.new, visible=there.visible)
    figures = zip(row.fars, getattr(row, f"{name}_before"), getattr(row, name), strict=True)
    return f"  {title}, TAR in %: " + ", ".join(f"{old} -> {new} at FAR {far:g}" for far, old, new in figures)


def _methods(found: "Advice") -> list[str]:
    fitting = [name for name, why in found.methods.items() if not why]
    refused = [f"{name}: {why}" for name, why in found.methods.items() if why]
    return [f"these pictures allow {', '.join(fitting) or 'none'}", *refused]
