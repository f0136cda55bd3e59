"""A page of headed sections that needs nothing from anywhere else; ``page.html`` next to this file lays it out."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jinja2

from facexfer.errors import InputError
from facexfer.files.atomic import write_text


@dataclass(frozen=True)
class Table:
    """A table of text; a cell in a tuple is marked, and a row's remark, where it has one, is below it."""

    macro: ClassVar = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[str | tuple[str]]]
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Plots:
    """Plots side by side: SVG, and the text below."""

    macro: ClassVar = "plots"
    drawn: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Sheet:
    """A PNG within the page itself, and the text in its place where it is not shown."""

    macro: ClassVar = "sheet"
    png: bytes
    description: str


@dataclass(frozen=True)
class ShownPair:
    """A pair of images that a verifier gets wrong first.

    Attributes:
        kind: ``false accept`` or ``false reject``.
        score: Of the pair.
        captions: What the two images are.
        pictures: The two files' bytes, PNG; empty where images are left out.
    """

    kind: str
    score: float
    captions: tuple[str, str]
    pictures: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Pairs:
    """Pairs of images."""

    macro: ClassVar = "pairs"
    shown: Sequence[ShownPair]


@dataclass(frozen=True)
class Facts:
    """Facts by name; a mapping inside is a list again."""

    macro: ClassVar = "facts"
    listed: Mapping[str, Any]


Part = str | Table | Plots | Sheet | Pairs | Facts
"""What a section is made of; a text is a paragraph."""
Section = tuple[str, Sequence[Part]]
"""A heading and what is below it."""


def make_html(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Make a page; all text is escaped.

    Args:
        title: Plain text.
        lead: One sentence below it.
        sections: From the top.

    Returns:
        HTML text that needs nothing else.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["base64"] = lambda png: base64.b64encode(png).decode()
    return environment.get_template("page.html").render(title=title, lead=lead, sections=sections) + "\n"


def write_pages(folder: Path, files: Mapping[str, str]) -> None:
    """Write text files into a folder, atomically.

    Args:
        folder: Made if it is not there; other files in it stay.
        files: Name -> content.

    Raises:
        InputError: If the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_text(folder / name, content)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder for the report, got: {error}; choose another") from error


def percent(rate: float | None) -> str:
    """Show a fraction; nothing where it is None."""
    return "" if rate is None else f"{100 * rate:.2f} %"


def interval(bounds: tuple[float, float] | None) -> str:
    """Show an interval of fractions; nothing where it is None."""
    return "" if bounds is None else f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f} %"
