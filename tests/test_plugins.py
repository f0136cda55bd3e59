"""What one file adds: a method, a backbone, a head, an augmentation, a layout; by a recipe, a grid or an option."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_faces import write_small_set

from facexfer.cli import main
from facexfer.comparison.cells import run_cells
from facexfer.comparison.grid import check_methods, read_grid
from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.heads import check_head
from facexfer.plugins import load_plugins
from facexfer.recipe import read_recipe
from facexfer.runs.folder import RunFolder, load_backbone
from facexfer.transfer.methods import create

EVERYTHING = """
import albumentations as A
from torch import nn

from facexfer import Stage, Term, WeightedTerm, register_method
from facexfer.backbones import BACKBONES
from facexfer.data.augmentation import PRESETS
from facexfer.heads import HEADS, LinearHead


class Confidence(Term):
    def forward(self, passes):
        return passes.logits.logsumexp(dim=1).mean()


@register_method("confident_N")
def confident(alpha: float = 0.1):
    return (Stage("confident_N", (WeightedTerm("confidence", alpha, lambda setting: Confidence()),)),)


@BACKBONES.register("mine_N")
def mine():
    return BACKBONES["mobilefacenet_slim"]()


@PRESETS.register("turned_N")
def turned():
    return [A.Rotate(5)]


@HEADS.register("scaled_N")
class ScaledHead(LinearHead):
    def __init__(self, embedding_size, classes, scale=2.0):
        super().__init__(embedding_size, classes)
        self.scale = scale

    def forward(self, embeddings, labels):
        return self.scale * super().forward(embeddings, labels)
"""

RECIPE = """
plugins = ["mine.py"]
[source]
backbone = "mine_N"
[data]
manifest = "{manifest}"
augmentation = "turned_N"
[head]
name = "scaled_N"
scale = 3.0
[method]
name = "confident_N"
alpha = 0.2
[optimizer]
iterations = 1
batch_size = 4
[evaluation]
fars = [0.1]
untouched = false
[runtime]
accelerator = "cpu"
log_every_steps = 1
"""

UNTAPPED = """
from torch import nn

from facexfer import create_backbone
from facexfer.backbones import BACKBONES


@BACKBONES.register("untapped")
def untapped():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return create_backbone(layers, mean=127.5, scale=1 / 127.5)
"""

PARTS = """
import torch
from torch import nn

from facexfer import create_backbone, register_method
from facexfer.backbones import BACKBONES, BackboneInfo, BackboneModule
from facexfer.data.augmentation import PRESETS
from facexfer.heads import HEADS, Head, MarginHead

LAYERS = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.AdaptiveAvgPool2d(2), nn.Flatten())
INFO = BackboneInfo("b", (112, 112), "RGB", (127.5,) * 3, (1 / 127.5,) * 3, 8, (), ())


class Plain(nn.Module):
    def __init__(self, size=2, classes=2):
        super().__init__()
        self.linear = nn.Linear(size, classes)

    def forward(self, x, labels):
        return self.linear(x)


