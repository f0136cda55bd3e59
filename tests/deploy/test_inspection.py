"""What inspect says of facexfer's own files and of folders."""

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.carried import facts_to_metadata
from facexfer.deploy.inspection import inspect_path
from facexfer.errors import InputError
from facexfer.runs.state import save_state

NAME = "mbf(scale=1, blocks=(1, 1, 1, 1))"


def test_licence_and_origin_of_our_own_files(tmp_path: Path) -> None:
    network = create_backbone(NAME)
    facts = facts_to_metadata(replace(network.info, licence="research", source="somebody"))
    save_file(dict(network.state_dict()), tmp_path / "model.safetensors", {"backbone": NAME, **facts})
    save_state(tmp_path / "last.safetensors", {"backbone": dict(network.state_dict()), "facts": facts})
    for name in ("model.safetensors", "last.safetensors"):
        seen = inspect_path(tmp_path / name)
        assert (seen.licence, seen.origin) == ("research", "somebody")


def test_other_folders_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file of weights, a run folder or a bundle, got another folder"):
        inspect_path(tmp_path)
    (tmp_path / "recipe.toml").write_text("")
    with pytest.raises(InputError, match=r"expected a finished run with model\.safetensors, found none"):
        inspect_path(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(InputError, match=r"expected a bundle with model\.json"):
        inspect_path(tmp_path)
