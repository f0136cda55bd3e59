"""Weights as people have them: what was saved along with them does not matter, another network does."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from facexfer.backbones import create_backbone
from facexfer.backbones.checkpoints.containers import choose_weights, fitting_weights, tensor_groups
from facexfer.backbones.identify import identify
from facexfer.errors import InputError

NAME = "mbf(scale=1, blocks=(1, 1, 1, 1))"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return create_backbone(NAME).state_dict()


def under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def other(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor + 1 for name, tensor in state.items()}


HEAD = torch.zeros(512, 10)
CONTAINERS = {
    "checkpoint_gpu_0.pt": lambda s: {
        "epoch": 3, "global_step": 10, "state_dict_backbone": s, "state_dict_softmax_fc": {"weight": HEAD.T},
        "state_optimizer": {"state": {0: {"exp_avg": HEAD}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "state_lr_scheduler": {"last_epoch": 2},
    },
    "compiled.pth": lambda s: under("_orig_mod.", s),
    "parallel-compiled.pth": lambda s: under("module._orig_mod.", s),
    "compiled-parallel.PTH": lambda s: under("_orig_mod.module.", s),
    "lightning.ckpt": lambda s: {"state_dict": {**under("model.", s), "head.kernel": HEAD}, "epoch": 1},
    "facexzoo.pt": lambda s: {"state_dict": {**under("backbone.", s), "head.weight": HEAD}, "epoch": 1},
    "model_state_dict.pth.tar": lambda s: {"model_state_dict": s, "best_acc": np.float64(0.5)},
    "args.tar": lambda s: {"args": argparse.Namespace(lr=0.1), "net": under("student.net.", s)},
    "nested.ckpt": lambda s: {"models": [{"weights": {"net": s}}]},
    "flat.bin": lambda s: {**s, "kernel": HEAD, "fc7.weight": HEAD.T, "n_averaged": torch.tensor(3)},
    "with-more.pkl": lambda s: {**s, "epoch": 3},
    "averaged.pt": lambda s: {**under("module.", s), "n_averaged": torch.tensor(3)},
    "same-twice": lambda s: {"net": s, "net_again": {name: tensor.clone() for name, tensor in s.items()}},
}  # fmt: skip


@pytest.mark.parametrize("name", CONTAINERS)
def test_weights_are_found_in_whatever_is_around_them(
    state: dict[str, torch.Tensor], tmp_path: Path, name: str
) -> None:
    torch.save(CONTAINERS[name](state), tmp_path / name)
    assert identify(tmp_path / name).network == NAME
    loaded = create_backbone(NAME, weights=tmp_path / name).state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.items())


@pytest.mark.parametrize(
    ("plain", "average"), [("net", "ema"), ("state_dict", "state_dict_ema"), ("params", "params_ema"), ("model", "SWA")]
)
def test_of_plain_weights_and_their_average_the_average_is_taken_and_said(
    state: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str], plain: str, average: str
) -> None:
    file = tmp_path / "w.pt"
    torch.save({plain: state, average: under("module.", other(state))}, file)
    loaded = create_backbone(NAME, weights=file).state_dict()
    assert all(torch.equal(loaded[key], tensor + 1) for key, tensor in state.items() if "num_batches" not in key)
    said = f"weights at '{average}.module', the average, not the plain weights at '{plain}'"
    assert said in capsys.readouterr().err
    assert said in identify(file).remark


def test_what_was_left_out_is_said(
    state: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {**under("backbone.", state), "head.weight": HEAD}}, tmp_path / "w.pt")
    create_backbone(NAME, weights=tmp_path / "w.pt")
    said = "w.pt: weights at 'state_dict.backbone', left out 1 tensors that are not the network's: head.weight\n"
    assert capsys.readouterr().err == said
    assert identify(tmp_path / "w.pt").remark == said.removeprefix("w.pt: ").rstrip()


def test_two_sets_that_nothing_tells_apart_are_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"student": state, "teacher": other(state)}, tmp_path / "w.pt")
    refusal = r"expected one set of weights that fits, got 2: 'student', 'teacher'; save the one"
    with pytest.raises(InputError, match=rf"w\.pt: {refusal}"):
        create_backbone(NAME, weights=tmp_path / "w.pt")
    facts = identify(tmp_path / "w.pt")
    assert facts.network == NAME
    assert facts.remark.startswith("cannot be loaded as it is: expected one set")
    torch.save({"a": state, "b": other(state), "ema": other(other(state))}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="got 3: 'a', 'b', 'ema'"):
        create_backbone(NAME, weights=tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers.9.weight": torch.zeros(3)}, r"unexpected: layers\.9\.weight"),
        ({"attention.weight": torch.zeros(64, 64, 3, 3)}, r"unexpected: attention\.weight"),
        ({"attention.weight": torch.zeros(64, 64)}, r"unexpected: attention\.weight"),
    ],
)
def test_what_may_be_a_layer_of_another_network_is_refused(
    state: dict[str, torch.Tensor], tmp_path: Path, change: dict[str, torch.Tensor], message: str
) -> None:
    for wrapped in ({**state, **change}, {"state_dict": under("backbone.", {**state, **change})}):
        torch.save(wrapped, tmp_path / "w.pt")
        with pytest.raises(InputError, match=message):
            create_backbone(NAME, weights=tmp_path / "w.pt")
        assert identify(tmp_path / "w.pt").network is None


def test_a_missing_or_misshapen_layer_is_named_behind_any_prefix(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    first, *_, last = state
    first = "layers.0.layers.0.weight"
    damaged = {**state, first: torch.zeros(1, 3, 3, 3)}
    del damaged[last.replace("num_batches_tracked", "running_var")]
    torch.save({"epoch": 1, "state_dict": under("module.", damaged)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"missing: features\..*running_var; misshapen: layers\.0\.layers\.0\.weight"):
        create_backbone(NAME, weights=tmp_path / "w.pt")


def test_quantised_weights_are_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    first = "layers.0.layers.0.weight"
    torch.save({**state, first: state[first].to(torch.int8)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"not floating point: layers\.0\.layers\.0\.weight \(int8\)"):
        create_backbone(NAME, weights=tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.SAFETENSORS", "w.bin", "w"])
def test_safetensors_are_known_by_their_content(state: dict[str, torch.Tensor], tmp_path: Path, name: str) -> None:
    save_file(under("model.", state), tmp_path / name)
    assert identify(tmp_path / name).format == "safetensors"
    create_backbone(NAME, weights=tmp_path / name)


def test_image_networks_keep_their_classifier_in_any_container(tmp_path: Path) -> None:
    network = create_backbone("mobilenet_v2")
    library = {name.removeprefix("trunk."): tensor for name, tensor in network.state_dict().items()}
    library |= {"classifier.1.weight": torch.ones(5, 1280), "classifier.1.bias": torch.zeros(5)}
    torch.save({"state_dict": under("module.", library), "epoch": 2}, tmp_path / "w.pt")
    loaded = create_backbone("mobilenet_v2", weights=tmp_path / "w.pt")
    assert loaded.classifier.weight.shape == (5, 1280)
    assert identify(tmp_path / "w.pt").network == "mobilenet_v2"


def test_the_choice_is_of_what_fits_alone(state: dict[str, torch.Tensor]) -> None:
    network = create_backbone(NAME)
    found = fitting_weights(network, tensor_groups({"small": {"a": torch.zeros(1)}, "net": state}))
    assert [each.place for each in found] == ["net"]
    assert choose_weights(found) is found[0]
