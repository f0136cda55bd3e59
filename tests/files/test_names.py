"""Names: one form for what reads as one name, and what is no name is refused."""

import random
import unicodedata

import pytest

from facexfer.errors import InputError
from facexfer.files.names import clean_name, likeness


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("p1 ", "p1"),
        ("\tp1\r\n", "p1"),
        ("\u00a0p1\u3000", "p1"),
        ("\ufeffp1", "p1"),
        ("p\u200b1", "p1"),
        ("Jose\u0301", "Jos\u00e9"),
        ("Jane \u00a0\tDoe", "Jane Doe"),
        (" \u200b ", ""),
        ("", ""),
        ("07", "07"),
        ("P1", "P1"),
        ("\uff11", "\uff11"),
        ("con.", "con."),
    ],
)
def test_what_reads_as_one_name_has_one_form(text: str, name: str) -> None:
    assert clean_name(text) == name


@pytest.mark.parametrize("text", ["a\nb", "a\0b", "a\x1bb", "a\u2028b", "a\x85b", "\udcffa"])
def test_breaks_controls_and_broken_bytes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"expected a name on one line, got U\+"):
        clean_name(text)


def test_a_clean_name_stays_as_it_is() -> None:
    draw = random.Random(0)
    marks = [chr(code) for code in range(0x20, 0x3200) if unicodedata.category(chr(code)) not in ("Cc", "Zl", "Zp")]
    for _ in range(2000):
        name = clean_name("".join(draw.choices(marks, k=draw.randint(0, 6))))
        assert clean_name(name) == name


def test_names_alike_but_for_capitals_and_width() -> None:
    assert likeness("P1") == likeness("p\uff11") != likeness("p2")
