"""Runs with companions: who accompanies whom, what a batch holds, and that a stopped run goes on the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from arcface_export import export_arcface, give_statistics
from safetensors.torch import load_file
from small_faces import write_small_set

from facexfer import create_backbone
from facexfer.data.images import read_crop
from facexfer.data.manifest import read_manifest
from facexfer.engine import companion_targets as companion_targets_module
from facexfer.engine.companion_targets import CompanionTargets, companion_targets
from facexfer.engine.setup import Setup
from facexfer.engine.source import make_source, settle_source
from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.recipe import Recipe
from facexfer.runs.folder import RunFolder, load_backbone
from facexfer.tasks import TASKS
from facexfer.transfer.taps import FeatureTap


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"), train=3, val=2, images=4)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = write_small_set(tmp_path_factory.mktemp("pool"), train=3, val=1, images=2, modalities=("vis",))
    # Other people than in the measured set.
    file.write_text(file.read_text().replace(",p", ",q").replace(",train,", ",pool,").replace(",val,", ",pool,"))
    return file


DEFAULTS: dict[str, dict[str, Any]] = {
    "source": {"recalibrate_batchnorm": True},
    "companions": {"match": "capture"},
    "method": {"name": "csd"},
    "evaluation": {"untouched": False},
}


@pytest.fixture(scope="module")
def make(recipe_for: Callable[..., Any]) -> Callable[..., Any]:
    def make(manifest: Path, **sections: Any):
        merged = {
            name: None if sections.get(name, 0) is None else {**DEFAULTS.get(name, {}), **sections.get(name, {})}
            for name in {**DEFAULTS, **sections}
        }
        return recipe_for(manifest, **merged)

    return make


def losses_of(run):
    return [record["losses"] for record in RunFolder(run).metrics() if "losses" in record]


def captured_targets(recipe: Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Setup, CompanionTargets]:
    """The targets of a run, and what it was set up with."""
    kept = []

    def keep(setup):
        kept.append((setup, companion_targets(setup)))
        return kept[0][1]

    monkeypatch.setattr("facexfer.engine.loop.companion_targets", keep)
    train(recipe, folder, resume=False)
    return kept[0]


def test_the_targets_are_the_untouched_sources_view_of_both_mirror_images(
    make: Callable[..., Any], manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make(manifest, source={"recalibrate_batchnorm": False}, optimizer={"iterations": 1})
    setup, targets = captured_targets(recipe, tmp_path / "run", monkeypatch)
    source, images = setup.source.eval(), setup.task.companions.pictures.images
    picture = ((images[5][0].float() - 127.5) / 128)[None]
    with torch.no_grad():
        both = [torch.nn.functional.normalize(source(view)) for view in (picture, picture.flip(3))]
    expected = torch.nn.functional.normalize(both[0] + both[1])[0]
    assert setup.task.companions.of_image[5] == (5,)
    assert torch.allclose(targets.embeddings[5], expected, atol=1e-5)


def test_a_person_s_mean_where_no_shot_is_shared(
    make: Callable[..., Any], manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make(manifest, companions={"match": "identity"}, optimizer={"iterations": 1})
    _, targets = captured_targets(recipe, tmp_path / "run", monkeypatch)
    # Four images of each of three people: one target per person.
    embeddings = targets.embeddings
    assert torch.equal(embeddings[0], embeddings[3])
    assert not torch.equal(embeddings[0], embeddings[4])
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(12), atol=1e-5)


@pytest.mark.parametrize("cache", [None, "cache"])
def test_the_target_maps_lie_over_the_images_mirrored_as_they_are(
    cache: str | None, make: Callable[..., Any], manifest: Path, pool: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rows = manifest.read_text().splitlines()
    fewer = manifest.parent / "fewer-maps.csv"
    fewer.write_text("\n".join(row for row in rows if not row.startswith("vis/p1/")) + "\n")
    recipe = make(
        fewer,
        data={"modality": "nir", **({} if cache is None else {"cache": str(tmp_path / cache)})},
        source={"recalibrate_batchnorm": False},
        pool={"manifest": str(pool), "share": 0.25, "keep": 0.25},
        optimizer={"iterations": 1},
    )
    setup, targets = captured_targets(recipe, tmp_path / "run", monkeypatch)
    source, task = setup.source.eval(), setup.task
    layer = source.info.taps[-1].layer
    # Twelve training images, then eight photos of the pool twice: rendered, and as they are.
    places = torch.tensor([0, 0, 4, 12 + 5, 12 + 8 + 5])
    mirrored = torch.tensor([False, True, False, True, False])
    (first,) = task.companions.of_image[0]
    (rendered, _) = (part.pictures for part in task.mixture.parts if part.pictures is not None)
    crops = [task.companions.pictures.images[first][0]] * 3 + [rendered.images[5][0]] * 2
    found = targets.maps.of(places, mirrored)
    for crop, is_mirrored, maps, place in zip(crops, mirrored, found, places, strict=True):
        with torch.no_grad(), FeatureTap(source, [layer]) as tap:
            source((crop.float()[None].flip(3) if is_mirrored else crop.float()[None]) / 128 - 127.5 / 128)
            expected = torch.nn.functional.normalize(tap.maps[0])[0]
        assert torch.allclose(maps.float(), expected * (place != 4), atol=2e-3)
    if cache is not None:
        kept = {file: file.stat().st_mtime_ns for file in (tmp_path / cache).glob("companion*.safetensors")}
        assert len(kept) == 4
        # The crops of the training images, the companions and the pool.
        assert len(list((tmp_path / cache).glob("crops-*.npy"))) == 3
        _, again = captured_targets(recipe, tmp_path / "other", monkeypatch)
        assert torch.equal(again.maps.of(places, mirrored), found)
        assert {file: file.stat().st_mtime_ns for file in kept} == kept


def test_maps_of_other_shots_count_for_nothing(
    make: Callable[..., Any], manifest: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recipe = make(manifest, companions={"match": "identity", "keep": 0.5}, optimizer={"iterations": 1})
    _, targets = captured_targets(recipe, tmp_path / "run", monkeypatch)
    # Not those of the kept pictures either.
    assert not targets.maps.of(torch.arange(24), torch.zeros(24, dtype=torch.bool)).any()
    assert losses_of(tmp_path / "run")[0]["maps"] == 0
    assert "no companion is of the same shot as a training image" in capsys.readouterr().out
    # Not that of the only picture of a person either; then augmentation may move images, too.
    lines = manifest.read_text().splitlines()
    alone = manifest.with_name("alone.csv")
    alone.write_text("\n".join(line for line in lines if "vis/" not in line or "/0.png" in line))
    recipe = make(
        alone, companions={"match": "identity"}, data={"augmentation": "nir-strong"}, optimizer={"iterations": 1}
    )
    _, targets = captured_targets(recipe, tmp_path / "alone", monkeypatch)
    assert targets.embeddings.any()
    assert not targets.maps.of(torch.arange(12), torch.zeros(12, dtype=torch.bool)).any()
    sections = {"pool": {"manifest": str(pool), "share": 0.25}, "companions": {"match": "identity", "keep": 0.25}}
    _, targets = captured_targets(
        make(manifest, **sections, optimizer={"iterations": 1}), tmp_path / "pool", monkeypatch
    )
    found = targets.maps.of(torch.arange(32), torch.zeros(32, dtype=torch.bool)).flatten(1).any(dim=1)
    assert found.tolist() == [False] * 12 + [True] * 20


def test_targets_are_the_same_however_many_pictures_are_seen_at_once(
    make: Callable[..., Any], manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make(manifest, optimizer={"iterations": 1})
    _, whole = captured_targets(recipe, tmp_path / "run", monkeypatch)
    monkeypatch.setattr(companion_targets_module, "_AT_ONCE", 5)
    _, parts = captured_targets(recipe, tmp_path / "parts", monkeypatch)
    torch.testing.assert_close(parts.embeddings, whole.embeddings, atol=1e-5, rtol=0)
    of_both = [each.maps.of(torch.arange(12), torch.arange(12) % 2 == 0) for each in (whole, parts) if each.maps]
    torch.testing.assert_close(*of_both, atol=2e-3, rtol=0)


def test_companions_as_simulated_nir_have_maps_whatever_their_shot(
    make: Callable[..., Any], manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    companions = {"match": "identity", "share": 0.5, "keep": 0.25}
    recipe = make(manifest, companions=companions, optimizer={"iterations": 1, "batch_size": 8})
    setup, targets = captured_targets(recipe, tmp_path / "run", monkeypatch)
    mixture = setup.task.mixture
    assert [part.name for part in mixture.parts[1:]] == ["companions (vis-to-nir)", "companions (flip)"]
    assert mixture.counts(8) == [2, 4, 2]
    # Twelve training images, then their companions twice: rendered, and as they are.
    found = targets.maps.of(torch.arange(36), torch.zeros(36, dtype=torch.bool)).flatten(1).any(dim=1)
    assert found.tolist() == [False] * 12 + [True] * 24
    # Each is its own companion, as the source sees it before it is rendered; not the mean of its person.
    assert torch.equal(targets.embeddings[12:24], targets.embeddings[24:])
    assert not torch.equal(targets.embeddings[12], targets.embeddings[13])
    assert losses_of(tmp_path / "run")[0]["maps"] > 0
    _, rendered, kept = (part.images for part in mixture.parts)
    assert not torch.equal(rendered[0][0], kept[0][0])


def test_companions_are_rendered_only_where_that_says_something(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    moving = make(manifest, companions={"match": "identity", "share": 0.5, "augmentation": "nir-strong"})
    with pytest.raises(InputError, match=r"for method.map_weight, got nir-strong, .* or set method.map_weight = 0"):
        train(moving, tmp_path / "run", resume=False)
    simulated = make(manifest, data={"modality": "vis"}, companions={"match": "simulated", "share": 0.5})
    with pytest.raises(InputError, match=r"expected no companions.share with .*, got 0.5"):
        train(simulated, tmp_path / "run", resume=False)
    with pytest.raises(InputError, match=r"companions.share and companions.keep to sum to at most 1, got 1.25"):
        train(make(manifest, companions={"share": 0.75, "keep": 0.5}), tmp_path / "run", resume=False)


def test_what_maps_cannot_be_had_of_is_refused_before_training(
    make: Callable[..., Any], manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strong = {"augmentation": "nir-strong"}
    with pytest.raises(InputError, match=r"for method.map_weight, got nir-strong, .* or set method.map_weight = 0"):
        train(make(manifest, data=strong), tmp_path / "run", resume=False)
    train(make(manifest, data=strong, method={"name": "csd", "map_weight": 0.0}), tmp_path / "without", resume=False)
    assert set(losses_of(tmp_path / "without")[0]) == {"companion"}
    monkeypatch.setattr(companion_targets_module, "_MAP_BYTES", 1000)
    with pytest.raises(InputError, match=r"got 12 pictures that take .*; set method.map_weight = 0, or take fewer"):
        train(make(manifest), tmp_path / "large", resume=False)


@pytest.mark.slow
def test_simulated_companions_are_the_images_before_their_rendering(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    recipe = make(manifest, data={"modality": "vis", "augmentation": "vis-to-nir"}, companions={"match": "simulated"})
    train(recipe, tmp_path / "run", resume=False)
    assert [set(losses) for losses in losses_of(tmp_path / "run")] == [{"companion", "maps"}] * 4


@pytest.mark.slow
def test_a_pool_alone_is_enough_and_the_training_images_serve_batchnorm(
    make: Callable[..., Any], manifest: Path, pool: Path, tmp_path: Path
) -> None:
    recipe = make(
        manifest,
        companions=None,
        pool={"manifest": str(pool), "share": 0.75, "keep": 0.25},
        optimizer={"final_batchnorm": True},
    )
    train(recipe, tmp_path / "run", resume=False)
    assert losses_of(tmp_path / "run")[0]["companion"] > 0


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(
    stop_at: Callable[[int], Any], make: Callable[..., Any], manifest: Path, pool: Path, tmp_path: Path
) -> None:
    sections = {
        "companions": {"keep": 0.25},
        "pool": {"manifest": str(pool), "share": 0.25},
        "optimizer": {"accumulate": 2, "schedule": "cosine"},
        "method": {"name": "csd", "identity_weight": 0.5},
    }
    recipe = make(manifest, **sections)
    train(recipe, tmp_path / "whole", resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "stopped", on_step=stop_at(3))
    kept = list((tmp_path / "stopped").glob("companions-*.safetensors"))
    before = kept[0].stat().st_mtime_ns
    train(recipe, tmp_path / "stopped", resume=True)
    assert kept[0].stat().st_mtime_ns == before
    first, second = (load_file(RunFolder(tmp_path / name).model_file) for name in ("whole", "stopped"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert losses_of(tmp_path / "whole") == losses_of(tmp_path / "stopped")


def test_images_without_a_companion_are_counted_before_training(
    make: Callable[..., Any], manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = manifest.read_text().splitlines()
    fewer = manifest.parent / "fewer.csv"
    fewer.write_text("\n".join(row for row in rows if not row.startswith("vis/p1/")) + "\n")
    train(make(fewer, optimizer={"iterations": 1}), tmp_path / "run", resume=False)
    assert "4 of 12 training images have no companion" in capsys.readouterr().out


def test_a_recipe_without_companions_says_what_would_do(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"add \[companions\] .* or \[pool\]"):
        train(make(manifest, companions=None), tmp_path / "run", resume=False)


def test_measured_people_are_never_in_a_pool(make: Callable[..., Any], manifest: Path, tmp_path: Path) -> None:
    recipe = make(manifest, pool={"manifest": str(manifest), "split": "val"})
    with pytest.raises(InputError, match="expected disjoint identities"):
        train(recipe, tmp_path / "run", resume=False)


def test_shares_of_more_than_a_batch(make: Callable[..., Any], manifest: Path, pool: Path, tmp_path: Path) -> None:
    recipe = make(manifest, companions={"keep": 0.5}, pool={"manifest": str(pool), "share": 0.75})
    with pytest.raises(InputError, match="sum to at most 1, got 1.25"):
        train(recipe, tmp_path / "run", resume=False)


def test_balanced_batches_have_no_room_for_a_pool(
    make: Callable[..., Any], manifest: Path, pool: Path, tmp_path: Path
) -> None:
    recipe = make(manifest, data={"identities_per_batch": 2}, pool={"manifest": str(pool)})
    with pytest.raises(InputError, match="leave one of the two out"):
        train(recipe, tmp_path / "run", resume=False)


def test_batchnorm_alone_takes_no_step_and_needs_no_label(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    recipe = make(manifest, companions=None, method={"name": "adabn"}, optimizer={"iterations": None, "epochs": 0})
    result = train(recipe, tmp_path / "run", resume=False)
    assert result["steps"] == 0
    assert RunFolder(tmp_path / "run").finished
    with pytest.raises(InputError, match=r"optimizer.epochs = 0 for a method without steps"):
        train(make(manifest, companions=None, method={"name": "adabn"}), tmp_path / "other", resume=False)
    still = {"source": {"recalibrate_batchnorm": False}, "optimizer": {"iterations": None, "epochs": 0}}
    with pytest.raises(InputError, match="expected source.recalibrate_batchnorm = true for adabn, which does nothing"):
        train(make(manifest, companions=None, method={"name": "adabn"}, **still), tmp_path / "third", resume=False)


def test_a_network_without_batchnorm_is_trained_with_adamw(
    make: Callable[..., Any], manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {"backbone": "edgeface_xxs"}
    recipe = make(manifest, source=source, optimizer={"name": "adamw", "learning_rate": 1e-5})
    train(recipe, tmp_path / "run", resume=False)
    said = capsys.readouterr().out
    assert "edgeface_xxs has no BatchNorm whose statistics could be measured again" in " ".join(said.split())
    assert "measuring" not in said.replace("measuring the trained network\n", "")
    assert all(0 < losses["maps"] < 20 and 0 < losses["companion"] < 2 for losses in losses_of(tmp_path / "run"))
    assert load_backbone(tmp_path / "run").info.name == "edgeface_xxs"
    assert "SGD" not in said
    train(make(manifest, source=source, optimizer={"learning_rate": 1e-9}), tmp_path / "sgd", resume=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "warning: edgeface_xxs has no BatchNorm, and SGD at a usual rate can destroy such a network; take" in said
    alone = {"source": source, "method": {"name": "adabn"}, "optimizer": {"iterations": None, "epochs": 0}}
    with pytest.raises(InputError, match="expected a network with BatchNorm for adabn, edgeface_xxs has none; take"):
        train(make(manifest, companions=None, **alone), tmp_path / "other", resume=False)
    scales = {"source": source, "method": {"name": "dsbn", "identity_weight": 0, "weight": 20.0}}
    with pytest.raises(InputError, match="expected a network with the layers that dsbn trains, edgeface_xxs has none"):
        train(make(manifest, **scales), tmp_path / "another", resume=False)


def test_two_spectra_are_trained_on_together_and_kept_apart_in_the_draw(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    recipe = make(
        manifest,
        companions=None,
        data={"modality": ["nir", "vis"], "images_per_identity": 2},
        method={"name": "l2"},
        optimizer={"iterations": 1, "source_share": 0.5},
    )
    task = TASKS["face"].make(recipe, create_backbone("mobilefacenet_slim").info)
    # Two images of each of three people in each of two modalities.
    assert len(task.training_set) == 12
    assert train(recipe, tmp_path / "run", resume=False)["steps"] == 1


def test_companions_that_no_term_reads_are_refused(
    make: Callable[..., Any], manifest: Path, pool: Path, tmp_path: Path
) -> None:
    recipe = make(manifest, pool={"manifest": str(pool)}, method={"name": "l2"})
    with pytest.raises(InputError, match=r"reads companions with \[companions\] and \[pool\], got l2; take csd"):
        train(recipe, tmp_path / "run", resume=False)


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"method": {"name": "l2"}, "pool": {"share": 0.5}}, r"pool \(vis-to-nir\), got l2, which would"),
        ({"method": {"name": "class_means"}, "companions": {"keep": 0.25}}, r"companions \(flip\), got class_means"),
        ({"method": {"name": "l2_sp"}, "companions": {"share": 0.25}}, r"companions \(vis-to-nir\), got l2_sp"),
    ],
)
def test_unlabelled_pictures_that_no_loss_reads_are_refused(
    sections: dict[str, Any], named: str, make: Callable[..., Any], manifest: Path, pool: Path, tmp_path: Path
) -> None:
    if "pool" in sections:
        sections = {**sections, "pool": {**sections["pool"], "manifest": str(pool)}}
    recipe = make(manifest, head={"start": "companions"}, **sections)
    with pytest.raises(InputError, match=f"a loss that reads images without labels for {named}"):
        train(recipe, tmp_path / "run")


def test_alignment_reads_unlabelled_pictures(make: Callable[..., Any], manifest: Path, tmp_path: Path) -> None:
    sections = {"method": {"name": "dfa"}, "companions": {"keep": 0.5}, "optimizer": {"iterations": 2}}
    train(make(manifest, head={"start": "companions"}, **sections), tmp_path / "run")
    assert losses_of(tmp_path / "run")[-1]["feature"] > 0


def test_a_head_that_classifies_nothing_reads_no_companions(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    spectra = {"data": {"modality": ["nir", "vis"]}, "method": {"name": "xedgeface"}}
    with pytest.raises(InputError, match=r"reads companions with \[companions\], got xedgeface"):
        train(make(manifest, head={"start": "companions"}, **spectra), tmp_path / "run")


def test_drops_belong_to_the_schedule_in_steps(make: Callable[..., Any], manifest: Path) -> None:
    with pytest.raises(InputError, match="expected drops with the schedule steps alone, got cosine"):
        make(manifest, optimizer={"schedule": "cosine", "drops": [0.5]})


@pytest.mark.slow
def test_a_block_in_front_is_trained_saved_and_found_again(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "plain.pt"
    torch.manual_seed(0)
    plain = create_backbone("mobilefacenet").eval()
    torch.save(plain.state_dict(), weights)
    source = {"backbone": "pdt:mobilefacenet", "weights": str(weights), "recalibrate_batchnorm": False}
    optimizer = {"iterations": 3, "batch_size": 4, "learning_rate": 0.01}
    recipe = make(manifest, source=source, method={"name": "pdt"}, optimizer=optimizer)
    train(recipe, tmp_path / "run", resume=False)
    trained: Any = load_backbone(tmp_path / "run")
    assert trained.info.name == "pdt:mobilefacenet"
    assert trained.prefix.back.weight.abs().max() > 0
    assert all(torch.equal(values, plain.state_dict()[name]) for name, values in trained.network.state_dict().items())


def test_batchnorm_is_measured_on_what_batches_hold_and_revived_on_the_companions(
    make: Callable[..., Any], manifest: Path, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NIR pictures alone would tell nothing of what the file's BatchNorm was like before it was folded."""
    network = give_statistics(create_backbone("mbf", scale=1, blocks=(1, 1, 1, 1), embedding_size=16))
    weights = export_arcface(network, tmp_path / "w.onnx")
    recipe = make(
        manifest,
        source={
            "backbone": "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=16)",
            "weights": str(weights),
            "recalibrate_batchnorm": False,
        },
        companions={"keep": 0.25},
        pool={"manifest": str(pool), "split": "pool", "share": 0.25},
    )
    source = make_source(recipe.source)
    task = TASKS["face"](recipe, source.info)
    assert task.companions is not None
    settle_source(source, recipe.source, task, print)
    assert "from the pictures beside them" in capsys.readouterr().out
    first = source.get_submodule("layers.0.layers.0")
    pictures = task.companions.pictures.images
    images = torch.stack([pictures[place][0] for place in range(len(pictures))])
    with torch.no_grad():
        maps = first((images.float() - 127.5) / 127.5)
    torch.testing.assert_close(source.get_buffer("layers.0.layers.1.running_mean"), maps.mean((0, 2, 3)))

    shown = task.in_batches
    assert len(shown) == 128
    kept = {bytes(pictures[place][0].numpy()) for place in range(len(pictures))}
    plain = {bytes(task.plain_training_set[place][0].numpy()) for place in range(len(task.plain_training_set))}
    found = [bytes(shown[place][0].numpy()) for place in range(len(shown))]
    assert sum(each in kept for each in found) == 32
    assert sum(each in plain for each in found) == 64