{part}
"""
HEAD = "@HEADS.register('x_N')\nclass Mine({base}):\n    {body}"
BACKBONE = "@BACKBONES.register('x_N')\n"
BROKEN = {
    "head-of-torch": (
        "HEADS.add('x_N', Plain)", "head.name",
        "head 'x_N': expected a facexfer.heads.Head, got Plain, which is none; let its class inherit from Head",
    ),
    "head-without-start": (
        HEAD.format(base="Head, Plain", body="forward = Plain.forward"), "head.name",
        r'expected a head with start_from_class_means\(means\), Mine has none; write it, or set head.start = "random"',
    ),
    "head-without-forward": (
        HEAD.format(base="Head, Plain", body="pass"), "head.name",
        r"expected a head with forward\(embeddings, labels\), Mine has none; write it",
    ),
    "head-without-margin": (
        HEAD.format(base="MarginHead", body="def __init__(self, *sizes):\n        super().__init__(*sizes, 1, 1)"),
        "head.name", r"expected a head with with_margin\(cosines\), Mine has none; write it",
    ),
    "head-of-nothing": (
        HEAD.format(base="Head", body="def __init__(self): ..."), "head.name",
        r"plugin .*mine.py: head 'x_N': TypeError: .*__init__\(\) takes 1 positional argument but 3 were given; fix",
    ),
    "head-of-other-logits": (
        HEAD.format(base="Head, Plain", body="forward = lambda self, given, labels: given[:, 0]"), "head.name",
        r"head 'x_N': expected logits \(N, K\) of forward, \(2, 2\) here, got \(2,\); fix the file",
    ),
    "head-that-fails": (
        HEAD.format(base="Head, Plain", body="def forward(self, given, labels):\n        return given / None"),
        "head.name", "plugin .*mine.py, line 26: head 'x_N': TypeError: unsupported operand .*; fix the file",
    ),
    "backbone-of-torch": (
        "BACKBONES.add('x_N', Plain)", "source.backbone",
        "backbone 'x_N': expected a facexfer.backbones.BackboneModule with its info, got Plain; return facexfer.cr",
    ),
    "backbone-of-more": (
        BACKBONE + "def mine(width):\n    return LAYERS", "source.backbone",
        "expected options of x_N, got none: missing a required argument: 'width'",
    ),
    "backbone-that-fails": (
        BACKBONE + "def mine():\n    return LAYERS[9]", "source.backbone",
        "plugin .*mine.py, line 25: backbone 'x_N': IndexError: index 9 is out of range; fix the file",
    ),
    "backbone-of-other-size": (
        BACKBONE + "class Mine(BackboneModule):\n    def __init__(self):\n        super().__init__(INFO)\n\n"
        "    def forward(self, images):\n        return LAYERS(images)", "source.backbone",
        "backbone 'x_N': expected 8 numbers per image, as its info says, got 16; correct its embedding_size",
    ),
    "backbone-without-forward": (
        BACKBONE + "class Mine(BackboneModule):\n    def __init__(self):\n        super().__init__(INFO)",
        "source.backbone",
        r"expected a network for images \(N, 3, 112, 112\), got: Module \[Mine\] is missing the required .forward.",
    ),
    "method-that-fails": (
        "@register_method('x_N')\ndef mine():\n    raise ValueError('two\\nlines')", "method.name",
        "plugin .*mine.py, line 25: method 'x_N': ValueError: two lines; fix the file",
    ),
    "augmentation-that-fails": (
        "@PRESETS.register('x_N')\ndef mine():\n    return [torch.nothing]", "data.augmentation",
        "plugin .*mine.py, line 25: augmentation 'x_N': AttributeError: module 'torch' has no .*; fix the file",
    ),
}  # fmt: skip

LAYOUT = """
from facexfer.data.layouts import PhotoEntry, register_layout


@register_layout("by_prefix", reads=("modality",))
def by_prefix(root, options):
    for path in sorted(root.glob("*.png")):
        yield PhotoEntry(path.name, path, path.name.split("-")[0], options.modality)
"""
METRIC = """
import numpy as np

from facexfer.eval.classification import CLASSIFICATION_METRICS
from facexfer.eval.metrics import METRICS, Metric

