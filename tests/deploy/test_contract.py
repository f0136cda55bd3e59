"""What a bundle decides by."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facexfer.deploy.contract import Contract, choose_point, read_contract
from facexfer.deploy.runtime_files import find_runtime_file, gate_of, thresholds_of
from facexfer.deploy.score_summary import measured_scores
from facexfer.errors import InputError
from facexfer.eval.report.as_json import points_to_json
from facexfer.eval.scores import all_pairs
from facexfer.eval.verification import tar_at_far


def test_no_bundle_decides_by_a_far_at_which_everybody_is_accepted() -> None:
    embeddings = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    everybody, half = all_pairs(embeddings, np.arange(20) // 4, [1.0, 0.5])
    assert choose_point([everybody], None) is None
    assert choose_point([everybody, half], None) == half


def test_a_small_set_decides_by_the_far_with_the_most_false_accepts() -> None:
    generator = np.random.default_rng(0)
    genuine, impostor = generator.normal(size=100) + 3, generator.normal(size=1125)
    points = tar_at_far(genuine, impostor, (1e-2, 1e-3, 1e-4))
    chosen = choose_point(points, None)
    assert chosen is points[0]  # 11 false accepts are expected there, and 1 at FAR 1e-3
    content = {"evaluation": points_to_json(points), "operating_point": {"far": chosen.far}}
    assert Contract(Path(), content).remark.startswith("FAR 0.01 breaks the rule of thirty: it needs at least 3,000")
    more = tar_at_far(genuine, generator.normal(size=300_000), (1e-2, 1e-3, 1e-4))
    assert choose_point(more, None) is more[2]
    content = {"evaluation": points_to_json(more), "operating_point": {"far": 1e-4}}
    assert Contract(Path(), content).remark == ""
    assert Contract(Path(), {**content, "operating_point": {"far": None}}).remark == ""


def test_a_file_of_a_bundle_is_told_from_its_folder(tmp_path: Path) -> None:
    for name in ("model.json", "model.onnx"):
        (tmp_path / name).touch()
        with pytest.raises(
            InputError, match=f"{name}: expected the folder of a bundle, got a file; name its folder, /"
        ):
            read_contract(tmp_path / name)


def whole() -> dict[str, Any]:
    """What a bundle with a runtime's file says, as far as it is read."""
    point = {"far": 0.1, "threshold": 0.44, "tar": 0.9, "supported": True}
    none = {"far": 1e-6, "threshold": None, "tar": None, "supported": False, "remark": "too few"}
    gate = {
        "tolerance": {"difference": 1e-4, "loss": 1e-3},
        "differences": [{"far": 0.1, "first": 0.9, "second": 0.9}, None],
    }
    scores = {
        "far": 0.1, "threshold": 0.44, "genuine_rate": 0.9, "genuine_ci95": [0.8, 0.95], "impostor_rate": 0.1,
        "scores": [0.5, 0.6], "above": [0.8, 0.2], "covariance": [[0.01, 0.0], [0.0, 0.01]], "identities": 20,
    }  # fmt: skip
    return {
        "sha256": "0", "precision": "fp32", "input": {"name": "input", "shape": ["N", 3, 112, 112]},
        "preprocessing": {"inside": {"flip": False}}, "embedding_size": 32, "licence": "none", "source": "",
        "operating_point": {"far": 0.1, "threshold": 0.44},
        "evaluation": {"operating_points": [point, none], "data": ""},
        "gate": [gate], "recipe": {"source": {"backbone": "mobilefacenet"}}, "detector": None,
        "gallery": {"file": "gallery.onnx", "sha256": "0"}, "pairs": {"gallery": "vis", "probe": "nir"},
        "scores": {"points": [scores]},
        "runtimes": [
            {
                "runtime": "opencv", "precision": "fp32", "files": [{"name": "model.opencv.onnx", "sha256": "0"}],
                "input": {"batch": "N"}, "gate": gate, "thresholds": [{"far": 0.1, "threshold": 0.45}],
                "scores": {"points": [{**scores, "threshold": 0.45}]},
            }
        ],
    }  # fmt: skip


def read_all(folder: Path, content: Any) -> None:
    """Read a contract as the commands do."""
    (folder / "model.json").write_text(json.dumps(content))
    contract = read_contract(folder)
    assert isinstance(contract.remark + "".join(contract.modalities) + "".join(contract.unchecked()), str)
    assert (contract.flip, contract.tars[0.1] > 0) in {(True, True), (False, True)}
    for runtime in (None, "opencv"):
        thresholds_of(contract, runtime)
        measured_scores(contract, None, runtime)
    gate_of(contract.content, find_runtime_file(contract.content, "opencv"))


def places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Walk the places of all values."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield (*place, key)
        yield from places(value, (*place, key))


