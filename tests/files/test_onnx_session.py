"""An ONNX file of any input type, output type and batch gives the embeddings that its weights say."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from small_faces import write_small_set
from small_onnx import SIZE, expected, outside, small_onnx

from facexfer.errors import DataWarning, InputError
from facexfer.files.onnx_parts import onnx_digest, onnx_parts
from facexfer.files.onnx_session import OnnxSession
from facexfer.measure.embedder import load, normalises_pixels
from facexfer.measure.evaluation import evaluate

CROPS = np.random.default_rng(1).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("batch", ["n", 1, 3, 7])
@pytest.mark.parametrize("given", ["FLOAT", "FLOAT16", "DOUBLE", "UINT8", "INT32", "INT64", "INT16", "UINT16"])
def test_every_type_and_batch(tmp_path: Path, given: str, batch: int | str) -> None:
    file = small_onnx(tmp_path / "m.onnx", getattr(TensorProto, given), batch=batch)
    np.testing.assert_allclose(load(file).embed(CROPS), expected(CROPS), atol=1e-3)


@pytest.mark.parametrize(("made", "within"), [("FLOAT16", 5e-2), ("DOUBLE", 1e-4)])
def test_every_type_of_embeddings_comes_as_float32(tmp_path: Path, made: str, within: float) -> None:
    file = small_onnx(tmp_path / "m.onnx", TensorProto.FLOAT, getattr(TensorProto, made))
    got = load(file).embed(CROPS)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected(CROPS), atol=within)


def test_a_batch_that_is_free_only_in_name_is_taken_one_by_one(tmp_path: Path) -> None:
    file = small_onnx(tmp_path / "m.onnx", inside=1)
    np.testing.assert_allclose(load(file).embed(CROPS), expected(CROPS), atol=1e-3)
    used = load(file)
    for count in (1, 5):
        np.testing.assert_allclose(used.embed(CROPS[:count]), expected(CROPS[:count]), atol=1e-3)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"given": TensorProto.INT8}, r"whole numbers that hold 0 to 255, got tensor\(int8\)"),
        ({"given": TensorProto.BFLOAT16}, "expected (an input of floats|an ONNX model)"),
        ({"made": TensorProto.INT32}, "expected embeddings of floats, got tensor"),
        ({"normalise": False}, "expected an ONNX file that normalises pixels itself"),
        ({"batch": 5, "inside": 2}, "expected a file that onnxruntime runs, got: "),
    ],
)
def test_what_cannot_be_fed_is_one_line(tmp_path: Path, facts: dict[str, Any], message: str) -> None:
    file = small_onnx(tmp_path / "m.onnx", **facts)
    with pytest.raises(InputError, match=rf"m\.onnx: .*{message}") as caught:
        load(file).embed(CROPS)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("given", ["FLOAT", "FLOAT16"])
def test_a_file_without_normalisation_is_told_its_own(tmp_path: Path, given: str) -> None:
    file = small_onnx(tmp_path / "m.onnx", getattr(TensorProto, given), normalise=False)
    embedder = load(file, input_mean=127.5, input_std=[127.5] * 3, flip=True)
    both = expected(CROPS) + expected(CROPS[:, :, ::-1])
    np.testing.assert_allclose(embedder.embed(CROPS), both, atol=1e-3 if given == "FLOAT" else 0.2)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (127.5, None, "after both --input-mean and --input-std, the latter positive, got 127.5 and None"),
        (127.5, 0, "the latter positive, got 127.5 and 0"),
        (float("nan"), 128, "the latter positive, got nan and 128"),
        ([127.5, 127.5], [128], r"one number or three .* got \[127.5, 127.5\]"),
    ],
)
def test_half_a_normalisation_is_refused(tmp_path: Path, mean: Any, std: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(small_onnx(tmp_path / "m.onnx", normalise=False), input_mean=mean, input_std=std)


def test_pixels_are_not_normalised_twice(tmp_path: Path) -> None:
    file = small_onnx(tmp_path / "m.onnx", TensorProto.UINT8)
    with pytest.raises(InputError, match=r"m\.onnx: expected --input-mean .* takes them as they are; leave both out"):
        load(file, input_mean=127.5, input_std=127.5)
    with pytest.raises(InputError, match="m.onnx: expected --input-mean .* leave both out"):
        load(load(file), input_mean=127.5, input_std=127.5)
    model = onnx.load(small_onnx(tmp_path / "ours.onnx"))
    model.metadata_props.add(key="preprocessing", value="{}")
    onnx.save(model, tmp_path / "ours.onnx")
    with pytest.raises(InputError, match="ours.onnx: expected --input-mean .* leave both out"):
        load(tmp_path / "ours.onnx", input_mean=127.5, input_std=127.5)


def test_a_normalisation_that_is_given_wins_over_what_the_nodes_look_like(tmp_path: Path) -> None:
    file = small_onnx(tmp_path / "m.onnx")
    with pytest.warns(DataWarning, match=r"m\.onnx: looks like a file that normalises pixels itself"):
        told = load(file, input_mean=[10, 20, 30], input_std=2)
    np.testing.assert_allclose(told.embed(CROPS), expected((CROPS - np.array([10, 20, 30])) / 2), atol=1e-3)


@pytest.mark.parametrize("normalise", [True, False])
def test_only_nodes_that_pixels_reach_normalise_them(tmp_path: Path, normalise: bool) -> None:
    file = small_onnx(tmp_path / "m.onnx", normalise=normalise)
    model = onnx.load(file)
    (convolution,) = (node for node in model.graph.node if node.op_type == "Conv")
    # Weights are standardised, and a shape worked out, before the convolution.
    convolution.input[1] = "standard"
    for node in (
        onnx.helper.make_node("Mul", ["weight", "scale"], ["standard"]),
        onnx.helper.make_node("Mul", ["sizes", "sizes"], ["squares"]),
        onnx.helper.make_node("Shape", ["x"], ["sizes"]),
    ):
        model.graph.node.insert(0, node)
    onnx.save(model, file)
    assert normalises_pixels(file) == normalise


@pytest.mark.parametrize("kind", ["MatMul", "Gemm"])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_product_of_patches_ends_the_normalisation_too(tmp_path: Path, kind: str, normalise: bool) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Sub", ["x", "mean"], ["moved"]),
        make("Flatten", ["moved" if normalise else "x"], ["flat"]),
        make(kind, ["flat", "weight"], ["product"]),
        make("Add", ["product", "bias"], ["y"]),
    ]
    arrays = {"mean": np.float32(127.5), "weight": np.ones((192, 4), np.float32), "bias": np.ones(4, np.float32)}
    graph = onnx.helper.make_graph(
        nodes[0 if normalise else 1 :],
        "patches",
        [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8),
              tmp_path / "m.onnx")  # fmt: skip
    assert normalises_pixels(tmp_path / "m.onnx") == normalise


@pytest.mark.parametrize("place", ["before", "gallery_model"])
def test_another_file_without_normalisation_is_compared(tmp_path: Path, place: str) -> None:
    manifest = write_small_set(tmp_path, size=SIZE)
    new, old = small_onnx(tmp_path / "new.onnx"), small_onnx(tmp_path / "old.onnx", normalise=False)
    given: dict[str, Any] = {"images": manifest, "probe": "nir", "gallery": "vis", "fars": [0.2]}
    told: dict[str, Any] = {**given, "input_mean": 127.5, "input_std": 127.5}
    table = evaluate(new, **told | {place: old}).table()
    assert table.replace("old.onnx", "new.onnx") == evaluate(new, **given | {place: new}).table()
    with pytest.raises(InputError, match=r"old\.onnx: expected an ONNX file that normalises pixels itself"):
        evaluate(new, **given | {place: old})
    with pytest.warns(DataWarning, match=r"new\.onnx: looks like a file that normalises pixels itself"):
        evaluate(new, **told | {place: new})


def test_whole_numbers_need_no_visible_normalisation(tmp_path: Path) -> None:
    assert load(small_onnx(tmp_path / "m.onnx", TensorProto.UINT8, normalise=False)).embed(CROPS).shape == (5, 4)


@pytest.mark.parametrize("name", ["m.ONNX", "m.bin", "m"])
def test_a_model_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    np.testing.assert_allclose(load(small_onnx(tmp_path / name)).embed(CROPS), expected(CROPS), atol=1e-3)


def test_the_fingerprint_covers_weights_next_to_the_graph(tmp_path: Path) -> None:
    digests = []
    for change in (0, 1):
        folder = tmp_path / str(change)
        folder.mkdir()
        file = outside(small_onnx(folder / "m.onnx"))
        assert onnx_parts(file) == (folder / "w.bin",)
        data = bytearray((folder / "w.bin").read_bytes())
        data[-2] ^= change
        (folder / "w.bin").write_bytes(data)
        assert load(file).embed(CROPS).shape == (5, 4)
        digests.append(load(file).fingerprint)
    assert digests[0] != digests[1]
    whole = small_onnx(tmp_path / "m.onnx")
    assert (onnx_parts(whole), onnx_digest(whole)) == ((), load(whole).fingerprint)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"location": "../w.bin"}, r"expected weights in its own folder, got '\.\./w\.bin'"),
        ({"location": "/etc/passwd"}, "expected weights in its own folder, got '/etc/passwd'"),
        ({"location": ""}, "expected weights in its own folder, got ''"),
        ({"location": "other.bin"}, r"expected its weights in other\.bin next to it, found none"),
        ({"length": "10000000"}, r"bytes of weights in w\.bin, got"),
        ({"offset": "-4"}, r"bytes of weights in w\.bin, got"),
        ({"length": "many"}, "expected weights in a file next to it"),
        ({"location": "w\0.bin"}, "expected weights in (its own folder|a file next to it)"),
    ],
)
def test_weights_that_are_not_next_to_the_graph_are_one_line(
    tmp_path: Path, facts: dict[str, str], message: str
) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(1 << 20))
    (tmp_path / "in").mkdir()
    file = outside(small_onnx(tmp_path / "in" / "m.onnx"), **facts)
    with pytest.raises(InputError, match=message):
        load(file)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file = outside(small_onnx(tmp_path / "in" / "m.onnx"))
    (tmp_path / "in" / "w.bin").rename(tmp_path / "w.bin")
    (tmp_path / "in" / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(InputError, match="expected weights in its own folder"):
        load(file)


def test_tensors_in_nodes_are_parts_too(tmp_path: Path) -> None:
    file = outside(small_onnx(tmp_path / "m.onnx"))
    model = onnx.load(file, load_external_data=False)
    weight = next(each for each in model.graph.initializer if each.name == "weight")
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["weight"], value=weight))
    model.graph.initializer.remove(weight)
    file.write_bytes(model.SerializeToString())
    (tmp_path / "w.bin").unlink()
    with pytest.raises(InputError, match=r"w\.bin next to it, found none"):
        OnnxSession(file, ["CPUExecutionProvider"])