METRICS.add(
    "tar_at_best",
    Metric(
        compute=lambda measured: float((measured.curve.tar - measured.curve.far).max()),
        show=lambda value: f"best TAR minus FAR {100 * value:.2f} %",
        definition="The largest difference of TAR and FAR over all thresholds.",
    ),
)
CLASSIFICATION_METRICS.add("error", lambda scores, labels: float(np.mean(scores.argmax(axis=1) != labels)))
"""

_NUMBERS = itertools.count()


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe in a folder of its own, with the plugin next to it; the process is elsewhere."""
    manifest = write_small_set(tmp_path / "faces", train=2, val=2, images=2)
    (tmp_path / "recipes").mkdir()
    # A process knows a name once, and here every test has a file of its own.
    number = f"_{next(_NUMBERS)}"
    (tmp_path / "recipes" / "mine.py").write_text(EVERYTHING.replace("_N", number))
    (tmp_path / "recipes" / "mine.toml").write_text(RECIPE.format(manifest=manifest).replace("_N", number))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["facexfer", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.mark.slow
def test_a_recipe_trains_what_one_file_adds(written: Path) -> None:
    train(written / "recipes" / "mine.toml", written / "run")
    folder = RunFolder(written / "run")
    assert read_recipe(folder.recipe_file).plugins == (written / "recipes" / "mine.py",)
    losses = [record["losses"] for record in folder.metrics() if "losses" in record]
    assert [set(each) for each in losses] == [{"classification", "confidence"}]
    train(written / "recipes" / "mine.toml", written / "run", resume=True)
    assert load_backbone(written / "run").info.embedding_size == 128


def test_a_network_without_layers_to_tap_is_trained_by_what_taps_none(written: Path) -> None:
    recipe = written / "recipes" / "mine.toml"
    (written / "recipes" / "mine.py").write_text(UNTAPPED)
    recipe.write_text(re.sub(r"(?m)^(scale|alpha) = .*$", "", recipe.read_text()))
    settings = ["source.backbone=untapped", "data.augmentation=none", "head.name=linear"]
    for method in (["method.name=l2"], ["method.name=l2_sp", "method.alpha=0.001"]):
        assert train(read_recipe(recipe, settings + method), written / method[0])["steps"] == 1
    with pytest.raises(InputError, match="expected 1 to 0 taps for Sequential, got 4; it has 0 blocks"):
        train(read_recipe(recipe, [*settings, "method.name=dfa", "method.alpha=0.001"]), written / "dfa")


@pytest.mark.slow
def test_figures_of_a_run_know_what_one_file_adds(written: Path) -> None:
    train(written / "recipes" / "mine.toml", written / "run")
    for words, status, told in (
        (["activation-maps", "run", "--pictures", "2"], 0, "activation-maps.png"),
        (["attention", "run"], 2, "expected a run with learned attention, its method has none"),
    ):
        # In a process of its own, which has not trained it.
        command = [sys.executable, "-m", "facexfer", "figures", *words, "--out", "figures"]
        done = subprocess.run(command, cwd=written, capture_output=True, text=True, check=False)
        assert (done.returncode, told in done.stdout + done.stderr) == (status, True), done.stderr


@pytest.mark.slow
def test_a_network_of_ones_own_is_found_again_behind_a_part_that_is_trained(written: Path) -> None:
    recipe = written / "recipes" / "mine.toml"
    recipe.write_text(recipe.read_text().replace('backbone = "mine', 'backbone = "pdt:mine'))
    train(recipe, written / "run")
    program = (
        "from pathlib import Path; from facexfer.runs.folder import load_backbone\n"
        "print(load_backbone(Path('run')).info.embedding_size)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=written, capture_output=True, text=True, check=False)
    assert done.stdout == "128\n", done.stderr


@pytest.mark.slow
def test_a_grid_gives_its_plugins_to_the_processes_of_its_runs(written: Path) -> None:
    recipe = written / "recipes" / "mine.toml"
    recipe.write_text(recipe.read_text().replace('plugins = ["mine.py"]', ""))
    (written / "grids").mkdir()
    (written / "grids" / "mine.toml").write_text(
        f'title = "t"\nrecipe = "{recipe}"\nplugins = ["../recipes/mine.py"]\nfigures = ["nir/tar@0.1"]\nseeds = [0]\n'
        "[methods.mine]\n"
    )
    (outcome,) = run_cells(read_grid(written / "grids" / "mine.toml"), written / "out", 1, print)
    assert outcome.failure == ""
    assert json.loads((outcome.folder / "result.json").read_text())["method"].startswith("confident")


def test_prepare_takes_a_layout_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "layout.py").write_text(LAYOUT)
    photos = write_small_set(tmp_path / "set", train=1, val=1, images=1).parent
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in photos.glob("nir/*/*.png"):
        path.rename(flat / f"{path.parent.name}-{path.name}")
    words = ["prepare", flat, "--layout", "by_prefix", "--pre-cropped", "--plugin", tmp_path / "layout.py", "--out"]
    assert run(monkeypatch, *words, tmp_path / "crops") == 0
    assert "2 identities" in capsys.readouterr().out
    assert run(monkeypatch, *words, tmp_path / "others", "--fold", "2") == 2
    assert "got --fold, which casia-nir-vis2 would read; leave --fold out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("(root, options):\n    raise ValueError('boom')", "layout 'NAME': ValueError: boom; fix the file"),
        ("(root):\n    return []", "layout 'NAME': TypeError: .*takes 1 positional argument but 2 were given"),
        (
            "(root, options):\n    return [PhotoEntry('a.png', root, 7, 'nir')]",
            "expected identity of a photo as str, got 7",
        ),
        ("(root, options):\n    return ['a.png']", "expected a PhotoEntry, got 'a.png'"),
        (
            "(root, options):\n    return [PhotoEntry('a.png', root, 'a', 'nir', landmarks=((1, 2),) * 3)]",
            r"expected landmarks of shape \(5, 2\) or \(2, 2\), got \(3, 2\) for a\.png",
        ),
        ("(root, options):\n    return []", "expected photos, the layout NAME lists none"),
    ],
)
def test_a_faulty_layout_is_one_line_before_a_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: str, message: str
) -> None:
    name = f"faulty{next(_NUMBERS)}"
    head = "from facexfer.data.layouts import PhotoEntry, register_layout"
    lines = f"{head}\n\n@register_layout('{name}')\ndef {name}{body}\n"
    (tmp_path / "plugin.py").write_text(lines)
    (tmp_path / "set").mkdir()
    words = ["prepare", tmp_path / "set", "--layout", name, "--pre-cropped", "--plugin", tmp_path / "plugin.py"]
    assert run(monkeypatch, *words, "--out", tmp_path / "out") == 2
    assert re.search(message.replace("NAME", name), capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_metric_of_ones_own_is_in_the_table_the_json_the_page_and_image_runs(tmp_path: Path) -> None:
    # In processes of their own, so that the other tests see the metrics of the package alone.
    (tmp_path / "metric.py").write_text(METRIC)
    np.save(tmp_path / "genuine.npy", np.array([0.9, 0.8, 0.3]))
    np.save(tmp_path / "impostor.npy", np.array([0.5, 0.2, 0.1]))
    words = ["evaluate", "--scores", "genuine.npy", "impostor.npy", "--far", "0.5", "--plugin", "metric.py",
             "--json", "out.json", "--report", "report"]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "facexfer", *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "best TAR minus FAR 66.67 %" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["tar_at_best"] == pytest.approx(2 / 3)
    assert found["definitions"]["tar_at_best"].startswith("The largest difference")
    assert "best TAR minus FAR 66.67 %" in (tmp_path / "report" / "report.html").read_text()
    program = (
        "from pathlib import Path; import numpy as np; from torch import nn\n"
        "from facexfer.plugins import load_plugins; from facexfer.tasks.image import measure_scores\n"
        "load_plugins([Path('metric.py')]); print(measure_scores(np.eye(2), np.array([0, 0])))"
    )
    shown = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "'error': 0.5" in shown.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nonsense_that_is_not_there", r"plugin .*bad.py, line 1: ModuleNotFoundError: .*; fix the file"),
        ("x = 1\ny = (", r"plugin .*bad.py, line 2: SyntaxError"),
        ("\nraise SystemExit(0)", r"plugin .*bad.py, line 2: SystemExit"),
        (
            "from facexfer import register_method\nregister_method('afa')(lambda: ())",
            r"line 2: ValueError: method 'afa' is registered already; choose another name",
        ),
    ],
)
def test_a_broken_plugin_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(InputError, match=message):
        load_plugins([tmp_path / "bad.py"])


