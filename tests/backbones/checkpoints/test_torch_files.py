"""Torch and safetensors files: our names, wrapped and prefixed; damaged and hostile ones."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.carried import facts_to_metadata
from facexfer.backbones.parts.info import BackboneModule
from facexfer.errors import InputError


@pytest.fixture(scope="module")
def network() -> BackboneModule:
    torch.manual_seed(3)
    return create_backbone("mobilefacenet").eval()


@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone."])
@pytest.mark.parametrize("wrapper", [None, "state_dict"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_come_back(
    network: BackboneModule, tmp_path: Path, prefix: str, wrapper: str | None, suffix: str
) -> None:
    state = {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({wrapper: state, "epoch": 3} if wrapper else state, path)
    loaded = create_backbone("mobilefacenet", weights=path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor) or name.endswith("num_batches_tracked")


class Hostile:
    def __reduce__(self):
        return os.system, ("echo never > /dev/null",)


def test_bad_files_are_one_clear_line(network: BackboneModule, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": Hostile()}, path)
    with pytest.raises(InputError, match=r"w\.pth: expected tensors .* an object of (posix|nt)\.system, which would"):
        create_backbone("mobilefacenet", weights=path)
    torch.save({"state_dict": {"a": 1}}, path)
    with pytest.raises(InputError, match="expected named tensors, got none"):
        create_backbone("mobilefacenet", weights=path)
    torch.save(dict(list(network.state_dict().items())[:-10]), path)
    with pytest.raises(InputError, match="missing: "):
        create_backbone("mobilefacenet", weights=path)
    for damaged in (b"", b"PK\x03\x04", path.read_bytes()[:5000]):
        for name in ("d.pth", "d.safetensors"):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(InputError, match="expected (a file of )?weights"):
                create_backbone("mobilefacenet", weights=tmp_path / name)
    with pytest.raises(InputError, match="expected a readable file of weights"):
        create_backbone("mobilefacenet", weights=tmp_path / "absent.pt")


def test_what_is_known_of_a_network_travels_with_its_weights(network: BackboneModule, tmp_path: Path) -> None:
    info = replace(network.info, licence="research", source="somebody", mean=(1.0, 2.0, 3.0), color_order="BGR")
    save_file(dict(network.state_dict()), tmp_path / "w.safetensors", facts_to_metadata(info))
    loaded = create_backbone("mobilefacenet", weights=tmp_path / "w.safetensors")
    assert loaded.info == info
    save_file(dict(network.state_dict()), tmp_path / "w.safetensors", {"mean": "[1.0]"})
    with pytest.raises(InputError, match="expected facts as facexfer writes them, got 1 numbers in mean"):
        create_backbone("mobilefacenet", weights=tmp_path / "w.safetensors")
