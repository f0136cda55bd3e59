"""Old libraries: what is started in another folder is named by its whole path."""

import runpy
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "old_runtimes.py"


def test_a_relative_folder_holds_for_interpreters_that_run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = runpy.run_path(str(TOOL))["main"]
    places: set[Path] = set()

    def place(library: object, files: object, folder: Path, environment: Path) -> dict[str, float]:
        places.update((folder, environment))
        return {}

    monkeypatch.setitem(main.__globals__, "write_files", lambda network, folder: {})
    monkeypatch.setitem(main.__globals__, "distances", place)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(Path("out"))
    assert places
    assert all(place.is_relative_to(tmp_path.resolve() / "out") for place in places)
