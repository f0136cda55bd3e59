"""Print pip constraints that hold every dependency at the lowest version that pyproject.toml allows."""

import itertools
import re
import sys
import tomllib
from pathlib import Path

FLOOR = re.compile(r"([A-Za-z0-9._-]+)>=([0-9][^,;\s]*)")


def lowest_versions(pyproject: Path) -> list[str]:
    """Turn each ``name>=version`` of the package's dependencies and extras into ``name==version.*``.

    The series and not the version: some packages number their first release of a series 4.11.0.86.

    Args:
        pyproject: The file.

    Returns:
        One constraint per dependency, sorted.

    Raises:
        ValueError: If a dependency has no lowest version.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    lines = set()
    for requirement in itertools.chain(project["dependencies"], *project["optional-dependencies"].values()):
        floor = FLOOR.fullmatch(requirement)
        if floor is None:
            raise ValueError(f"{pyproject}: expected name>=version, got '{requirement}'; give its lowest version")
        lines.add(f"{floor[1]}=={floor[2]}.*")
    return sorted(lines)


if __name__ == "__main__":
    # Only the standard library: it runs before anything is installed.
    sys.stdout.write("\n".join(lowest_versions(Path(__file__).resolve().parents[1] / "pyproject.toml")) + "\n")
