"""The demo runs to its end, and draws the same data twice."""

import pytest
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.data.demo_faces import write_demo_set
from facexfer.errors import InputError


@pytest.mark.slow
def test_the_demo_runs(tmp_path):
    out = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "--out", str(out), "--iterations", "2"])
    assert result.exit_code == 0, result.output
    assert (out / "model.onnx").is_file()
    assert (out / "run" / "result.json").is_file()
    assert "NIR against NIR" in result.output
    again = CliRunner().invoke(app, ["demo", "--out", str(out)])
    assert isinstance(again.exception, InputError)


def test_the_generated_set_is_the_same_twice(tmp_path):
    first, second = (write_demo_set(tmp_path / name, 2, 1, 2).parent for name in "ab")
    files = sorted(path.relative_to(first) for path in first.rglob("*.*"))
    assert len(files) == 3 * 2 * 2 + 1
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)
