"""Compare methods and write the tables: ``python tools/compare_methods.py GRID.toml --out DIR [--jobs N]``."""

from facexfer.commands.compare import compare
from facexfer.commands.entry import run_command

if __name__ == "__main__":
    run_command(compare)
