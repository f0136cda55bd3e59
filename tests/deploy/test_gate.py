"""The gate names the file that it refuses, also where its embeddings cannot be compared."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from arcface_export import give_statistics
from onnx import numpy_helper
from small_faces import write_small_set

from facexfer.backbones import create_backbone
from facexfer.data.manifest import read_manifest
from facexfer.deploy.gate import TOLERANCES, Cost, GateData, is_usable, make_row, measure
from facexfer.deploy.onnx_export import export_onnx
from facexfer.measure.embedder import load
from facexfer.measure.pair_sets import Comparison, Side
from facexfer.recipe import PairsSection


def side(bad: float | None = None) -> Side:
    embeddings = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    if bad is not None:
        embeddings[3] = bad
    nothing = np.full(8, None, dtype=object)
    return Side(embeddings, np.repeat(["a", "b", "c", "d"], 2), nothing)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
@pytest.mark.parametrize("place", ["probe", "gallery"])
def test_embeddings_that_cannot_be_compared_are_refused_by_the_files_name(bad: float, place: str) -> None:
    sound = Comparison("vis-nir", side(), side())
    got = Comparison("vis-nir", side(bad if place == "probe" else None), side(bad if place == "gallery" else None))
    assert is_usable(sound)
    assert not is_usable(got)
    cost = Cost(1.0, (), 1.0)
    row = make_row("openvino:fp16", cost, sound, got, [0.5], TOLERANCES["fp16"])
    assert row.problems == ("expected openvino:fp16 embeddings within 0.01 of the run's, got nan",)
    assert make_row("openvino:fp16", cost, sound, sound, [0.5], TOLERANCES["fp16"]).problems == ()


@pytest.mark.slow
def test_a_file_that_computes_nan_is_measured_and_refused(tmp_path: Path) -> None:
    images = read_manifest(write_small_set(tmp_path)).select(split="val")
    network = give_statistics(create_backbone("mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"))
    file = tmp_path / "model.onnx"
    export_onnx(network, file, 17)
    proto = onnx.load(file)
    weights = max(proto.graph.initializer, key=lambda each: len(each.raw_data))
    weights.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(weights), np.nan), weights.name))
    onnx.save(proto, file)
    data = GateData(images, PairsSection(probe="nir"), [0.2])
    row, got = measure("fp16", file, data.compare(load(network)), data, TOLERANCES["fp16"])
    assert row.problems == ("expected fp16 embeddings within 0.01 of the run's, got nan",)
    assert row.differences == ()
    assert not is_usable(got)
