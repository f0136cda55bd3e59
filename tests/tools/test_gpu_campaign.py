"""The GPU campaign, tiny and on a CPU, so that nothing of it breaks for the first time where time is short."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_faces import write_small_set

TOOL = Path(__file__).resolve().parents[2] / "tools" / "gpu_campaign.py"
RECIPE = """
[source]
backbone = "mobilefacenet_slim"
[data]
manifest = "{manifest}"
[method]
name = "l2"
[optimizer]
iterations = 1
batch_size = 4
[evaluation]
# With four pictures a last bit decides about any other, and a run far below its source counts as broken.
fars = [1.0]
untouched = false
[runtime]
accelerator = "cpu"
"""


def campaign(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), "--device", "cpu", "--smoke", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_tiny_campaign_runs_whole_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    manifest = write_small_set(tmp_path / "faces", train=2, val=2, images=2)
    (tmp_path / "recipe.toml").write_text(RECIPE.format(manifest=manifest))
    (tmp_path / "grid.toml").write_text(
        f'[[cells]]\nname = "a"\nrecipe = "{tmp_path}/recipe.toml"\nseeds = [0, 1]\n'
        f'[[cells]]\nname = "b"\nrecipe = "{tmp_path}/recipe.toml"\nsettings = ["method.name=none"]\nseeds = [0]\n'
    )
    out = tmp_path / "out"
    words = ("--out", str(out), "--grid", str(tmp_path / "grid.toml"), "--side-by-side", "1")
    done = campaign(*words)
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "campaign.json").read_text())
    figures = record["figures"]
    assert record["smoke"]
    assert set(figures) == {"fast", "big", "channels", "correct", "true"}
    failed = {f"{phase}/{name}": each for phase in figures for name, each in figures[phase].items() if "error" in each}
    assert list(failed) == ["true/b / seed 0"], failed
    assert "unknown method 'none'" in failed["true/b / seed 0"]["error"]
    assert figures["true"]["a / seed 1"]["steps"] == 1
    assert "a (2): " in done.stdout
    # What is there is not measured again, what has failed is.
    again = campaign(*words, "--only", "big", "true")
    assert "true / b / seed 0: error" in again.stdout
    assert "true / a" not in again.stdout
    assert "big /" not in again.stdout


def test_without_a_gpu_it_says_how_to_try(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, TOOL, "--out", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected a GPU, found none; --device cpu --smoke tries the campaign without" in done.stderr


@pytest.mark.parametrize(
    ("known", "theirs"),
    [({"smoke": False}, "--device cpu"), ({"smoke": True, "device": "cuda"}, "--device cuda --smoke")],
)
def test_figures_of_another_kind_are_not_taken_for_its_own(
    tmp_path: Path, known: dict[str, object], theirs: str
) -> None:
    text = json.dumps({**known, "figures": {}})
    (tmp_path / "campaign.json").write_text(text)
    done = campaign("--out", str(tmp_path), "--only", "big")
    assert done.returncode == 2
    assert f"expected figures of --device cpu --smoke, got those of {theirs}; name another --out" in done.stderr
    assert (tmp_path / "campaign.json").read_text() == text
