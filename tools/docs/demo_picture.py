"""Draw ``docs/demo.png`` from a demo's folder: ``python tools/docs/demo_picture.py runs/demo docs/demo.png``."""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from facexfer.data.images import read_crop
from facexfer.data.manifest import Manifest, read_manifest

_PEOPLE = 8
_FAR = 0.01
_COLOURS = ("#9aa0a6", "#e0a458", "#4c78a8", "#2a9d5c")
_PAIRS = {"nir": "NIR - NIR", "vis-nir": "VIS gallery - NIR probe", "vis": "VIS - VIS"}


def draw(demo: Path, out: Path) -> None:
    """Draw some of the demo's faces in both spectra, above the TAR of its networks with 95 % intervals.

    Args:
        demo: A folder that ``facexfer demo`` has written.
        out: The PNG.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figures = json.loads((demo / "report.json").read_text(encoding="utf-8"))["figures"]
    images = read_manifest(demo / "data" / "images.csv").select(split="val")
    made, (faces, bars) = plt.subplots(2, 1, figsize=(9, 5.6), height_ratios=(1, 1.35), layout="constrained")
    faces.imshow(np.concatenate([_row(images, modality) for modality in ("vis", "nir")]))
    faces.set_yticks((56, 168), ("visible", "infrared"))
    faces.set_xticks(())
    faces.set_title("Generated faces: people who do not exist, seen by two cameras at once", fontsize=10)
    for spine in faces.spines.values():
        spine.set_visible(False)
    for number, name in enumerate(figures["nir"]):
        points = [_point(figures[pairs][name]) for pairs in _PAIRS]
        tars = np.array([100 * point["tar"] for point in points])
        limits = 100 * np.array([point["tar_ci95"] for point in points]).T
        places = np.arange(len(_PAIRS)) + 0.2 * (number - 1.5)
        drawn = bars.bar(
            places, tars, 0.18, yerr=abs(limits - tars), color=_COLOURS[number], ecolor="#555555", capsize=2, label=name
        )
        bars.bar_label(drawn, fmt="%.0f", label_type="center", color="white", fontsize=8)
    bars.set_xticks(range(len(_PAIRS)), list(_PAIRS.values()))
    bars.set_ylim(0, 100)
    bars.set_ylabel(f"TAR in % at FAR {_FAR:g}")
    bars.set_title(
        "What adapting to infrared gains, and what it costs in visible light (95 % CI by identity)", fontsize=10
    )
    bars.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(figures["nir"]), frameon=False, fontsize=9)
    made.savefig(out, dpi=110, metadata={"Software": None})


def _row(images: Manifest, modality: str) -> np.ndarray:
    people = images.select(modality=modality)
    chosen = [people.select(identities={person}).images[0] for person in people.identities[:_PEOPLE]]
    return np.concatenate([read_crop(image.path) for image in chosen], axis=1)


def _point(figures: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(point for point in figures["operating_points"] if point["far"] == _FAR)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw docs/demo.png from a demo's folder.")
    parser.add_argument("demo", type=Path, help="What facexfer demo has written.")
    parser.add_argument("out", type=Path, help="The PNG.")
    arguments = parser.parse_args()
    draw(arguments.demo, arguments.out)
