"""Damaged files of weights: inspect, loading and opening for evaluation give a right answer or one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from small_onnx import small_onnx

from facexfer.backbones import create_backbone
from facexfer.backbones.identify import identify
from facexfer.errors import InputError
from facexfer.measure.embedder import load

NAME = "mbf(scale=1, blocks=(1, 1, 1, 1))"
FILES = 40


def garble(data, generator):
    """Cut a file off, flip bits of its head or anywhere, or put other bytes in."""
    data = bytearray(data)
    way = generator.integers(4)
    if way == 0:
        return bytes(data[: generator.integers(len(data))])
    reach = min(len(data), 4096) if way == 1 else len(data)
    for place in generator.integers(0, reach, generator.integers(1, 20)):
        data[place] = generator.integers(256) if way == 3 else data[place] ^ (1 << int(generator.integers(8)))
    return bytes(data)


@pytest.mark.parametrize("form", ["torch", "legacy", "safetensors", "onnx"])
def test_damaged_weights_are_a_right_answer_or_one_line(tmp_path: Path, form: str) -> None:
    generator = np.random.default_rng(0)
    file = tmp_path / "w"
    state = {"layers.0.weight": torch.zeros(4, 4), "head.weight": torch.ones(3)}
    if form == "onnx":
        small_onnx(file)
    elif form == "safetensors":
        file.write_bytes(save(state))
    else:
        torch.save({"state_dict": state}, file, _use_new_zipfile_serialization=form == "torch")
    whole = file.read_bytes()
    uses = [identify, lambda path: create_backbone(NAME, weights=path)]
    for _ in range(FILES):
        file.write_bytes(garble(whole, generator))
        for use in [*uses, *([load] if form == "onnx" else [])]:
            try:
                use(file)
            except InputError as error:
                assert "\n" not in str(error)  # noqa: PT017
