"""``facexfer delta-weights``: how much a task needs each channel of the source network."""

import csv
import io
from pathlib import Path
from typing import Annotated

import typer


def delta_weights(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a packaged recipe.")],
    out: Annotated[
        Path, typer.Option(help="The folder to write into; a later train into the same folder uses the weights.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change a value of the recipe: section.key=value; section.key= takes it out. Takes several."
        ),
    ] = None,
) -> None:
    """Measure DELTA's channel weights: train the head alone, then measure how the loss rises without each channel."""
    from facexfer.engine.companions import ShownImages, shows_companions
    from facexfer.engine.knowledge import SourceKnowledge
    from facexfer.engine.source import make_source, revive_source, settle_source
    from facexfer.engine.train import check_recipe
    from facexfer.errors import InputError
    from facexfer.files.atomic import write_text
    from facexfer.files.folders import check_not_read, make_folder
    from facexfer.recipe import read_recipe
    from facexfer.runs.folder import RunFolder
    from facexfer.runs.origin import files_of
    from facexfer.runtime import make_fabric, memory_format, seed_everything, weights_dtype
    from facexfer.tasks import TASKS
    from facexfer.transfer.channel_weights import weights_from_rises
    from facexfer.transfer.taps import map_shapes

    read = read_recipe(recipe, settings or [])
    stages = check_recipe(read)
    run = RunFolder(out)
    table = run.channel_file.with_suffix(".csv")
    for file in (run.channel_file, table):
        check_not_read(file, [Path(recipe), *files_of(read)], "in the folder after --out", "name another folder")
    if run.recipe_file.exists():
        run.check_resumable(read)
    if not stages:
        raise InputError(
            f"expected a method that taps layers, such as delta, got {read.method.name}; change the recipe"
        )
    stage = stages[-1]
    seed_everything(read.seed)
    source = make_source(read.source)
    task = TASKS[read.task](read, source.info)
    # As training has it, or a later run into the same folder would measure the weights again.
    source = source.to(make_fabric(read.runtime).device, weights_dtype(read.runtime))
    source = source.to(memory_format=memory_format(read.runtime))
    layers = read.method.layers or source.info.layers(stage.taps)
    map_shapes(source, layers, source.info.input_size)
    make_folder(out)
    shown = ShownImages(task) if shows_companions(read) else None
    # A source that sees companions keeps the statistics that it came with.
    (settle_source if shown is None else revive_source)(source, read.source, task, typer.echo)
    rises = SourceKnowledge(read, run, task, source, shown).channel_rises(layers)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["layer", "channel", "rise", "weight"])
    for layer, of_layer in zip(layers, rises, strict=True):
        weights = weights_from_rises(of_layer)
        pairs = zip(of_layer.tolist(), weights.tolist(), strict=True)
        writer.writerows([layer, channel, *pair] for channel, pair in enumerate(pairs))
        size = len(weights)
        typer.echo(
            f"{layer}: {size} channels, weights {size * weights.min():.2f} to {size * weights.max():.2f} times the mean"
        )
    write_text(table, text.getvalue())
    typer.echo(f"{run.channel_file}\n{table}")
