"""A run becomes a bundle that passes the gate, is verified again, and matches photos."""

import json

import pytest
from small_faces import write_small_set
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.errors import InputError, RunError
from facexfer.tasks import gate


def run(*words):
    result = CliRunner().invoke(app, list(map(str, words)))
    if isinstance(result.exception, (InputError, RunError)):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from facexfer.recipe import parse_recipe
    from facexfer.training import train

    folder = tmp_path_factory.mktemp("bundle")
    manifest = write_small_set(folder)
    values = {
        "source": {"backbone": "mobilefacenet_slim"},
        "data": {"manifest": str(manifest)},
        "method": {"name": "l2"},
        "optimizer": {"iterations": 2, "batch_size": 8},
        "evaluation": {"fars": [0.1], "untouched": False},
        "runtime": {"accelerator": "cpu"},
    }
    train(parse_recipe(values, "test"), folder / "run", resume=False)
    return folder


@pytest.mark.slow
def test_the_way_of_a_bundle(trained, monkeypatch):
    with monkeypatch.context() as changed:
        changed.setitem(gate.LARGEST_DIFFERENCE, "fp32", -1.0)
        with pytest.raises(RunError, match="expected fp32 embeddings within -1 of the run's, .* there is no bundle"):
            run("export", "--model", trained / "run", "--out", trained / "b")
        assert not (trained / "b").exists()
    shown = run("export", "--model", trained / "run", "--out", trained / "b")
    assert "fp32:" in shown
    assert "FAR 0.1: TAR" in shown
    contract = json.loads((trained / "b" / "model.json").read_text())
    assert contract["evaluation"]["operating_points"][0]["supported"]
    assert (trained / "b" / "report" / "report.html").is_file()
    assert "as it was measured" in run("verify-bundle", trained / "b", "--manifest", trained / "images.csv")
    crops = sorted((trained / "nir" / "p0").iterdir())
    same = run("match", crops[0], crops[0], "--bundle", trained / "b")
    assert same.startswith("score 1.0000")
    found = run("match", "--bundle", trained / "b", "--enrol", trained / "nir", "--identify", crops[1])
    assert "threshold" in found
    with pytest.raises(InputError, match="expected two photos, or --enrol FOLDER with --identify PHOTO"):
        run("match", crops[0], "--bundle", trained / "b")
    with pytest.raises(InputError, match="expected a new folder, it is there already"):
        run("export", "--model", trained / "run", "--out", trained / "b")
    (trained / "b" / "model.onnx").write_bytes(b"other")
    with pytest.raises(RunError, match="its SHA-256 is another"):
        run("verify-bundle", trained / "b", "--manifest", trained / "images.csv")


def test_bad_words(trained):
    with pytest.raises(InputError, match="unknown precision 'fp8'"):
        run("export", "--model", trained / "run", "--out", trained / "c", "--precision", "fp8")
    with pytest.raises(InputError, match="expected a bundle with model.json"):
        run("verify-bundle", trained / "run", "--manifest", trained / "images.csv")