def changed(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Put a value in at a place; `places` itself takes it out."""
    content = whole()
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    if value is places:
        del inside[place[-1]]
    else:
        inside[place[-1]] = copy.deepcopy(value)
    return content


BAD: tuple[Any, ...] = (None, "x", [], {}, [1], -7, 1e999, True, places)
BAD_WHOLE: tuple[Any, ...] = (None, [], "x", 3, {})


@pytest.mark.slow
def test_whatever_is_damaged_is_one_line_without_the_words_of_python(tmp_path: Path) -> None:
    lines = []
    for place in places(whole()):
        for value in BAD:
            try:
                read_all(tmp_path, changed(place, value))
            except InputError as error:
                lines.append(str(error))
    assert len(lines) > 400
    for line in lines:
        assert "\n" not in line
        assert not [word for word in ("None", "subscriptable", "object has", "Error", "pydantic") if word in line], line
    for content in BAD_WHOLE:
        with pytest.raises(InputError, match=r"expected a bundle with model\.json, got a damaged one: "):
            read_all(tmp_path, content)


OWN, CHOSEN = ("evaluation", "operating_points", 0, "threshold"), ("operating_point", "threshold")
SUMMARY, OF_RUNTIME = ("scores", "points", 0), ("runtimes", 0, "scores", "points", 0)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("runtimes",), None, "runtimes: expected a valid list, got null; copy it again or export it again"),
        (("evaluation",), places, "evaluation: expected a value, got none"),
        (
            OWN,
            None,
            r"evaluation\.operating_points\[0\]\.threshold: expected a number at a supported FAR, got null",
        ),
        (OWN, "high", 'expected a valid number, got "high"'),
        (OWN, -1.5, "expected a cosine similarity from -1 to 1, got -1.5"),
        (("operating_point", "far"), 0.3, r"a supported FAR of evaluation\.operating_points \(0\.1\), got 0\.3"),
        (("operating_point", "far"), 1e-6, r"a supported FAR of evaluation\.operating_points \(0\.1\), got 1e-06"),
        (CHOSEN, -1, r"operating_point\.threshold: expected 0\.44, the threshold of FAR 0\.1"),
        (CHOSEN, 0.440002, "got 0.440002"),
        (("runtimes", 0, "thresholds", 0, "threshold"), 3, r"thresholds\[0\]\.threshold: expected a cosine"),
        ((*SUMMARY, "covariance"), [], r"points\[0\]\.covariance: expected 2 rows of 2 numbers, got 0"),
        ((*SUMMARY, "above"), [1], r"points\[0\]\.above: expected 2 shares, one for each of"),
        ((*SUMMARY, "scores"), [0.6, 0.5], "expected rising scores"),
        ((*SUMMARY, "threshold"), 0.2, "at the threshold 0.44 of FAR 0.1, got one at 0.2"),
        ((*OF_RUNTIME, "threshold"), 0.44, "at the threshold 0.45 of FAR 0.1, got one at 0.44"),
    ],
)  # fmt: skip
def test_the_key_that_is_damaged_is_named(place: tuple[Any, ...], value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_all(tmp_path, changed(place, value))


def test_what_older_and_rounding_programs_write_is_read(tmp_path: Path) -> None:
    read_all(tmp_path, changed(CHOSEN, float(np.float32(0.44))))
    everybody = {"far": 1.0, "supported": True, "tar": 1.0, "threshold": -float("inf")}
    content = whole()
    content["evaluation"]["operating_points"].append(everybody)
    read_all(tmp_path, content)
    read_all(tmp_path, changed(("runtimes", 0, "scores"), places))


def test_a_wanted_far_that_is_not_supported_says_what_is_missing_and_what_to_do() -> None:
    generator = np.random.default_rng(0)
    points = tar_at_far(generator.normal(size=100) + 3, generator.normal(size=3040), (0.1, 1e-4))
    with pytest.raises(InputError) as got:
        choose_point(points, 1e-4)
    assert str(got.value) == (
        "expected a FAR that the data supports, got another: FAR 0.0001 needs at least 10,000 impostor pairs, this set "
        "has 3,040; the smallest FAR it supports is 0.00033; give --far 0.00033 or a higher one, or more validation "
        "images (measured: 0.1)"
    )
    (least,) = tar_at_far(np.ones(3), generator.normal(size=3000), (1e-4,))
    with pytest.raises(InputError, match="give --far 0.00034 or a higher one"):  # 0.00033 is below 1 / 3,000
        choose_point([least], 1e-4)
    with pytest.raises(
        InputError, match=r"expected a FAR that was measured \(0\.1\), got 0\.2; add it to evaluation\.fars"
    ):
        choose_point(points, 0.2)


def test_files_without_a_hash_are_listed(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(changed(("sha256",), places)))
    contract = read_contract(tmp_path)
    assert contract.unchecked() == ("model.onnx",)
    assert contract.unchecked(["gallery.onnx"]) == ()
    (tmp_path / "model.json").write_text(json.dumps(changed(("runtimes", 0, "files", 0, "sha256"), places)))
    assert read_contract(tmp_path).unchecked() == ("model.opencv.onnx",)
