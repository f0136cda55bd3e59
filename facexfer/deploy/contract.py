"""The papers of a bundle: the contract and InsightFace's manifest."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facexfer.deploy.contract_form import SAME_SCORE as SAME_SCORE
from facexfer.deploy.contract_form import problem_of
from facexfer.errors import InputError, RunError
from facexfer.eval.verification import OperatingPoint
from facexfer.files.digest import file_digest

MODEL, CONTRACT, DETECTOR, GALLERY = "model.onnx", "model.json", "detector.onnx", "gallery.onnx"
_PACK_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Contract:
    """What a bundle says of itself.

    Attributes:
        folder: The bundle.
        content: As in ``model.json``.
    """

    folder: Path
    content: dict[str, Any]

    @property
    def thresholds(self) -> dict[float, float]:
        """Target FAR -> threshold, where the data supports it; FAR 1 of older bundles has none."""
        rows = self.content["evaluation"]["operating_points"]
        return {row["far"]: row["threshold"] for row in rows if row["supported"] and row["far"] < 1}

    @property
    def tars(self) -> dict[float, float]:
        """Target FAR -> TAR, where the data supports it."""
        rows = self.content["evaluation"]["operating_points"]
        return {row["far"]: row["tar"] for row in rows if row["supported"]}

    @property
    def gallery(self) -> Path | None:
        """The network of those who are enrolled, where it is another than the probes'."""
        return self.folder / GALLERY if self.content.get("gallery") else None

    @property
    def modalities(self) -> tuple[str, str]:
        """Of those who are enrolled and of the probes, where a bundle compares across two; else empty, both of one."""
        pairs = self.content.get("pairs") or {}
        gallery, probe = pairs.get("gallery"), pairs.get("probe")
        return ("", "") if gallery in (None, probe) else (gallery, probe or "")

    @property
    def flip(self) -> bool:
        """Whether ``model.onnx`` adds the embedding of the mirrored crop."""
        return adds_flip(self.content)

    def check_files(self, names: Iterable[str] | None = None) -> None:
        """Check that files are those that were measured; one whose hash an older bundle did not record has to be there.

        Args:
            names: Of the files; None takes all of the bundle's: the ONNX files, the runtimes' and the detector.

        Raises:
            InputError: If one is missing, or the manifest with the detector's hash is damaged.
            RunError: If one differs.
        """
        digests = self._digests()
        for name in digests if names is None else names:
            file, digest = self.folder / name, digests.get(name)
            if not file.is_file():
                raise InputError(f"{self.folder}: expected a bundle with {name}, found none; copy it again")
            if digest is not None and file_digest(file) != digest:
                raise RunError(f"{file}: expected the file that was measured, its SHA-256 differs; copy it again")

    def unchecked(self, names: Iterable[str] | None = None) -> tuple[str, ...]:
        """Find the files that nothing tells from others, since the bundle does not record their hash.

        Args:
            names: Of the files; None takes all of the bundle's.

        Raises:
            InputError: If the manifest with the detector's hash is damaged.
        """
        digests = self._digests()
        return tuple(name for name in (digests if names is None else names) if digests.get(name) is None)

    @property
    def far(self) -> float | None:
        """The FAR of the bundle's own operating point; None where the data supports none."""
        far: float | None = self.content["operating_point"]["far"]
        return far

    @property
    def remark(self) -> str:
        """Why the bundle's own operating point rests on too few pairs; empty if it does not, or there is none."""
        rows = self.content["evaluation"]["operating_points"]
        return next((row.get("remark", "") for row in rows if row["far"] == self.far), "")

    def _digests(self) -> dict[str, str | None]:
        """Name of each file -> its SHA-256, or None where that is not recorded."""
        said: dict[str, str | None] = {MODEL: self.content.get("sha256")}
        if self.gallery is not None:
            said[GALLERY] = self.content["gallery"].get("sha256")
        for entry in self.content.get("runtimes", ()):
            said |= {each["name"]: each.get("sha256") for each in entry["files"]}
        if self.content.get("detector"):
            said[DETECTOR] = _detector_digest(self.folder)
        return said


def adds_flip(content: dict[str, Any]) -> bool:
    """Whether a bundle's files add the embedding of the mirrored crop; those of an older version do not.

    Args:
        content: As in ``model.json``.
    """
    flip: bool = content.get("preprocessing", {}).get("inside", {}).get("flip", False)
    return flip


