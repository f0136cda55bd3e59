"""``facexfer prepare``: photos to aligned crops, a manifest, a split, and what failed and why."""

from pathlib import Path
from typing import Annotated, Any

import typer

from facexfer.errors import InputError, RunError, counted

_SIZES = {"112x112": (112, 112), "112x96": (112, 96)}
_MOST_SHOWN = 8


def prepare(
    photos: Annotated[Path, typer.Argument(help="The folder of photos, or the data set's file.")],
    layout: Annotated[
        str,
        typer.Option(
            help="How the photos are organised: folders, polyu-nirfd, cbsr-nir, casia-nir-vis2, lfw, manifest, "
            "insightface-rec, insightface-bin, or a plugin's own."
        ),
    ],
    out: Annotated[Path, typer.Option(help="A new folder, or that of an interrupted run, to continue it.")],
    detector: Annotated[
        str | None, typer.Option(help="A YuNet or InsightFace ONNX file, or an InsightFace pack such as buffalo_sc.")
    ] = None,
    landmarks: Annotated[
        Path | None, typer.Option(help="Instead of a detector: a CSV of path and x1,y1 ... x5,y5 (or the two eyes).")
    ] = None,
    pre_cropped: Annotated[bool, typer.Option("--pre-cropped", help="The photos are aligned crops already.")] = False,
    size: Annotated[str, typer.Option(help="Height x width of a crop: 112x112 or 112x96.")] = "112x112",
    choose: Annotated[
        str | None,
        typer.Option(help="Which of several faces: largest-central (the default), largest, central, surest, only."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    modality: Annotated[
        str | None, typer.Option(help="Modality of the photos, if the layout does not state it. Default: nir.")
    ] = None,
    identity_regex: Annotated[
        str | None, typer.Option(help="How to find the identity in the path, such as '^(\\d+)_'.")
    ] = None,
    fold: Annotated[str | None, typer.Option(help="For casia-nir-vis2: 1 (the default) to 10, or dev.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="How to split: polyu-nirfd, identity-disjoint, vis-nir, vis-nir-one.")
    ] = None,
    draw: Annotated[int | None, typer.Option(min=0, help="Which draw of the protocol. Default: 0.")] = None,
    val_identities: Annotated[
        int | None, typer.Option(help="How many identities to hold out. Default: a fifth.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="The lowest detection score that counts as a face. Default: 0.6.")
    ] = None,
    min_eye_distance: Annotated[
        float, typer.Option(min=0, help="The shortest distance between the eyes, in pixels of the photo.")
    ] = 8.0,
    min_sharpness: Annotated[
        float, typer.Option(min=0, help="The lowest sharpness accepted; 0 accepts everything.")
    ] = 0.01,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Larger photos are refused without being decoded.")
    ] = 64_000_000,
    plugin: Annotated[
        list[Path] | None, typer.Option(help="A Python file with a layout of your own. Repeatable.")
    ] = None,
) -> None:
    """Turn photos into aligned face crops: images.csv, failures.csv and a contact sheet to look at."""
    from facexfer.data.layouts import LAYOUTS
    from facexfer.data.preparation.photo_set import prepare as make_crops
    from facexfer.plugins import load_plugins

    if size not in _SIZES:
        raise InputError(f"expected --size {' or '.join(_SIZES)} (height x width), got '{size}'; choose one")
    load_plugins(plugin or ())
    with progress_bar() as bar:
        task = bar.add_task("photos", total=None)
        made = make_crops(
            photos, out, layout=layout, detector=detector, landmarks=landmarks, pre_cropped=pre_cropped,
            size=_SIZES[size], choose=choose, jobs=jobs, modality=modality, identity_regex=identity_regex, fold=fold,
            protocol=protocol, draw=draw, val_identities=val_identities, min_score=min_score,
            min_eye_distance=min_eye_distance, min_sharpness=min_sharpness, max_pixels=max_pixels,
            advance=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    for line in _lines(made.summary):
        typer.echo(" ".join(line.split()))
    if LAYOUTS[layout].note:
        typer.echo(f"note: {LAYOUTS[layout].note}")
    if not made.summary["crops"]:
        raise RunError(
            f"{out}: expected at least one crop, got none of {made.summary['photos']} photos; see failures.csv"
        )
    typer.echo(f"Look at {made.contact_sheet} before you rely on the crops.")


def progress_bar() -> Any:
    """Make the bar of a command that goes through pictures; it is shown on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True),
    )  # fmt: skip


def _lines(summary: dict[str, Any]) -> list[str]:
    from facexfer.data.failures import UNKNOWN

    people = {name: each for name, each in summary["per_identity"].items() if name != UNKNOWN}
    lines = [
        f"{summary['crops']:,} crops of {summary['photos']:,} photos, {summary['identities']:,} identities, "
        f"{len(summary['identities_without_crop'])} without any crop"
    ]
    lines += [f"failed: {count:,} {reason}" for reason, count in summary["failures"].items()]
    lines += [f"found at a second look: {count:,} {retry}" for retry, count in summary["retries"].items()]
    worst = sorted(people.items(), key=lambda each: (each[1]["crops"] - each[1]["photos"], each[0]))
    short = [(name, each["crops"], each["photos"]) for name, each in worst if each["crops"] < each["photos"]]
    if short:
        more = f" and {len(short) - _MOST_SHOWN} more in summary.json" if len(short) > _MOST_SHOWN else ""
        name, crops, photos = short[0]
        first = f"{name} ({counted(crops, 'crop')} of {counted(photos, 'photo')})"
        others = [f"{name} ({crops} of {photos})" for name, crops, photos in short[1:_MOST_SHOWN]]
        lines.append(f"without some crops: {', '.join([first, *others])}{more}")
    if summary["bits"]:
        lines.append(_bits(summary["bits"]))
    if summary["several_faces"]:
        lines.append(f"several faces: {summary['several_faces']:,} photos")
    lines += [f"duplicates: {count:,} groups of {kind}" for kind, count in summary["duplicates"].items()]
    several = summary["pictures_under_several_identities"]
    lines += [
        f"one picture under {' and '.join(each['identities'])}: {', '.join(each['photos'])}"
        for each in several[:_MOST_SHOWN]
    ]
    if len(several) > _MOST_SHOWN:
        lines.append(f"and {len(several) - _MOST_SHOWN} more pictures under several identities in duplicates.csv")
    if "split" in summary:
        split = summary["split"]
        lines.append(f"split {split['name']}: {split['identities']}, fingerprint {split['fingerprint'][:16]}")
        if kept := split.get("kept"):
            lines.append(f"{len(kept):,} identities stay in the split of an earlier run; a new draw would move them")
    if left := summary["crops_without_photo"]:
        lines.append(
            f"of photos that are not there any more: {counted(len(left), 'crop')}, such as {left[0]}; they stay until "
            "you delete them (crops_without_photo in summary.json)"
        )
    if summary["files_not_looked_at"]:
        lines.append(f"not looked at, by suffix: {summary['files_not_looked_at']}")
    return lines


def _bits(depths: dict[str, int]) -> str:
    """How photos of more than 8 bits were read: bits -> photos."""
    total = sum(depths.values())
    deep = f"{counted(total, 'photo')} {'has' if total == 1 else 'have'} more than 8 bits per channel"
    if len(depths) == 1:
        return f"{deep}; {'it was' if total == 1 else 'they were'} read as {next(iter(depths))}-bit"
    counts = ", ".join(f"{count:,} as {bits}-bit" for bits, count in depths.items())
    return f"{deep}; they were read {counts}; not all alike: are they of one camera?"
