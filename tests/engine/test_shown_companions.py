"""Runs whose frozen source sees the companion instead of the training image: cross-spectral AFA, DELTA and DFA."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from arcface_export import export_arcface, give_statistics
from recipe_files import write_recipe
from safetensors.torch import load_file
from small_faces import write_small_set

from facexfer import create_backbone
from facexfer.commands.delta_weights import delta_weights
from facexfer.data.manifest import read_manifest
from facexfer.engine.companions import ShownCompanions, ShownImages
from facexfer.engine.loop import Training
from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.runs.folder import RunFolder
from facexfer.runs.state import load_state
from facexfer.tasks import TASKS
from facexfer.transfer.attention import SpatialAttention
from facexfer.transfer.methods import register_method
from facexfer.transfer.stages import Passes, Stage, Term, WeightedTerm
from facexfer.transfer.taps import FeatureTap, map_shapes


class Recorder(Term):
    """Keeps what the two networks made of every batch."""

    reads_source = True
    kept: list[Passes] = []  # noqa: RUF012

    def forward(self, passes: Passes) -> torch.Tensor:
        self.kept.append(passes)
        return passes.target_embeddings.sum() * 0


AFA = {"name": "afa", "spatial_alpha": 1e-6, "channel_alpha": 1e-6}


@register_method("recorder")
def recorder() -> tuple[Stage, ...]:
    return (Stage("kept", (WeightedTerm("none", 1.0, lambda _: Recorder()),)),)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"), train=3, val=2, images=4)


@pytest.fixture(scope="module")
def make(recipe_for: Callable[..., Any]) -> Callable[..., Any]:
    def make(manifest: Path, **sections: Any) -> Any:
        defaults: dict[str, dict[str, Any]] = {
            "source": {"recalibrate_batchnorm": True},
            "companions": {"match": "capture", "shown_to_source": True},
            "data": {"augmentation": "flip"},
            "evaluation": {"untouched": False},
        }
        merged = {name: {**defaults.get(name, {}), **sections.get(name, {})} for name in {**defaults, **sections}}
        return recipe_for(manifest, **{"method": AFA, **merged})

    return make


@pytest.mark.parametrize("augment", ["workers", "device"])
def test_the_source_sees_the_picture_of_the_same_shot_mirrored_as_the_image_is(
    augment: str, make: Callable[..., Any], manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorder, "kept", [])
    known: list[Any] = []

    def keep(setup: Any) -> ShownCompanions:
        known.extend([setup, copy.deepcopy(setup.source)])
        return ShownCompanions(setup)

    monkeypatch.setattr("facexfer.engine.loop.ShownCompanions", keep)
    recipe = make(manifest, method={"name": "recorder"}, runtime={"augment": augment, "fold_source": False})
    train(recipe, tmp_path / "run", resume=False)
    setup, untouched = known
    vis = torch.stack([setup.task.companions.pictures.images[row][0] for (row,) in setup.task.companions.of_image])
    with torch.no_grad():
        straight, mirrored = (untouched((each.float() - 127.5) / 128) for each in (vis, vis.flip(3)))
    batches = list(setup.batches.between(0, len(Recorder.kept)))
    turned = torch.cat([parts[0][3] for parts in batches])
    assert turned.any()
    assert not turned.all()
    for passes, parts in zip(Recorder.kept, batches, strict=True):
        images, labels, places, flips = parts[0]
        for image, place, is_mirrored in zip(images, places, flips, strict=True):
            assert torch.equal(image.flip(2) if is_mirrored else image, setup.task.plain_training_set[int(place)][0])
        assert torch.equal(passes.labels, labels)
        assert passes.source_embeddings is not None
        expected = torch.where(flips[:, None], mirrored[places], straight[places])
        assert torch.allclose(passes.source_embeddings, expected, atol=1e-4)


def test_an_image_without_a_companion_stands_for_itself(
    make: Callable[..., Any], manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rows = manifest.read_text().splitlines()
    fewer = manifest.parent / "fewer.csv"
    fewer.write_text("\n".join(row for row in rows if not row.startswith("vis/p1/")) + "\n")
    known: list[ShownCompanions] = []

    def keep(setup: Any) -> ShownCompanions:
        known.append(ShownCompanions(setup))
        return known[0]

    monkeypatch.setattr("facexfer.engine.loop.ShownCompanions", keep)
    train(make(fewer, optimizer={"iterations": 2}), tmp_path / "run", resume=False)
    assert "the source sees these images themselves" in " ".join(capsys.readouterr().out.split())
    images = torch.randint(0, 256, (12, 3, 112, 112), dtype=torch.uint8)
    shown = known[0].instead_of(images, torch.arange(12), torch.zeros(12, dtype=torch.bool))
    assert [place for place in range(12) if torch.equal(shown[place], images[place])] == [4, 5, 6, 7]


def test_kept_companions_are_their_own(
    make: Callable[..., Any], manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[ShownCompanions] = []

    def keep(setup: Any) -> ShownCompanions:
        known.append(ShownCompanions(setup))
        return known[0]

    monkeypatch.setattr("facexfer.engine.loop.ShownCompanions", keep)
    train(make(manifest, companions={"keep": 0.5}, optimizer={"iterations": 2}), tmp_path / "run", resume=False)
    images, nowhere = torch.zeros(24, 3, 112, 112, dtype=torch.uint8), torch.zeros(24, dtype=torch.bool)
    shown = known[0].instead_of(images, torch.arange(24), nowhere)
    assert torch.equal(shown[:12], shown[12:])
    assert len({picture.numpy().tobytes() for picture in shown}) == 12


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(
    stop_at: Callable[[int], Any], make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    recipe = make(manifest, method={**AFA, "keep_source": True}, optimizer={"accumulate": 2})
    train(recipe, tmp_path / "whole", resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "stopped", on_step=stop_at(3))
    train(recipe, tmp_path / "stopped", resume=True)
    first, second = (load_file(RunFolder(tmp_path / name).model_file) for name in ("whole", "stopped"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    shown = [record["losses"] for record in RunFolder(tmp_path / "whole").metrics() if "losses" in record]
    train(
        make(manifest, companions={"shown_to_source": False}, head={"start": "companions"}), tmp_path / "other", False
    )
    other = [record["losses"] for record in RunFolder(tmp_path / "other").metrics() if "losses" in record]
    assert shown != other


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"companions": {"match": "identity"}}, "expected one companion per image for companions.shown_to_source"),
        ({"data": {"augmentation": "nir-strong"}}, "expected augmentation that at most mirrors images"),
        ({"method": {"name": "csd"}}, "expected a method that compares with the source .* got csd; leave it out"),
        ({"method": {"name": "l2"}}, "expected a method that compares with the source .* got l2; leave it out"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    sections: dict[str, Any], message: str, make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        train(make(manifest, **sections), tmp_path / "run", resume=False)


def test_a_warm_up_that_compares_nothing_goes_before(make: Callable[..., Any], manifest: Path, tmp_path: Path) -> None:
    method = {"name": "lwf", "old_task": "training_set", "warm_up": 0.5}
    train(make(manifest, method=method, optimizer={"iterations": 2}), tmp_path / "run")
    losses = [record["losses"] for record in RunFolder(tmp_path / "run").metrics() if "losses" in record]
    assert [list(each) for each in losses] == [["classification"], ["classification", "old_task"]]


@pytest.fixture
def source(tmp_path: Path) -> dict[str, str]:
    torch.manual_seed(0)
    torch.save(create_backbone("mobilefacenet_slim").state_dict(), tmp_path / "source.pt")
    return {"weights": str(tmp_path / "source.pt")}


def prototypes(run: RunFolder) -> torch.Tensor:
    return load_state(run.stage_file("lwf"))["terms"]["old_task.source_classifier.weight"]


def channel_weights(run: RunFolder) -> torch.Tensor:
    return torch.cat(load_state(run.channel_file)["weights"])


@pytest.mark.parametrize(
    ("method", "known"),
    [
        ({"name": "lwf", "old_task": "training_set"}, prototypes),
        ({"name": "delta", "alpha": 1e-5}, channel_weights),
    ],
    ids=["lwf", "delta"],
)
def test_what_is_asked_of_the_source_is_answered_as_it_sees_companions(
    method: dict[str, Any], known: Callable[[RunFolder], torch.Tensor], source: dict[str, str],
    make: Callable[..., Any], recipe_for: Callable[..., Any], manifest: Path, tmp_path: Path,
) -> None:  # fmt: skip
    """As in a run on the companions themselves, from the source as it came."""
    options = {"source": source, "method": method, "optimizer": {"iterations": 1}}
    train(make(manifest, **options), tmp_path / "shown")
    train(recipe_for(manifest, data={"modality": "vis"}, **options), tmp_path / "alone")
    ours, theirs = (known(RunFolder(tmp_path / name)) for name in ("shown", "alone"))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_channel_weights_measured_before_a_run_are_those_of_companions(
    source: dict[str, str], make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    recipe = make(manifest, source=source, method={"name": "delta", "alpha": 1e-5}, optimizer={"iterations": 1})
    run = RunFolder(tmp_path / "run")
    delta_weights(str(write_recipe(recipe, tmp_path / "recipe.toml")), run.path)
    measured = run.channel_file.stat().st_mtime_ns
    train(recipe, run.path)
    assert run.channel_file.stat().st_mtime_ns == measured


def test_fixed_attention_is_the_mean_over_companions_in_the_network_that_is_compared(
    source: dict[str, str], make: Callable[..., Any], manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Training] = []
    start = Training._start

    def keep(self: Training, checkpoint: Any) -> None:
        start(self, checkpoint)
        seen.append(self)

    monkeypatch.setattr(Training, "_start", keep)
    method = {"name": "afa", "variant": "spatial", "attention": "fixed", "spatial_alpha": 1e-3}
    train(make(manifest, source=source, method=method, optimizer={"iterations": 2}), tmp_path / "run")
    network = create_backbone("mobilefacenet_slim", weights=source["weights"]).eval()
    layers = network.info.layers(4)
    _, height, width = map_shapes(network, layers, network.info.input_size)[0]
    attend = SpatialAttention(height, width)
    prefix = "spatial.attentions.0."
    trained = load_state(RunFolder(tmp_path / "run" / "attention").stage_file("attention"))["terms"]
    attend.load_state_dict({key.removeprefix(prefix): value for key, value in trained.items() if prefix in key})
    rows = [image for image in read_manifest(manifest).images if (image.modality, image.split) == ("vis", "train")]
    pictures = np.stack([cv2.cvtColor(cv2.imread(str(row.path)), cv2.COLOR_BGR2RGB) for row in rows])
    with torch.no_grad(), FeatureTap(network, layers) as tap:
        network((torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 127.5) / 128)
        expected = attend(tap.maps[0]).mean(dim=0)
    torch.testing.assert_close(seen[-1].setup.knowledge.mean_attention(layers)[0], expected, rtol=1e-4, atol=1e-7)


def test_an_image_without_a_companion_is_seen_itself(make: Callable[..., Any], manifest: Path) -> None:
    rows = manifest.read_text().splitlines()
    fewer = manifest.parent / "some.csv"
    fewer.write_text("\n".join(row for row in rows if not row.startswith("vis/p1/")) + "\n")
    task = TASKS["face"](make(fewer), create_backbone("mobilefacenet_slim").info)
    shown = ShownImages(task)
    assert list(shown.labels) == list(task.plain_training_set.labels)
    itself = [torch.equal(shown[place][0], task.plain_training_set[place][0]) for place in range(len(shown))]
    assert itself == [label == 1 for label in shown.labels]


def test_maps_of_a_file_with_folded_batchnorm_are_compared_in_one_scale(
    make: Callable[..., Any], manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reviving it balances the scales of the layers, which the network that is compared with needs as well."""
    name = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=16)"
    network = give_statistics(create_backbone("mbf", scale=1, blocks=(1, 1, 1, 1), embedding_size=16))
    weights = export_arcface(network, tmp_path / "w.onnx")
    seen: list[Training] = []
    start = Training._start

    def keep(self: Training, checkpoint: Any) -> None:
        start(self, checkpoint)
        seen.append(self)

    monkeypatch.setattr(Training, "_start", keep)
    source = {"backbone": name, "weights": str(weights), "recalibrate_batchnorm": False}
    train(make(manifest, source=source, optimizer={"iterations": 2}), tmp_path / "run", resume=False)
    images = torch.randn(2, 3, 112, 112)
    layers = seen[0].source.info.layers(4)
    maps = []
    for each in (seen[0].source, seen[0].compared):
        with torch.no_grad(), FeatureTap(each.eval(), layers) as tap:
            each(images)
            maps.append([values.clone() for values in tap.maps])
    for ours, theirs in zip(*maps, strict=True):
        torch.testing.assert_close(ours, theirs)
