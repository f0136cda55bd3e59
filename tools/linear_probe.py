"""Fit a linear classifier on the source network's embeddings: ``python tools/linear_probe.py RECIPE``.

The network itself is not trained, so this is what training it has to beat. ``--set source.input_size=64`` for smaller
pictures.
"""

from typing import Annotated

import typer


def linear_probe(
    recipe: Annotated[str, typer.Argument(help="A TOML file of an image task, or the name of a packaged recipe.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change one value: section.key=value, or section.key= to take it out. May come again."
        ),
    ] = None,
    inverse_strength: Annotated[
        float, typer.Option("--inverse-strength", min=1e-9, help="scikit-learn's C: smaller holds the weights more.")
    ] = 0.01,
) -> None:
    """Print the top-1 accuracy of logistic regression on the untouched source's standardised embeddings."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from facexfer.data.image_dataset import ImageDataset
    from facexfer.engine.source import make_source
    from facexfer.errors import InputError
    from facexfer.networks.embedding import embed_dataset
    from facexfer.plugins import load_plugins
    from facexfer.recipe import read_recipe
    from facexfer.runtime import make_fabric
    from facexfer.tasks.image import image_set

    read = read_recipe(recipe, settings or [])
    load_plugins(read.plugins)
    if read.task != "image":
        raise InputError(
            f"{recipe}: expected an image recipe, got task {read.task!r}; faces are verified, not classified"
        )
    source = make_source(read.source).to(make_fabric(read.runtime).device)
    size = source.info.input_size
    images = image_set(read)
    train, test = (embed_dataset(source, ImageDataset(part, size, "none")) for part in (images.train, images.test))
    train_labels, test_labels = ([image.label for image in part] for part in (images.train, images.test))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_strength, max_iter=10_000))
    classifier.fit(train.numpy(), train_labels)
    accuracy = classifier.score(test.numpy(), test_labels)
    print(
        f"linear probe of {read.source.backbone} at {size[1]}x{size[0]} pixels: top-1 {100 * accuracy:.1f} %, "
        f"{len(train_labels)} pictures to train on, {len(test_labels)} to test, {len(images.classes)} classes"
    )


if __name__ == "__main__":
    from facexfer.commands.entry import run_command

    run_command(linear_probe)
