"""``facexfer demo``: the whole way once, on generated data."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="A new folder for data, run and ONNX file.")] = Path("runs/demo"),
    iterations: Annotated[int, typer.Option(help="Optimizer steps.")] = 40,
) -> None:
    """Try the whole way on generated patterns: transfer with AFA, measure, export, measure the exported file."""
    from facexfer.data.demo_faces import write_demo_set
    from facexfer.data.manifest import read_manifest
    from facexfer.deploy.onnx_export import export_onnx
    from facexfer.errors import InputError
    from facexfer.recipe import parse_recipe
    from facexfer.runs import load_backbone
    from facexfer.tasks.embedder import open_embedder
    from facexfer.tasks.verification import verify
    from facexfer.training import train

    if out.exists():
        raise InputError(f"{out}: expected a new folder, it is there already; remove it or give another --out")
    typer.echo(f"Drawing 36 generated identities in VIS and NIR under {out / 'data'} (patterns, not faces).")
    manifest = write_demo_set(out / "data")
    typer.echo("Transferring a MobileFaceNet with AFA. Its weights start random: see the README for real ones.")
    values = {
        "source": {"backbone": "mobilefacenet"},
        "data": {"manifest": str(manifest)},
        "head": {"scale": 16.0, "margin": 0.1},
        "method": {"name": "afa", "spatial_alpha": 1e-5, "channel_alpha": 1e-5},
        "optimizer": {"iterations": iterations, "batch_size": 16, "learning_rate": 0.05},
        "evaluation": {
            "fars": [0.01],
            "every_epochs": 2,
            "pairs": [{"probe": "nir"}, {"gallery": "vis", "probe": "nir"}],
        },
    }
    train(parse_recipe(values, "demo"), out / "run", resume=False)
    typer.echo("Exporting, and measuring the exported file on the same pairs.")
    export_onnx(load_backbone(out / "run"), out / "model.onnx")
    images = read_manifest(manifest).select(split="val")
    points = verify(open_embedder(out / "model.onnx"), images, [0.01], "nir", None)
    typer.echo(f"{out / 'model.onnx'}: TAR {100 * (points[0].tar or 0):.2f} % at FAR 0.01, NIR against NIR")
    typer.echo(
        f"Next: facexfer train RECIPE --out RUN, with your own manifest; {out / 'run' / 'recipe.toml'} is a start."
    )
