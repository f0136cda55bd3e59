"""Who was enrolled from a folder of people: from how many photos, and which of them failed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facexfer.data.preparation.crop import CropRecord


@dataclass(frozen=True)
class Enrolment:
    """The people of a folder.

    Attributes:
        people: Name -> the unit mean of the embeddings of their photos, (D,).
        photos: Name -> (photos that gave a crop, all photos); also of people who have none.
        failures: The photos without a crop, with the reason.
        others: Suffix -> files that are not named like photos.
    """

    people: Mapping[str, np.ndarray]
    photos: Mapping[str, tuple[int, int]]
    failures: tuple[CropRecord, ...] = ()
    others: Mapping[str, int] | None = None

    def lines(self) -> list[str]:
        """Lines on who was enrolled and what was not.

        Example:
            >>> one = Enrolment({"anna": np.ones(1)}, {"anna": (1, 2), "bert": (0, 0)}, others={".heic": 3})
            >>> for line in one.lines():
            ...     print(line)
            enrolled 1 of 2 people from 1 of 2 photos: anna (1 of 2)
            not enrolled: bert (no photo)
            not looked at, by suffix: .heic 3
        """
        used, listed = (sum(counts) for counts in zip(*self.photos.values(), strict=True))
        people = f"{len(self.people)} people"
        if len(self.people) < len(self.photos):
            people = f"{len(self.people)} of {len(self.photos)} people"
        lines = [f"enrolled {people} from {used} of {listed} photos: {', '.join(map(self._count, self.people))}"]
        if missing := [self._count(name) for name in self.photos if name not in self.people]:
            lines.append(f"not enrolled: {', '.join(missing)}")
        lines += [f"failed: {each.name}: {each.reason}: {each.detail}" for each in self.failures]
        if self.others:
            counts = ", ".join(f"{suffix} {count}" for suffix, count in self.others.items())
            lines.append(f"not looked at, by suffix: {counts}")
        return lines

    def _count(self, name: str) -> str:
        used, listed = self.photos[name]
        return f"{name} ({'no photo' if not listed else used if used == listed else f'{used} of {listed}'})"
