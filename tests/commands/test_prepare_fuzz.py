"""Damaged files of every form through the whole command: each is a crop or a row that says why not."""

import csv
from pathlib import Path

import numpy as np
import pytest
from photo_files import POINTS, damaged, every_form
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.data.images import read_rgb
from facexfer.data.manifest import LANDMARKS, read_manifest


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_every_damaged_file_is_a_crop_or_a_failure(tmp_path: Path, jobs: int) -> None:
    generator = np.random.default_rng(jobs)
    folder = tmp_path / "set" / "a"
    folder.mkdir(parents=True)
    points = ",".join(f"{value:.3f}" for value in POINTS.ravel())
    names = []
    for form, data in every_form(seed=jobs).items():
        for number in range(7):
            names.append(f"a/{number}-{form}")
            # The first is whole, so that a form that cannot be read at all is seen.
            (tmp_path / "set" / names[-1]).write_bytes(damaged(data, generator) if number else data)
    table = tmp_path / "landmarks.csv"
    table.write_text("\n".join([f"path,{','.join(LANDMARKS)}", *(f"{name},{points}" for name in names)]) + "\n")
    out = tmp_path / "out"
    words = ["prepare", tmp_path / "set", "--layout", "folders", "--landmarks", table, "--out", out, "--jobs", jobs]
    result = CliRunner().invoke(app, [*map(str, words), "--max-pixels", "1000000", "--min-sharpness", "0"])
    assert result.exception is None, result.output
    crops = {image.extra["photo"]: image.path for image in read_manifest(out / "images.csv").images}
    with (out / "failures.csv").open(newline="") as file:
        failures = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert sorted([*crops, *failures]) == sorted(names)
    assert {name for name in names if name.startswith("a/0-")} <= set(crops)
    assert all(read_rgb(path).shape == (112, 112, 3) for path in crops.values())
    assert set(failures.values()) <= {
        "not-an-image", "damaged-image", "too-many-pixels", "several-frames", "picture-too-small",
        "landmarks-out-of-frame", "empty-file",
    }  # fmt: skip
