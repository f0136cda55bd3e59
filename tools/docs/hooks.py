"""MkDocs hooks: the pages that are made from the code, and what a checkout has outside ``docs/``."""

import shutil
from pathlib import Path

from api_reference import api_reference
from cli_reference import cli_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from recipe_reference import recipe_reference

ROOT = Path(__file__).resolve().parents[2]
# mkdocs.yml names it for mkdocstrings.
VIEW = ROOT / "build" / "docs"


def on_startup(**_: object) -> None:
    """Show mkdocstrings the package as it is installed: ``backbones/`` and ``eval/`` inside ``facexfer/``."""
    shutil.rmtree(VIEW, ignore_errors=True)
    for folder, package in {"facexfer": "facexfer", "backbones": "facexfer/backbones", "eval": "facexfer/eval"}.items():
        shutil.copytree(ROOT / folder, VIEW / package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and RESULTS.md, which stands at the top of the repository."""
    pages = {
        "reference/cli.md": cli_reference(),
        "reference/recipe.md": recipe_reference(),
        "reference/api.md": api_reference(),
        "results.md": (ROOT / "RESULTS.md").read_text(encoding="utf-8").replace("](docs/", "]("),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links to RESULTS.md, as a reader of the repository follows them, lead to the page here."""
    return markdown.replace("](../../RESULTS.md", "](../results.md").replace("](../RESULTS.md", "](results.md")
