"""MIT Indoor 67: TrainImages.txt, TestImages.txt and Images/CLASS/."""

from pathlib import Path

from facexfer.data.image_set import ImageSet, LabelledImage, PublishedSize, existing, read_lines
from facexfer.errors import InputError

PUBLISHED = PublishedSize(classes=67, train=5_360, test=1_340)


def mit67(root: Path, seed: int) -> ImageSet:
    """Read MIT Indoor 67.

    Args:
        root: The folder with the two lists and ``Images``.
        seed: Ignored: the split is official.

    Raises:
        InputError: If a list is missing or a line of it is not ``class/file``.
    """
    lists = {part: read_lines(root / f"{part}Images.txt") for part in ("Train", "Test")}
    for part, lines in lists.items():
        for number, line in enumerate(lines, start=1):
            if "/" not in line:
                raise InputError(f"{root / part}Images.txt, line {number}: expected class/file, got '{line}'; fix it")
    classes = tuple(sorted({line.split("/")[0] for lines in lists.values() for line in lines}))
    position = {name: index for index, name in enumerate(classes)}
    found = {}
    notes: tuple[str, ...] = ()
    for part, lines in lists.items():
        listed = [LabelledImage(root / "Images" / line, position[line.split("/")[0]]) for line in lines]
        found[part], more = existing(listed, f"mit67 {part}Images.txt")
        notes += more
    return ImageSet("mit67", classes, found["Train"], found["Test"], notes).compared_with(PUBLISHED)
