"""Labeled Faces in the Wild (Huang et al., 2007): ``Name/Name_0001.jpg``, with ``pairs.txt`` next to the folders."""

import re
from collections.abc import Iterator
from pathlib import Path

from facexfer.data.layouts.entry import LayoutOptions, PhotoEntry, register_layout
from facexfer.data.layouts.walk import find_lists, walk_photos
from facexfer.data.pair_lines import NamedPhoto, read_pair_line
from facexfer.errors import InputError
from facexfer.files.names import clean_name

_FORM = re.compile(r"^(?P<name>.+)_(?P<number>\d{4})$")


@register_layout("lfw", reads=("modality",))
def lfw(root: Path, options: LayoutOptions) -> Iterator[PhotoEntry]:
    """List the set, and what its ``pairs.txt`` names without a photo as ``missing-file``.

    The pairs themselves are for ``facexfer evaluate --pairs pairs.txt``.

    Args:
        root: The folder with a folder per person; a ``pairs.txt`` in it, if there is one, is checked.
        options: The modality.

    Yields:
        One entry per photo; one that is not named ``Name_0001`` has the problem ``no-identity``.

    Raises:
        InputError: If there is no photo, or a line of ``pairs.txt`` has another form.
    """
    seen = set()
    for path, problem in walk_photos(root):
        form = _FORM.match(path.stem)
        if form is None:
            problem = ("no-identity", "expected a name like Name_0001")
        identity = clean_name(form["name"]) if form else ""
        seen.add((identity, int(form["number"]) if form else 0))
        yield PhotoEntry(path.as_posix(), root / path, identity, options.modality, problem=problem)
    if not seen:
        raise InputError(f"{root}: expected pictures such as Name/Name_0001.jpg, found none; is it the right folder?")
    for name, number in sorted(set(_named(root / "pairs.txt", {name for name, _ in seen})) - seen):
        path = Path(name) / f"{name}_{number:04d}.jpg"
        problem = ("missing-file", "pairs.txt names it, but there is no such picture")
        yield PhotoEntry(path.as_posix(), root / path, name, options.modality, problem=problem)


def _named(path: Path, people: set[str]) -> Iterator[NamedPhoto]:
    if path not in find_lists(path.parent):
        return
    lines = path.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        # The first line may hold the numbers of folds and of pairs.
        if line.strip() and (number > 1 or len(line.split()) > 2):
            try:
                *photos, _ = read_pair_line(line, lambda photo: photo[0] in people)
            except InputError as error:
                raise InputError(f"{path}, line {number}: {error}") from error
            yield from photos
