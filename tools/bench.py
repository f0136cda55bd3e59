"""Measure speed and memory, as ratios within one run: ``python tools/bench.py NAME [options]``.

Each benchmark is one file in ``tools/benchmarks/`` with a ``main(arguments: list[str]) -> None``.
"""

import importlib.util
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parent / "benchmarks"


def main() -> None:
    names = sorted(path.stem.replace("_", "-") for path in BENCHMARKS.glob("*.py"))
    if sys.argv[1:2] in (["--help"], ["-h"]):
        sys.stdout.write(f"{__doc__.splitlines()[0]}\n\nEach has a --help of its own: {', '.join(names)}\n")
        sys.exit(0)
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        came = sys.argv[1] if len(sys.argv) > 1 else "nothing"
        sys.stderr.write(f"error: expected a benchmark, got {came}; benchmarks: {', '.join(names)}\n")
        sys.exit(2)
    path = BENCHMARKS / f"{sys.argv[1].replace('-', '_')}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(sys.argv[2:])


if __name__ == "__main__":
    main()
