"""``facexfer demo``: every step once, on people who do not exist."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from facexfer.commands.generated_faces import copy_source
from facexfer.errors import InputError

if TYPE_CHECKING:
    from facexfer.eval.verification import OperatingPoint
    from facexfer.measure.transfers import NetworkFindings

_FARS = (1e-2, 1e-3)
_RECIPES = ("demo-l2", "demo-afa", "demo-csd")
_SOURCE, _PLAIN, _AFA, _CSD = "source, untouched", "plain fine-tuning", "AFA", "CSD"
_EXPECTED = {
    _SOURCE: "Good within VIS, poor within NIR, and it hardly matches NIR probes to a VIS gallery.",
    _PLAIN: "Gains a lot within NIR, loses within VIS, and still hardly matches NIR probes to a VIS gallery.",
    _AFA: "Not distinguishable from plain fine-tuning within NIR; loses a little less within VIS.",
    _CSD: "Gains as much within NIR, keeps most of VIS, and is the one that matches NIR probes to a VIS gallery.",
}
_HEADS = {"vis": "VIS - VIS", "nir": "NIR - NIR", "vis-nir": "VIS - NIR"}


def demo(
    out: Annotated[
        Path | None, typer.Option(help="A new folder for everything; default: runs/demo, runs/demo-2, ...")
    ] = None,
    train_people: Annotated[int, typer.Option(help="People to train on.", min=2)] = 60,
    val_people: Annotated[int, typer.Option(help="Other people to measure on.", min=2)] = 40,
    shots: Annotated[int, typer.Option(help="Pictures per person and camera.", min=2)] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the faces and of the training.", min=0, max=2**32 - 1)] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of every recipe: section.key=value; section.key= takes it out."),
    ] = None,
) -> None:
    """See it all once without any data: draw faces, adapt a small network, measure, export, write a report."""
    console = Console(highlight=False, soft_wrap=True)
    _check_recipes(settings or [], train_people, shots)
    folder = _new_folder(out)
    started = time.monotonic()
    console.print("[bold]What this shows:[/] a face network that was trained in visible light (VIS) is poor in near")
    console.print("infrared (NIR). Three ways of adapting it with few NIR pictures: what each gains there, and what it")
    console.print("loses in VIS. CSD, cross-spectral distillation, is this project's own; it reads no identity.\n")
    with _step(console, 1, "Drawing people who do not exist, each seen by a VIS and by a NIR camera at once."):
        manifest = _draw(console, folder, (train_people, val_people), shots, seed)
    source = folder / "source.safetensors"
    copy_source(source)
    common = [f"data.manifest={manifest}", f"source.weights={source}", f"seed={seed}", *(settings or [])]
    with _step(console, 2, "Plain fine-tuning on NIR pictures, the usual way: what the others have to beat."):
        _train(_RECIPES[0], common, folder / "plain")
    with _step(console, 3, "AFA: stage I holds attended positions near the source, stage II attended channels."):
        _train(_RECIPES[1], common, folder / "afa")
    with _step(console, 4, "CSD: each NIR picture goes where the source puts the VIS picture of the same shot."):
        _train(_RECIPES[2], common, folder / "csd")
    with _step(console, 5, "Measuring all networks on people that none of them has seen."):
        findings = _measure(folder, source)
        console.print(_as_table(findings))
        console.print("VIS - NIR: a gallery of VIS pictures, probes in NIR; no shot is compared with itself.\n")
        console.print(
            "[bold]What to look for[/]", *(f"    {name}: {text}" for name, text in _EXPECTED.items()), sep="\n"
        )
        console.print(*_verdicts(findings), sep="\n")
    with _step(console, 6, "Exporting the CSD network to ONNX, and measuring the exported file on the same NIR pairs."):
        exported = _export(folder, findings)
        console.print(exported, markup=False)
    with _step(console, 7, "Writing the page."):
        took = time.monotonic() - started
        _write_page(folder, findings, {"seed": seed, "export": exported, "seconds until the page": round(took)})
    console.print(_files(folder), soft_wrap=True)
    console.print(f"Done in {time.monotonic() - started:.0f} s.")


def _check_recipes(settings: list[str], people: int, shots: int) -> None:
    """Check every recipe as its training will, so that what is wrong is named before anything is drawn."""
    from facexfer.engine.train import check_recipe
    from facexfer.recipe import read_recipe

    for name in _RECIPES:
        # The files are not there yet, and are not looked for.
        recipe = read_recipe(name, ["data.manifest=images.csv", "source.weights=source.safetensors", *settings])
        check_recipe(recipe)
        data, batch = recipe.data, recipe.optimizer.batch_size
        cameras = 1 if isinstance(data.modality, str) else len(data.modality)
        images = min(people, data.train_identities or people) * min(shots, data.images_per_identity or shots) * cameras
        if images < batch:
            raise InputError(
                f"expected at least one batch of {batch} images to train on, got {images} ({people} people, {shots} "
                f"shots each); raise --train-people or --shots, or add --set optimizer.batch_size={images}"
            )


def _new_folder(out: Path | None) -> Path:
    """Make the folder; earlier demos stay untouched."""
    if out is not None and out.exists():
        raise InputError(f"{out}: expected a new folder, it already exists; remove it or give another --out")
    folder, number = out or Path("runs/demo"), 1
    while folder.exists():
        number += 1
        folder = Path(f"runs/demo-{number}")
    folder.mkdir(parents=True)
    return folder


@contextmanager
def _step(console: Console, number: int, what: str) -> Iterator[None]:
    started = time.monotonic()
    console.print(f"[bold]{number}/7[/] {what}")
    yield
    console.print(f"    [dim]{time.monotonic() - started:.0f} s[/]\n")


def _draw(console: Console, folder: Path, people: tuple[int, int], shots: int, seed: int) -> Path:
    from facexfer.data.generated.demo_set import write_demo_set

    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TextColumn("people"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=sum(people))
        drawn: Callable[[], None] = lambda: bar.advance(task)  # noqa: E731
        manifest = write_demo_set(folder / "data", *people, shots, seed, drawn=drawn)
    console.print(
        f"    {people[0]} people to train on, {people[1]} others to measure on, in {folder / 'data'}", markup=False
    )
    return manifest


def _train(recipe: str, settings: list[str], run: Path) -> None:
    from facexfer.engine.train import train
    from facexfer.recipe import read_recipe

    train(read_recipe(recipe, settings), run, resume=False)


def _measure(folder: Path, source: Path) -> "NetworkFindings":
    from facexfer.data.manifest import read_manifest
    from facexfer.measure.embedder import load
    from facexfer.measure.transfers import measure_networks
    from facexfer.recipe import read_recipe

    recipe = read_recipe(folder / "afa" / "recipe.toml")
    networks = {
        _SOURCE: load(source, recipe.source.backbone),
        _PLAIN: load(folder / "plain"),
        _AFA: load(folder / "afa"),
        _CSD: load(folder / "csd"),
    }
    assert recipe.data.manifest is not None
    images = read_manifest(recipe.data.manifest).select(split=recipe.data.val_split)
    return measure_networks(networks, images, _FARS, ((_CSD, _SOURCE), (_CSD, _PLAIN), (_CSD, _AFA)))


def _as_table(findings: "NetworkFindings") -> Table:
    table = Table(title="TAR in %, with its 95 % CI (by identity)", title_justify="left", box=None)
    names = list(next(iter(findings.measured.values())))
    for name in ("pairs", "FAR", *names):
        table.add_column(name, no_wrap=True, justify="left" if name in ("pairs", "FAR") else "right")
    for comparison, networks in findings.measured.items():
        for number, far in enumerate(findings.fars):
            cells = [_rate_with_interval(networks[name].points[number]) for name in names]
            table.add_row(_HEADS[comparison], f"{far:g}", *cells)
    return table


def _verdicts(findings: "NetworkFindings") -> list[str]:
    lines = []
    for (new, old, comparison), of_far in findings.differences.items():
        difference = of_far[0]
        if difference is not None:
            verdict = "significant" if difference.significant else "not significant"
            lines.append(
                f"    {new} against {old}, {_HEADS[comparison]}, FAR {difference.far:g}: "
                f"{100 * difference.difference:+z.2f} points, {verdict}"
            )
    return lines


def _export(folder: Path, findings: "NetworkFindings") -> str:
    from facexfer.data.manifest import read_manifest
    from facexfer.deploy.onnx_export import export_onnx
    from facexfer.measure.embedder import load
    from facexfer.measure.pair_sets import verify
    from facexfer.runs.folder import load_backbone

    model = folder / "model.onnx"
    difference = export_onnx(load_backbone(folder / "csd"), model)
    images = read_manifest(folder / "data" / "images.csv").select(split="val")
    exported = verify(load(model), images, findings.fars[:1], "nir", None)[0].tar
    trained = findings.measured["nir"][_CSD].points[0].tar
    return (
        f"{model}: embeddings within {difference:.1g} of torch's; NIR - NIR at FAR {findings.fars[0]:g}: "
        f"{_percent(exported)} (in torch {_percent(trained)})"
    )


def _write_page(folder: Path, findings: "NetworkFindings", facts: dict[str, Any]) -> None:
    from facexfer.data.manifest import read_manifest
    from facexfer.recipe import read_recipe
    from facexfer.reports.transfer_page import Shown, write_transfer_page
    from facexfer.runs.folder import RunFolder, load_backbone
    from facexfer.runtime import describe_environment

    runs = {_PLAIN: folder / "plain", _AFA: folder / "afa", _CSD: folder / "csd"}
    for name, run in runs.items():
        recipe = read_recipe(RunFolder(run).recipe_file)
        facts[name] = recipe.model_dump(mode="json", include={"method", "optimizer", "head"}, exclude_none=True)
    shown = Shown(
        "From visible light to near infrared, on people who do not exist",
        "Every face on this page was drawn by formulas; the figures say how the tools work, not how good they are on "
        "real faces.",
        _EXPECTED,
        read_manifest(folder / "data" / "images.csv").select(split="val"),
        runs,
        {**facts, "environment": describe_environment(load_backbone(folder / "afa"))},
    )
    write_transfer_page(folder, findings, shown)


def _files(folder: Path) -> str:
    place: Callable[[str], str] = lambda name: escape(str(folder / name))  # noqa: E731
    return f"""[bold]Files[/]
    {place("report.html")}   the page: open it in a browser
    {place("report.json")}   its figures
    {place("csd")}           the run: recipe.toml, metrics.jsonl, model.safetensors
    {place("model.onnx")}    the network to ship: pixels in, embedding out
[bold]Next, with your own data[/]
    facexfer prepare nir-photos --layout folders --detector buffalo_sc --modality nir \\
        --protocol identity-disjoint --out nir
    facexfer prepare vis-photos --layout folders --detector buffalo_sc --modality vis --out vis
    facexfer train nir-csd --set data.manifest=nir/images.csv companions.manifest=vis/images.csv --out runs/mine
    facexfer evaluate --model runs/mine --manifest nir/images.csv --split val --probe nir --report report
    facexfer export --model runs/mine --out model.onnx"""


def _rate_with_interval(point: "OperatingPoint") -> str:
    if not point.supported or point.tar is None or point.tar_ci95 is None:
        return "unsupported"
    low, high = point.tar_ci95
    return f"{100 * point.tar:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def _percent(rate: float | None) -> str:
    return "unsupported" if rate is None else f"{100 * rate:.2f} %"