@pytest.mark.parametrize("part", BROKEN)
def test_a_part_that_cannot_do_what_a_run_needs_is_one_line(written: Path, part: str) -> None:
    """Before there is a folder of the run."""
    code, key, message = BROKEN[part]
    name = f"x_{next(_NUMBERS)}"
    (written / "recipes" / "mine.py").write_text(PARTS.replace("{part}", code).replace("x_N", name))
    recipe = re.sub(r"(?m)^(scale|alpha) = .*$|^plugins.*$", "", (written / "recipes" / "mine.toml").read_text())
    (written / "recipes" / "mine.toml").write_text(f'plugins = ["mine.py"]\n{recipe}')
    settings = ["source.backbone=mobilefacenet_slim", "data.augmentation=none", "head.name=linear", "method.name=l2"]
    changed = read_recipe(written / "recipes" / "mine.toml", [*settings, f"{key}={name}"])
    with pytest.raises(InputError, match=message.replace("x_N", name)) as refused:
        train(changed, written / "run")
    assert "\n" not in str(refused.value)
    assert not (written / "run").exists()


def test_a_grid_looks_at_its_heads_first(written: Path) -> None:
    name = f"x_{next(_NUMBERS)}"
    (written / "recipes" / "mine.py").write_text(PARTS.replace("{part}", f"HEADS.add('{name}', Plain)"))
    recipe = written / "recipes" / "mine.toml"
    recipe.write_text(re.sub(r"(?m)^(scale|alpha|plugins) = .*$", "", recipe.read_text()))
    (written / "mine.toml").write_text(
        f'title = "t"\nrecipe = "{recipe}"\nplugins = ["recipes/mine.py"]\nfigures = ["nir/tar@0.1"]\nseeds = [0]\n'
        f'[methods.l2]\nsettings = ["head.name={name}", "method.name=l2"]\n'
    )
    with pytest.raises(InputError, match="expected a facexfer.heads.Head, got Plain"):
        check_methods(read_grid(written / "mine.toml"))


