"""The linear probe as a program, on real pictures and the real network."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from shared_data import shared
from small_pictures import write_pictures

from facexfer.errors import InputError

TOOL = Path(__file__).resolve().parents[2] / "tools" / "linear_probe.py"


@pytest.mark.slow
def test_ants_and_bees_are_told_apart_without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_SHARED", str(shared("classification/hymenoptera_data").parents[1]))
    words = [sys.executable, str(TOOL), "hymenoptera-l2", "--set", "source.input_size=64"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = re.search(
        r"at 64x64 pixels: top-1 ([\d.]+) %, 243 pictures to train on, 153 to test, 2 classes", done.stdout
    )
    # By chance alone, two thirds right has p < 1e-4 with 153 pictures of two even classes.
    assert 66 < float(found[1]) < 85


@pytest.mark.slow
def test_a_data_set_of_a_plugin_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    root = write_pictures(tmp_path / "pictures")
    (tmp_path / "mine.py").write_text(
        "from facexfer.data.datasets import DATASETS\nDATASETS.add('mine_of_the_probe', DATASETS['folders'])\n"
    )
    (tmp_path / "mine.toml").write_text(
        'task = "image"\nplugins = ["mine.py"]\n[source]\nbackbone = "mobilenet_v2"\ninput_size = 32\n'
        f'[data]\ndataset = "mine_of_the_probe"\nroot = "{root}"\n[head]\nname = "linear"\n'
        '[method]\nname = "l2"\n[optimizer]\niterations = 1\nbatch_size = 4\n[runtime]\naccelerator = "cpu"\n'
    )
    runpy.run_path(str(TOOL))["linear_probe"](str(tmp_path / "mine.toml"))
    assert "8 pictures to train on, 4 to test, 2 classes" in capsys.readouterr().out


def test_a_face_recipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_SHARED", "nowhere")
    with pytest.raises(InputError, match="nirsim-l2: expected an image recipe, got task 'face'; faces are verified"):
        runpy.run_path(str(TOOL))["linear_probe"]("nirsim-l2")
