"""``facexfer train --list``: every packaged recipe in one line, with what it needs."""

import re
from importlib import resources

from typer.testing import CliRunner

from facexfer import recipes
from facexfer.cli import app


def test_every_packaged_recipe_has_a_line_and_those_for_own_photos_come_first() -> None:
    result = CliRunner().invoke(app, ["train", "--list"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    names = {file.name.removesuffix(".toml") for file in resources.files(recipes).iterdir() if ".toml" in file.name}
    assert {line.split()[0] for line in lines} == names
    assert len(lines) == len(names)
    assert [line.split()[0] for line in lines[:3]] == ["nir-afa", "nir-csd", "nir-csd-edgeface"]
    assert lines[1].endswith("with VIS photos of the same people [set data.manifest, companions.manifest]")
    assert lines[2].endswith("[set data.manifest, companions.manifest, source.weights]")
    (demo,) = [line for line in lines if line.startswith("demo-csd ")]
    assert demo.endswith("no identity is read [needs $FACEXFER_DEMO]")
    (long,) = [line for line in lines if line.startswith("paper-images ")]
    assert long.endswith("(Xie et al. 2021, section 5.2) [needs $FACEXFER_SHARED]")


def test_every_recipe_says_what_it_is_in_one_line() -> None:
    for file in resources.files(recipes).iterdir():
        if file.name.endswith(".toml"):
            line = file.read_text().partition("\n")[0]
            assert re.fullmatch(r"# .*\.", line), file.name
            assert len(line) <= 120, file.name