def read_contract(folder: Path) -> Contract:
    """Read what a bundle says of itself.

    Args:
        folder: The bundle.

    Raises:
        InputError: If it is no folder, or the contract is missing or damaged: a key that everybody relies on is not
            there, a value is of another kind, or its two copies of the decision threshold differ.
    """
    if folder.is_file():
        raise InputError(f"{folder}: expected the folder of a bundle, got a file; name its folder, {folder.parent}")
    wanted = f"{folder}: expected a bundle with {CONTRACT}"
    try:
        content = json.loads((folder / CONTRACT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{wanted}, got: {error}; export it again") from error
    if problem := problem_of(content):
        raise InputError(f"{wanted}, got a damaged one: {problem}; copy it again or export it again")
    return Contract(folder, content)


def _detector_digest(folder: Path) -> str | None:
    """What InsightFace's manifest has of the detector; a bundle of crops that are not square has no manifest."""
    file = folder / _PACK_MANIFEST
    if not file.is_file():
        return None
    try:
        digest: str = json.loads(file.read_text(encoding="utf-8"))["tasks"]["detection"]["sha256"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{file}: expected InsightFace's manifest with a detector, got: {error}; copy it again"
        ) from error
    return digest


def choose_point(points: Sequence[OperatingPoint], far: float | None) -> OperatingPoint | None:
    """Choose the operating point by which a bundle decides.

    Args:
        points: As measured.
        far: The target that a user wants; None takes the lowest that the rule of thirty trusts (thirty false accepts
            are to be expected), or else the supported one that comes nearest to it, the highest.

    Returns:
        The point; None where the data supports none.

    Raises:
        InputError: If the wanted target is not supported.
    """
    if far is not None:
        wanted = next((point for point in points if point.far == far and point.supported), None)
        if wanted is None:
            raise InputError(_why_not(points, far))
        return wanted
    # At a FAR of 1 everybody is accepted, and there is no threshold to write down.
    supported = sorted((point for point in points if point.supported and point.far < 1), key=lambda point: point.far)
    return next((point for point in supported if point.meets_rule_of_30), supported[-1] if supported else None)


def _why_not(points: Sequence[OperatingPoint], far: float) -> str:
    """Why a bundle cannot decide at a FAR, and what to do."""
    measured = ", ".join(f"{point.far:g}" for point in points if point.supported) or "none"
    there = next((point for point in points if point.far == far), None)
    if there is None:
        return f"expected a FAR that was measured ({measured}), got {far:g}; add it to evaluation.fars"
    step = 10.0 ** (math.floor(math.log10(there.smallest_far)) - 1)
    smallest = math.ceil(there.smallest_far / step) * step
    return (
        f"expected a FAR that the data supports, got another: {there.remark}; give --far {smallest:.2g} or "
        f"a higher one, or more validation images (measured: {measured})"
    )


def write_pack_manifest(name: str, folder: Path, contract: dict[str, Any]) -> dict[str, str]:
    """Describe a bundle as InsightFace's model packs are described (its manifest, version 2).

    Args:
        name: The bundle's.
        folder: Where its files lie.
        contract: As in ``model.json``.

    Returns:
        Name of a file -> its text; nothing for crops that are not square, which InsightFace does not take.
    """
    _, _, height, width = contract["input"]["shape"]
    if height != width:
        return {}
    tasks: dict[str, dict[str, Any]] = {
        "recognition": {
            "file": MODEL,
            "sha256": contract["sha256"],
            "preprocessing": "embedded",
            "input_size": [height, width],
            "embedding_dimension": contract["embedding_size"],
        }
    }
    if contract["detector"]:
        tasks["detection"] = {"file": DETECTOR, "sha256": file_digest(folder / DETECTOR)}
    manifest = {
        "manifest_version": 2,
        "model_id": re.sub(r"[^A-Za-z0-9._-]", "_", f"facexfer-{name}")[:128],
        "display_name": name,
        "tasks": tasks,
        "license": "MODEL.LICENSE",
    }
    licence = f"Source of the weights: {contract['source'] or 'none, random weights'}\nLicence: {contract['licence']}\n"
    return {_PACK_MANIFEST: json.dumps(manifest, indent=2) + "\n", "MODEL.LICENSE": licence}
