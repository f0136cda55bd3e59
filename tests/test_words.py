"""The words of code and docs: phrases that a reader stumbles over stay out."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("facexfer", "backbones", "eval", "tools", "tests", "examples")
BANNED = {
    r"\b(images|pictures|photos|steps|bits|value|row|score|entry|scale) an? "
    r"(channel|class|identity|layer|crop|sample|stage)\b": "write 'per'",
    r"\b(folder|subfolder|row|line) an? (person|identity|image)\b": "write 'per'",
    r"\b(one|two) ((?!of|with|from)\w+ ){0,3}"
    r"(a (channel|class|score|flag|photo|person|layer|run)|an (embedding|identity))\b": "write 'per'",
    r"\b(attempts|accepts|rejects) a (day|year)\b": "write 'per'",
    r"\bbearable\b": "write 'that you can tolerate'",
    r"\btells who is who\b": "write 'identities are known'",
    r"\bis another\.": "write 'differs'",
    r"\b(is|are) said\b": "write 'is reported' or 'is stated'",
    r"there (is|are) none;": "an error says 'found none'",
    r"plays? no part": "write 'is ignored'",
    r"comes? back as it was": "write 'is restored'",
    r"\bgo(es)? on with\b": "write 'continue' or 'run only what is missing'",
    r"\bbe had\b": "write 'is available' or 'not tested'",
    r"\b[Aa]nybody's\b": "write 'from any model'",
    r"\bone's own\b": "write 'your own'",
    r"c[ao]me to nothing": "write 'failed'",
    r"to the last bit": "write 'bit for bit'",
    r"expected [^\"\n]* beside\b": "write 'with'",
    r"\bbeside and renamed|written beside\b": "write 'atomically'",
    r"\bby file or by pack\b": "write 'as a file or as a pack'",
    r"; mend (it|the)\b": "write 'fix'",
    r"comes to nothing": "write 'fails'",
    r"\bgains? much\b": "write 'a lot'",
    r"\bsays how to cure\b": "write 'how to fix'",
    r"more than luck|could be luck": "write 'significant' or 'not significant'",
}


def written() -> Iterator[Path]:
    """All sources and pages; the changelog tells of old words, and this file names them."""
    for folder in CODE:
        yield from (file for file in (ROOT / folder).rglob("*") if file.suffix in {".py", ".toml", ".html"})
    yield from (ROOT / "docs").rglob("*.md")
    yield from (ROOT / name for name in ("README.md", "RESULTS.md", "CONTRIBUTING.md"))


@pytest.mark.parametrize("phrase", BANNED)
def test_stiff_phrases_stay_out(phrase: str) -> None:
    places = [
        f"{file.relative_to(ROOT)}: {found[0]}"
        for file in written()
        if file != Path(__file__)
        for found in re.finditer(phrase, file.read_text(), re.IGNORECASE)
    ]
    assert not places, f"{BANNED[phrase]}: {places}"


@pytest.mark.parametrize("folder", CODE)
def test_docstrings_start_with_the_thing(folder: str) -> None:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        f"{file.relative_to(ROOT)}: {text.splitlines()[0]}"
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, kinds) and (text := ast.get_docstring(node) or "").startswith("Give")
    ]
    assert not found


def test_the_phrases_are_found_where_they_stand() -> None:
    stiff = "One folder a person; one label and fold a score; play no part; the mode comes back as it was; one's own"
    assert sum(bool(re.search(phrase, stiff, re.IGNORECASE)) for phrase in BANNED) == 5
