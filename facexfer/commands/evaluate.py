"""``facexfer evaluate``: TAR at FAR of a model, of anybody's embeddings, or of anybody's scores."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from facexfer.errors import InputError
from facexfer.eval.arrays import read_array
from facexfer.eval.tables import points_to_json
from facexfer.eval.verification import OperatingPoint, tar_at_far

_DEFAULT_FARS = [1e-2, 1e-3, 1e-4]


def evaluate(
    model: Annotated[Path | None, typer.Option(help="A run folder, an ONNX file, or weights with --backbone.")] = None,
    backbone: Annotated[str | None, typer.Option(help="The network's name, for foreign weights.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="The images' manifest.")] = None,
    split: Annotated[str | None, typer.Option(help="Take this split of the manifest.")] = None,
    probe: Annotated[str | None, typer.Option(help="Modality of the probes; alone: pairs within it.")] = None,
    gallery: Annotated[str | None, typer.Option(help="Modality of the gallery.")] = None,
    embeddings: Annotated[Path | None, typer.Option(help="Embeddings (N, D), .npy.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Their labels (N,), .npy.")] = None,
    gallery_embeddings: Annotated[Path | None, typer.Option(help="Compare with these (G, D) instead, .npy.")] = None,
    gallery_labels: Annotated[Path | None, typer.Option(help="Their labels (G,), .npy.")] = None,
    scores: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Genuine and impostor scores, two .npy files.")
    ] = None,
    far: Annotated[list[float] | None, typer.Option(help="False accept rates, as fractions.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
) -> None:
    """Measure TAR at FAR over all pairs, exactly: of a model, of embeddings, or of scores."""
    fars = far or _DEFAULT_FARS
    sources = {"--model": model, "--embeddings": embeddings, "--scores": scores}
    given = [option for option, value in sources.items() if value is not None]
    if len(given) != 1:
        raise InputError(f"expected one of {', '.join(sources)}, got {' and '.join(given) or 'none'}; choose one")
    about: dict[str, Any] = {}
    if scores is not None:
        points = tar_at_far(read_array(scores[0]), read_array(scores[1]), fars)
    elif embeddings is not None:
        points = _of_embeddings(embeddings, labels, gallery_embeddings, gallery_labels, fars)
    else:
        assert model is not None
        points, about = _of_model(model, backbone, manifest, split, probe, gallery, fars)
    result = {**points_to_json(points), **about}
    if json_file is not None:
        _write_json(json_file, result)
    _show(points)


def _of_embeddings(
    embeddings: Path,
    labels: Path | None,
    gallery_embeddings: Path | None,
    gallery_labels: Path | None,
    fars: Sequence[float],
) -> tuple[OperatingPoint, ...]:
    from facexfer.eval.scores import all_pairs, gallery_probe_pairs

    if labels is None or (gallery_embeddings is None) != (gallery_labels is None):
        raise InputError("expected labels beside embeddings, one file is missing; give --labels or --gallery-labels")
    vectors, names = read_array(embeddings), read_array(labels)
    if gallery_embeddings is None or gallery_labels is None:
        return all_pairs(vectors, names, fars)
    return gallery_probe_pairs(read_array(gallery_embeddings), read_array(gallery_labels), vectors, names, fars)


def _of_model(
    model: Path,
    backbone: str | None,
    manifest: Path | None,
    split: str | None,
    probe: str | None,
    gallery: str | None,
    fars: Sequence[float],
) -> tuple[tuple[OperatingPoint, ...], dict[str, Any]]:
    from facexfer.data.manifest import read_manifest
    from facexfer.tasks.embedder import open_embedder
    from facexfer.tasks.verification import verify

    if manifest is None:
        raise InputError("expected --manifest beside --model, got none; name the CSV that lists the crops")
    images = read_manifest(manifest).select(split=split)
    embedder = open_embedder(model, backbone)
    comparison = verify(embedder, images, fars, probe, gallery)
    about = {
        "comparison": comparison.name,
        "split": split,
        "model": {"name": embedder.name, "sha256": embedder.fingerprint},
        "data": {"images": len(images.images), "sha256": images.fingerprint()},
    }
    return comparison.points, about


def _write_json(path: Path, result: dict[str, Any]) -> None:
    from facexfer.runs import write_text

    if not path.parent.is_dir():
        raise InputError(f"{path}: expected an existing folder, {path.parent} is none; make it first")
    write_text(path, json.dumps(result, indent=2) + "\n")


def _show(points: Sequence[OperatingPoint]) -> None:
    table = Table("FAR", "TAR", "95 % interval", "threshold", "achieved FAR")
    for point in points:
        if point.supported and point.tar_ci95 is not None:
            low, high = point.tar_ci95
            table.add_row(
                f"{point.far:g}",
                f"{100 * (point.tar or 0):.2f} %",
                f"{100 * low:.2f} to {100 * high:.2f} %",
                f"{point.threshold:.4f}",
                f"{point.achieved_far:.3g}",
            )
        else:
            table.add_row(f"{point.far:g}", "unsupported", "", "", "")
    console = Console()
    console.print(
        f"{points[0].genuine_pairs:,} genuine and {points[0].impostor_pairs:,} impostor pairs", highlight=False
    )
    console.print(table)
    for point in points:
        if not point.supported:
            console.print(point.remark, highlight=False)