def test_without_anything_beside_them_the_training_images_are_what_is_measured(
    make: Callable[..., Any], manifest: Path
) -> None:
    recipe = make(manifest, companions=None, method={"name": "l2"}, head={"name": "arcface"})
    task = TASKS["face"](recipe, create_backbone("mobilefacenet").info)
    assert task.of_source is None
    assert task.in_batches is task.plain_training_set


def test_photos_that_are_trained_on_as_nir_are_measured_as_nir(make: Callable[..., Any], manifest: Path) -> None:
    recipe = make(
        manifest,
        data={"modality": "vis", "augmentation": "vis-to-nir"},
        companions={"match": "simulated", "keep": 0.25},
    )
    task = TASKS["face"](recipe, create_backbone("mobilefacenet_slim").info)
    assert task.companions is not None
    pictures = task.companions.pictures.images
    kept = {bytes(pictures[place][0].numpy()) for place in range(len(pictures))}

    def grey(images: Any) -> list[bool]:
        crops = [images[place][0] for place in range(len(images))]
        return [bool((each == each[:1]).all()) for each in crops if bytes(each.numpy()) not in kept]

    assert len(grey(task.in_batches)) == 96
    assert all(grey(task.in_batches))
    assert task.at_the_end(0) is task.training_set
    assert grey(task.at_the_end(0.25)) == [True] * 12


