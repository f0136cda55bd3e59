"""CASIA NIR-VIS 2.0 (Li et al., CVPR Workshops 2013), by its protocol lists."""

import re
from collections.abc import Iterator
from pathlib import Path

from facexfer.data.layouts.entry import LayoutOptions, PhotoEntry, register_layout
from facexfer.data.layouts.walk import find_lists, walk_photos
from facexfer.errors import InputError

# Which list says what. View 1 (dev) is for development, view 2 has ten folds; the people of two folds overlap, so that
# only one may be read at a time.
_LISTS = {"nir_train": "train", "vis_train": "train", "nir_probe": "test", "vis_gallery": "test"}
_LINE = re.compile(r"(?=[^ ]*(?P<modality>nir|vis))[\w.-]+/[\w.-]+/(?P<identity>[\w-]+)/[\w.-]+", re.IGNORECASE)
_MISSING = ("missing-file", "listed, but there is no such picture")
_SESSION = re.compile(r"s\d+", re.IGNORECASE)


@register_layout("casia-nir-vis2", reads=("fold",))
def casia_nir_vis2(root: Path, options: LayoutOptions) -> Iterator[PhotoEntry]:
    """List CASIA NIR-VIS 2.0 by the lists in ``protocols``: ``nir_train_1.txt``, ``vis_gallery_1.txt`` and the like.

    A line is a path such as ``s1\\\\NIR\\\\00001\\\\001.jpg``: session, modality (in either order), identity, photo.
    Only the lists of one fold are read. Photos that none of them names have no part in it: ``not-in-protocol``, which
    counts as no failure.

    Args:
        root: The folder with the sessions' folders and ``protocols`` in it.
        options: The fold; the paths tell the modality.

    Yields:
        One entry a listed photo, with its session and the split ``train`` or ``test`` (VIS gallery, NIR probes).

    Raises:
        InputError: If there is no list, a line has another form, or two lists name one photo.
    """
    lists = {
        path: split
        for path in find_lists(root)
        for start, split in _LISTS.items()
        if path.stem == f"{start}_{options.fold}"
    }
    if not lists:
        raise InputError(
            f"{root}: expected protocol lists such as protocols/nir_train_{options.fold}.txt, found none; give the "
            "folder above them, and --fold 1 to 10 or dev"
        )
    pictures = {path.as_posix(): problem for path, problem in walk_photos(root)}
    seen: dict[str, Path] = {}
    for path, split in lists.items():
        for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
            words = line.replace("\\", "/").strip().split()
            if not words:
                continue
            if words[0] in seen:
                if seen[words[0]].stem != path.stem:
                    raise InputError(
                        f"{path}, line {number}: expected every photo in one list, got {words[0]}, which "
                        f"{seen[words[0]].name} names too; take it out of one"
                    )
                continue
            seen[words[0]] = path
            form = _LINE.fullmatch(words[0])
            if form is None or ".." in words[0].split("/"):
                raise InputError(
                    f"{path}, line {number}: expected a path such as s1/NIR/00001/001.jpg, got '{line[:60]}'; is it a "
                    "list of this set?"
                )
            yield _entry(root, words[0], split, pictures.get(words[0], _MISSING))
    for name in sorted(pictures.keys() - seen.keys()):
        yield _entry(root, name, "", ("not-in-protocol", f"no list of fold {options.fold} names it"))


def _entry(root: Path, name: str, split: str, problem: tuple[str, str] | None) -> PhotoEntry:
    form = _LINE.fullmatch(name)
    session = next((part.lower() for part in name.split("/") if _SESSION.fullmatch(part)), None)
    identity, modality = (form["identity"], form["modality"].lower()) if form else ("", "nir")
    return PhotoEntry(name, root / name, identity, modality, split, session=session, problem=problem)
