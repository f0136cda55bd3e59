"""The page about the public names, for mkdocstrings: ``python tools/docs/api_reference.py`` prints its Markdown."""

import sys

import facexfer

_HEAD = """# Python API

The package's public names; nothing heavy is imported before one of them is used. [Extend](../extend.md#in-python)
shows them together.
"""


def api_reference() -> str:
    """Write one mkdocstrings block for every name in ``facexfer.__all__``, which is found where it is defined."""
    lines = [_HEAD]
    for name in sorted(set(facexfer.__all__) - {"__version__"}, key=str.lower):
        defined = getattr(facexfer, name)
        lines += [
            f"::: {defined.__module__}.{defined.__qualname__}",
            "    options:",
            f"      heading: facexfer.{name}",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(api_reference())
