"""The two forms of ``facexfer plan``: a test set by its size alone, and a training set by runs on its parts."""

import pytest
from command_line import run

from facexfer.errors import InputError


def test_a_test_set_by_its_size() -> None:
    shown = run("plan", "--identities", "80", "--images", "6", "--far", "1e-5", "--tar", "95", "--width", "2")
    assert shown.startswith("80 people with 6 images each: 1,200 genuine and 113,760 impostor pairs\n")
    assert "  2 points wide: " in shown
    assert "FAR 0.001: 114 false accepts expected" in run("plan", "--identities", "80", "--images", "6")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected --identities and --images of a test set, or a TOML file of parts to train on"),
        (["--identities", "80"], "expected --identities and --images of a test set"),
        (["parts.toml"], r"expected --out with parts\.toml, got none"),
        (["parts.toml", "--out", "x", "--far", "1e-3"], "expected PARTS alone, or --far without it"),
        (["--identities", "80", "--images", "6", "--out", "x"], "expected PARTS with --out and --jobs"),
        (["--identities", "80", "--images", "6", "--tar", "100"], "expected a TAR between 0 and 100 %, got 100"),
        (["--identities", "80", "--images", "6", "--tar", "0.95"], "in percent, above 1, got 0.95; write 95 for 95 %"),
        (["--identities", "80", "--images", "6", "--tar", "1"], "in percent, above 1, got 1; write 95 for 95 %"),
        (["no.toml", "--out", "x"], r"no\.toml"),
    ],
)
def test_what_is_no_plan(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run("plan", *words)
