"""What every page is made of: its style, tables, figures, images and facts; nothing comes from anywhere else."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facexfer.errors import InputError
from facexfer.files.atomic import write_text

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fdfdfb; max-width: 78rem; margin: 2rem auto;
  padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.lead { color: #555; margin-top: 0; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .7rem; border-bottom: 1px solid #e2e2dd; }
th { font-weight: 600; color: #444; vertical-align: bottom; } th:first-child, td:first-child { text-align: left; }
td { white-space: nowrap; } td.mark { color: #a2510d; text-align: left; font-size: .9em; white-space: normal; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; flex: 1 1 26rem; }
figure svg { width: 100%; height: auto; } figcaption { color: #555; font-size: .9em; }
.pairs { display: flex; flex-wrap: wrap; gap: .8rem; } .pair { font-size: .85em; color: #444; max-width: 15rem; }
figure.sheet { flex: none; } figure.sheet img { max-width: 100%; height: auto; border-radius: 3px; }
.pair img { width: 112px; height: auto; margin-right: 2px; border-radius: 3px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; } dt { color: #555; }
dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { background: white; max-width: none; margin: 0; font-size: 11px; } h2 { break-after: avoid; }
  table, figure, .pair { break-inside: avoid; } }
"""


def write_pages(folder: Path, files: Mapping[str, str]) -> None:
    """Write text files into a folder, beside and renamed.

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


def make_html(title: str, parts: Sequence[str]) -> str:
    """Make a page of its parts.

    Args:
        title: Plain text.
        parts: HTML, from the top.

    Returns:
        HTML text that needs nothing else.
    """
    return (
        f'<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def facts(listed: Mapping[str, Any]) -> str:
    """List facts; a mapping inside one is a list again."""
    rows = "".join(
        f"<dt>{escape(str(name))}</dt><dd>{facts(value) if isinstance(value, dict) else escape(str(value))}</dd>"
        for name, value in listed.items()
    )
    return f"<dl>{rows}</dl>"


def figure(svg: str, caption: str) -> str:
    """Put an SVG into the page with plain text below."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], remarks: Sequence[str] = ()) -> str:
    """Make a table; a cell in a tuple is marked, and a row's remark, where it has one, stands below it."""
    columns = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td class=mark>{escape(cell[0])}</td>" if isinstance(cell, tuple) else f"<td>{escape(cell)}</td>"
            for cell in row
        )
        + "</tr>"
        + (f"<tr><td class=mark colspan={len(head)}>{escape(remark)}</td></tr>" if remark else "")
        for row, remark in zip(rows, remarks or [""] * len(rows), strict=True)
    )
    return f"<table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>"


def picture(png: bytes, description: str = "") -> str:
    """Put a PNG into the page itself."""
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def percent(rate: float | None) -> str:
    """Show a fraction; nothing where it is None."""
    return "" if rate is None else f"{100 * rate:.2f} %"


def interval(bounds: tuple[float, float] | None) -> str:
    """Show an interval of fractions; nothing where it is None."""
    return "" if bounds is None else f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f} %"


def escape(text: str) -> str:
    """Make plain text fit for HTML."""
    return html.escape(text)
