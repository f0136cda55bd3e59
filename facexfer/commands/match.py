"""``facexfer match``: a bundle in use."""

from pathlib import Path
from typing import Annotated

import typer

from facexfer.commands.outputs import show_unchecked


def match(
    bundle: Annotated[Path, typer.Option(help="A bundle that facexfer export wrote.")],
    photos: Annotated[list[Path] | None, typer.Argument(help="Two photos to compare; the enrolled one first.")] = None,
    detector: Annotated[
        str | None,
        typer.Option(help="YuNet or an InsightFace detector. Without one, photos are taken as aligned crops."),
    ] = None,
    enrol: Annotated[Path | None, typer.Option(help="A folder with one subfolder of photos per person.")] = None,
    identify: Annotated[Path | None, typer.Option(help="Look this photo up among the enrolled people.")] = None,
    far: Annotated[float | None, typer.Option(help="Decide at this FAR. Default: the bundle's own.")] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Embed by the bundle's file for this runtime, such as openvino.")
    ] = None,
) -> None:
    """Compare two photos, or look one up in a folder of people: prints score, threshold and decision."""
    from facexfer.deploy.matching import Matcher, list_people
    from facexfer.errors import InputError

    searching = enrol is not None and identify is not None
    if searching == bool(photos) or (photos and len(photos) != 2) or (enrol is None) != (identify is None):
        raise InputError("expected two photos, or --enrol FOLDER with --identify PHOTO, got something else")
    matcher = Matcher(bundle, detector, runtime)
    show_unchecked(bundle, matcher.unchecked)
    threshold, scope = matcher.threshold(far), ""
    if enrol is not None and identify is not None:
        listed = list_people(enrol)
        depths = matcher.depths_of([entry.source for entry in listed if entry.problem is None], [identify])
        probe, enrolled = matcher.embed(identify, depths), matcher.enrol(listed, enrol, depths)
        for line in enrolled.lines():
            typer.echo(" ".join(line.split()))
        people = enrolled.people
        scores = {name: float(template @ probe) for name, template in people.items()}
        name = max(scores, key=lambda each: scores[each])
        score, yes, no = scores[name], name, f"nobody of {len(people)} enrolled; closest is {name}"
        if (count := len(people)) > 1:
            scope = f" for each of {count} people"
            typer.echo(
                f"at this threshold a stranger may be taken for one of {count} people in up to "
                f"{min(100, 100 * threshold.far * count):.3g} % of attempts; facexfer evaluate --recommend "
                f"--gallery-size {count} finds a threshold for so many",
                err=True,
            )
    else:
        assert photos is not None
        known, seen = photos
        depths = matcher.depths_of([known], [seen])
        first, second = matcher.embed(known, depths, enrolled=True), matcher.embed(seen, depths)
        score, yes, no = float(first @ second), "the same person", "two persons"
    if depths.text:
        typer.echo(f"bits per channel: {depths.text}", err=True)
    decision = yes if threshold.accepts(score) else no
    typer.echo(f"score {score:.4f}, threshold {threshold.score:.4f} (FAR {threshold.far:g}{scope}): {decision}")
