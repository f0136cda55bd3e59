"""``facexfer train --list``: every packaged recipe in one line, with what it needs."""

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
    assert [line.split()[0] for line in lines[:2]] == ["nir-afa", "nir-csd"]
    assert lines[1].endswith("without identity labels [set data.manifest, companions.manifest]")
    (demo,) = [line for line in lines if line.startswith("demo-csd ")]
    assert demo.endswith("no identity is read [needs $FACEXFER_DEMO]")
    (wrapped,) = [line for line in lines if line.startswith("nirsim-afa-fixed ")]
    assert "all images of 255 LFW identities [needs $FACEXFER_SHARED]" in wrapped
