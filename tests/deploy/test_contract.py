"""What a bundle decides by."""

from pathlib import Path

import numpy as np
import pytest

from facexfer.deploy.contract import Contract, choose_point, read_contract
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
