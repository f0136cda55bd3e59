"""Our networks against the published symbols, interpreted node by node with plain torch functions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mxnet_files import params_bytes
from mxnet_symbol import run_symbol
from shared_data import shared

from facexfer import create_backbone
from facexfer.backbones.checkpoints.mxnet_params import read_mxnet_params
from facexfer.backbones.identify import identify
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.normalize import Normalize
from facexfer.errors import InputError
from facexfer.transfer.taps import map_shapes

Y1 = "weights/mobilefacenet-mxnet-y1"


def relative_difference(
    network: BackboneModule, symbol: Path, params: dict[str, np.ndarray], images: torch.Tensor
) -> float:
    tensors = {name: torch.from_numpy(array).float() for name, array in params.items()}
    with torch.no_grad():
        expected = run_symbol(symbol, tensors, images)
        got = network.eval()(Normalize(network.info)(images))
    largest = (got - expected).abs().max().item()
    print(f"{network.info.name}: within {largest:.1e} of its symbol, largest value {expected.abs().max():.1f}")
    assert largest < 1e-3 * max(1.0, expected.abs().max().item())
    return ((got - expected).norm() / expected.norm()).item()


def test_mobilefacenet_equals_the_published_symbol() -> None:
    folder = shared(Y1)
    images = torch.randint(0, 256, (2, 3, 112, 112)).float()
    network = create_backbone("mobilefacenet", weights=folder / "model-0000.params")
    params = read_mxnet_params(folder / "model-0000.params")
    assert relative_difference(network, folder / "model-symbol.json", params, images) < 1e-4


@pytest.mark.slow
def test_lresnet34e_ir_equals_the_published_symbol(tmp_path: Path) -> None:
    symbol = shared("weights/lresnet34e-ir/model-symbol.json")
    template: Any = create_backbone("lresnet34e_ir")
    state = template.state_dict()
    generator = np.random.default_rng(0)
    params = {"fc1_gamma": generator.normal(size=512).astype(np.float32)}
    for ours, theirs in template.mxnet_names().items():
        shape = tuple(state[ours].shape)
        spread = np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.05
        array = generator.normal(0, spread, shape).astype(np.float32)
        # Scales and variances near 1, slopes near a quarter, so that neither vanishes nor explodes.
        array += 1.0 if theirs.endswith(("_var", "_gamma")) and "relu" not in theirs else 0.0
        params[theirs] = array + (0.25 if "relu" in theirs else 0.0)
    file = tmp_path / "model-0000.params"
    file.write_bytes(params_bytes({f"arg:{name}": array.astype(np.float32) for name, array in params.items()}))
    network = create_backbone("lresnet34e_ir", weights=file)
    images = torch.randint(0, 256, (2, 3, 112, 112)).float()
    assert relative_difference(network, symbol, read_mxnet_params(file), images) < 1e-4


@pytest.mark.parametrize("name", ["mobilefacenet", "lresnet34e_ir"])
def test_declared_facts_hold(name: str) -> None:
    network = create_backbone(name)
    info = network.info
    assert (info.input_size, info.color_order) == ((112, 112), "RGB")
    assert network.eval()(torch.zeros(1, 3, 112, 112)).shape == (1, info.embedding_size)
    for taps in (info.taps, info.blocks, info.even_taps(8), info.even_taps(12)):
        shapes = map_shapes(network, [tap.layer for tap in taps], info.input_size)
        assert [(tap.channels, 112 // tap.stride, 112 // tap.stride) for tap in taps] == list(shapes)
    assert [112 // tap.stride for tap in info.taps] == [56, 28, 14, 7]
    assert [len(info.even_taps(count)) for count in (4, 8, 12)] == [4, 8, 12]
    with pytest.raises(InputError, match="expected 1 to 16 taps"):
        info.even_taps(17)


def test_the_fixed_scale_stays_one_in_training() -> None:
    network: Any = create_backbone("mobilefacenet").train()
    network(torch.randn(4, 3, 112, 112)).square().sum().backward()
    assert [name for name, _ in network.norm.named_parameters()] == ["bias"]
    assert network.norm.unit_scale.tolist() == [1.0] * 128


def test_every_unfit_entry_is_named_and_nothing_is_filled(tmp_path: Path) -> None:
    params = read_mxnet_params(shared(Y1) / "model-0000.params")
    params["extra"] = params.pop("fc1_weight")
    params["fc1_beta"] = params["fc1_beta"][:5]
    params["pre_fc1_bias"] = params["pre_fc1_bias"] * np.float32(np.nan)
    file = tmp_path / "bad.params"
    file.write_bytes(params_bytes(params))
    with pytest.raises(InputError) as caught:
        create_backbone("mobilefacenet", weights=file)
    message = str(caught.value)
    assert "missing: fc1_weight" in message
    assert "unexpected: extra" in message
    assert "misshapen: fc1_beta (5,) instead of (128,)" in message
    assert "not finite: pre_fc1_bias" in message


def test_weights_of_another_network_or_kind_are_an_error(tmp_path: Path) -> None:
    of_another = (
        "expected the entries of this network; missing: conv0_weight, .* and [0-9]+ more; .*facexfer inspect tells"
    )
    with pytest.raises(InputError, match=of_another) as caught:
        create_backbone("lresnet34e_ir", weights=shared(Y1) / "model-0000.params")
    assert len(str(caught.value)) < 1000
    (tmp_path / "a.bin").write_bytes(b"some text")
    with pytest.raises(InputError, match="got none of them; check the file"):
        create_backbone("mobilefacenet", weights=tmp_path / "a.bin")
    with pytest.raises(InputError, match="expected a readable file of weights"):
        create_backbone("mobilefacenet", weights=tmp_path / "absent.params")


def params_of(name: str, **others: np.ndarray) -> dict[str, np.ndarray]:
    network: Any = create_backbone(name)
    state = network.state_dict()
    return {theirs: state[ours].numpy() for ours, theirs in network.mxnet_names().items()} | others


def test_a_classifier_and_an_optimizers_state_are_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network: Any = create_backbone("mobilefacenet")
    first = next(iter(network.mxnet_names().values()))
    arrays = params_of("mobilefacenet")
    others: dict[str, np.ndarray] = {
        "fc7_weight": np.zeros((10, 128), np.float32),
        "fc7_bias": np.zeros(10, np.float32),
        "num_update": np.array([7], np.int64),
        f"{first}_momentum": np.zeros_like(arrays[first]),
    }
    (tmp_path / "model-0001.PARAMS").write_bytes(params_bytes(arrays | others))
    create_backbone("mobilefacenet", weights=tmp_path / "model-0001.PARAMS")
    said = f"left out 4 arrays that are not the network's: {', '.join(list(others)[:3])}, ..."
    assert said in capsys.readouterr().err
    facts = identify(tmp_path / "model-0001.PARAMS")
    assert (facts.network, facts.remark) == ("mobilefacenet", said)
    assert facts.parameters == sum(array.size for array in arrays.values())


@pytest.mark.parametrize("name", ["conv_extra_weight", "fc1_extra"])
def test_what_may_be_a_layer_of_another_network_is_refused(tmp_path: Path, name: str) -> None:
    extra = np.zeros((64, 64, 3, 3) if "conv" in name else (64, 64), np.float32)
    (tmp_path / "w.params").write_bytes(params_bytes(params_of("mobilefacenet", **{name: extra})))
    with pytest.raises(InputError, match=f"unexpected: {name}"):
        create_backbone("mobilefacenet", weights=tmp_path / "w.params")
    assert identify(tmp_path / "w.params").network is None