def test_a_head_that_starts_at_random_needs_no_start(written: Path) -> None:
    name = f"x_{next(_NUMBERS)}"
    code = HEAD.format(base="Head, Plain", body="forward = Plain.forward").replace("x_N", name)
    (written / "recipes" / "mine.py").write_text(PARTS.replace("{part}", code))
    load_plugins([written / "recipes" / "mine.py"])
    check_head(name, {}, "random")


def test_a_missing_plugin_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plugin .*none.py: expected a Python file, got: No such file"):
        load_plugins([tmp_path / "none.py"])


def test_a_plugin_that_was_mended_is_run_again(tmp_path: Path) -> None:
    file = tmp_path / "fixed.py"
    text = "from facexfer import Stage, register_method\n@register_method('fixed')\ndef fixed():\n    {}\n"
    file.write_text(text.format("return ()"))
    load_plugins([file])
    file.write_text(text.format("return (Stage('new'),)"))
    load_plugins([file, file])
    assert create("fixed")[0].name == "new"


def test_a_plugins_stage_that_would_not_be_trained_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "still.py").write_text(
        "from facexfer import Stage, register_method\n@register_method('still')\n"
        "def still(pace: float = 0.0):\n    return (Stage('first'), Stage('second', rate_factor=pace))\n"
    )
    load_plugins([tmp_path / "still.py"])
    with pytest.raises(
        InputError, match="method still: expected a rate_factor above 0 of every stage, got 0 of second;"
    ):
        create("still")
    assert create("still", pace=0.5)[1].rate_factor == 0.5