def test_of_two_spectra_the_second_is_the_sources(make: Callable[..., Any], manifest: Path) -> None:
    recipe = make(manifest, data={"modality": ["nir", "vis"]}, companions=None, method={"name": "l2"})
    task = TASKS["face"](recipe, create_backbone("mobilefacenet_slim").info)
    known = [image.path for image in read_manifest(manifest).select(split="train", modality="vis").images]
    assert task.of_source is not None
    assert len(task.of_source) == len(known)
    first, _ = task.of_source[0]
    np.testing.assert_array_equal(first.permute(1, 2, 0), read_crop(known[0], (112, 112)))


def test_the_end_s_batchnorm_sees_the_new_pictures_and_a_part_of_the_sources(
    make: Callable[..., Any], manifest: Path
) -> None:
    """Simulated pictures stay out of it; a set that is too small comes again."""
    recipe = make(manifest, companions={"share": 0.25, "keep": 0.25})
    task = TASKS["face"](recipe, create_backbone("mobilefacenet_slim").info)
    assert task.companions is not None
    pictures, training = task.companions.pictures.images, task.plain_training_set
    kept = {bytes(pictures[place][0].numpy()) for place in range(len(pictures))}
    assert task.at_the_end(0) is training
    for keep, expected in ((0.01, 1), (0.25, 4), (0.8, 48)):
        images = task.at_the_end(keep)
        assert len(images) == 12 + expected
        shown = [bytes(images[place][0].numpy()) for place in range(len(images))]
        assert shown[:12] == [bytes(training[place][0].numpy()) for place in range(12)]
        assert set(shown[12:]) <= kept
    assert set(shown[12:]) == kept

    both = make(manifest, data={"modality": ["nir", "vis"]}, companions=None, method={"name": "l2"})
    of_both = TASKS["face"](both, create_backbone("mobilefacenet_slim").info)
    assert of_both.spectra is not None
    assert len(of_both.at_the_end(0.25)) == 16


@pytest.mark.slow
def test_what_the_end_keeps_changes_statistics_alone(make: Callable[..., Any], manifest: Path, tmp_path: Path) -> None:
    for name, settings in (("plain", {}), ("kept", {"final_batchnorm": True, "final_keep": 0.5})):
        source = {"variance_floor": 0}
        recipe = make(manifest, source=source, companions={"keep": 0.25}, optimizer={"iterations": 2, **settings})
        train(recipe, tmp_path / name, resume=False)
    plain, kept = (load_file(RunFolder(tmp_path / name).model_file) for name in ("plain", "kept"))
    unlike = {key for key in plain if not torch.equal(plain[key], kept[key])}
    assert any(key.endswith("running_mean") for key in unlike)
    assert all(key.endswith(("running_mean", "running_var", "num_batches_tracked")) for key in unlike), unlike


def test_nothing_to_keep_at_the_end_is_said_before_training(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    recipe = make(
        manifest,
        companions=None,
        method={"name": "l2"},
        head={"name": "arcface"},
        optimizer={"final_batchnorm": True, "final_keep": 0.25},
    )
    with pytest.raises(InputError, match="final_keep: expected pictures of the source's own spectrum in addition to"):
        train(recipe, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()
