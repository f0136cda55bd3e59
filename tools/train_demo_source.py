"""Make the demo's source networks again: draw VIS or NIR faces, train on them, and keep the weights in float16."""

from pathlib import Path
from typing import Annotated, Literal

import torch
import typer

SEED = 7001
"""Of the faces; the demo's own are drawn with another, so the two sets share no people."""


def train_demo_source(
    out: Annotated[Path, typer.Option(help="A new folder for the faces and the run.")] = Path("runs/demo-source"),
    weights: Annotated[Path | None, typer.Option(help="Where the weights go. Default: into the package.")] = None,
    modality: Annotated[Literal["vis", "nir"], typer.Option(help="What the faces are seen in.")] = "vis",
    identities: Annotated[int, typer.Option(help="To train on.")] = 800,
    images: Annotated[int, typer.Option(help="Of each identity.")] = 10,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
) -> None:
    """Train one of the demo's source networks and write its weights, about 0.4 MB."""
    from facexfer.commands.generated_faces import SOURCES
    from facexfer.data.generated.demo_set import write_demo_set
    from facexfer.engine.train import train
    from facexfer.recipe import read_recipe
    from facexfer.runs.folder import load_backbone
    from facexfer.runs.state import write_safetensors

    weights = weights or Path("facexfer/recipes") / SOURCES[modality]
    if not resume:
        write_demo_set(out / "data", identities, 40, images, SEED, (modality,))
    changes = [f"data.manifest={out / 'data' / 'images.csv'}", f"data.modality={modality}"]
    recipe = read_recipe("demo-source", [*changes, f'evaluation.pairs=[{{ probe = "{modality}" }}]'])
    train(recipe, out / "run", resume)
    network = load_backbone(out / "run")
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in network.state_dict().items()
    }
    assert all(torch.isfinite(tensor).all() for tensor in half.values())
    write_safetensors(weights, half, {"backbone": recipe.source.backbone, "recipe": "demo-source"})
    print(f"{weights}: {weights.stat().st_size:,} bytes")


if __name__ == "__main__":
    from facexfer.commands.entry import run_command

    run_command(train_demo_source)
