"""CBSR NIR face dataset (Li et al., PAMI 29, 2007): photos and a list with eye centres."""

from collections.abc import Iterator
from pathlib import Path

from facexfer.data.layouts.entry import LayoutOptions, PhotoEntry, register_layout
from facexfer.data.layouts.walk import find_lists, walk_photos
from facexfer.errors import InputError


@register_layout("cbsr-nir", reads=("modality",))
def cbsr_nir(root: Path, options: LayoutOptions) -> Iterator[PhotoEntry]:
    """List the CBSR NIR set by its ``.txt`` lists of ``0001-00-a-g.bmp,197,345,325,349``.

    A name holds identity, image number and flags; the numbers are x and y of the two eye centres, in pixels, and the
    face is aligned by them. They are put image-left first, whichever way the list has them.

    Args:
        root: The folder with photos and lists, at any depth.
        options: The modality.

    Yields:
        One entry per line, and one for each photo that no list names (``not-listed``), or that has the name of another
        in another folder (``ambiguous-name``).

    Raises:
        InputError: If there is no list, or a line of one has another form. A ``.txt`` without any line of the form is
            no list.
    """
    pictures: dict[str, tuple[Path, tuple[str, str] | None]] = {}
    for path, problem in walk_photos(root):
        if path.name in pictures:
            problem = (
                "ambiguous-name",
                f"{pictures[path.name][0].as_posix()} has the same name; the lists name no folder",
            )
            yield PhotoEntry(path.as_posix(), root / path, path.name.split("-")[0], options.modality, problem=problem)
        else:
            pictures[path.name] = (path, problem)
    rows = [row for path in find_lists(root) for row in _rows(path)]
    if not rows:
        raise InputError(f"{root}: expected lists (.txt) with lines like 0001-00-a-g.bmp,197,345,325,349; found none")
    listed: set[str] = set()
    for name, eyes in rows:
        if name in listed:
            continue
        listed.add(name)
        path, problem = pictures.get(name, (Path(name), ("missing-file", "listed, but there is no such picture")))
        identity = name.split("-")[0]
        yield PhotoEntry(path.as_posix(), root / path, identity, options.modality, landmarks=eyes, problem=problem)
    for name, (path, problem) in sorted(pictures.items()):
        if name not in listed:
            reason = problem or ("not-listed", "no list gives its eye centres")
            yield PhotoEntry(path.as_posix(), root / path, name.split("-")[0], options.modality, problem=reason)


def _rows(path: Path) -> list[tuple[str, tuple[tuple[float, float], ...]]]:
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    rows = {number: _row(line) for number, line in enumerate(lines, start=1) if line.strip()}
    found = [row for row in rows.values() if row is not None]
    for number, row in rows.items() if found else ():
        if row is None:
            raise InputError(
                f"{path}, line {number}: expected name,x,y,x,y as in 0001-00-a-g.bmp,197,345,325,349; got "
                f"'{lines[number - 1][:60]}'"
            )
    return found


def _row(line: str) -> tuple[str, tuple[tuple[float, float], ...]] | None:
    name, *fields = (field.strip() for field in line.split(","))
    try:
        first_x, first_y, second_x, second_y = (float(field) for field in fields)
    except ValueError:
        return None
    return name, tuple(sorted([(first_x, first_y), (second_x, second_y)]))
