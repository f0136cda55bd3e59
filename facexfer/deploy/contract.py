"""The papers of a bundle: the contract and InsightFace's manifest."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facexfer.errors import InputError, RunError
from facexfer.eval.verification import OperatingPoint
from facexfer.files.digest import file_digest

MODEL, CONTRACT, DETECTOR, GALLERY = "model.onnx", "model.json", "detector.onnx", "gallery.onnx"


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
        """Target FAR -> threshold, where the data supports it."""
        rows = self.content["evaluation"]["operating_points"]
        return {row["far"]: row["threshold"] for row in rows if row["supported"]}

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
    def flip(self) -> bool:
        """Whether ``model.onnx`` adds the embedding of the mirrored crop."""
        return adds_flip(self.content)

    def check_files(self) -> None:
        """Check that the ONNX files are those that were measured.

        Raises:
            InputError: If one is missing.
            RunError: If one differs.
        """
        said = {MODEL: self.content.get("sha256")}
        if self.gallery is not None:
            said[GALLERY] = self.content["gallery"]["sha256"]
        for name, digest in said.items():
            if not (self.folder / name).is_file():
                raise InputError(f"{self.folder}: expected a bundle with {name}, found none; copy it again")
            if file_digest(self.folder / name) != digest:
                raise RunError(f"{self.folder / name}: expected the file that was measured, its SHA-256 differs")

    @property
    def far(self) -> float | None:
        """The FAR of the bundle's own operating point; None where the data supports none."""
        far: float | None = self.content["operating_point"]["far"]
        return far


def adds_flip(content: dict[str, Any]) -> bool:
    """Whether a bundle's files add the embedding of the mirrored crop; those of an older version do not.

    Args:
        content: As in ``model.json``.
    """
    flip: bool = content["preprocessing"]["inside"].get("flip", False)
    return flip


def read_contract(folder: Path) -> Contract:
    """Read what a bundle says of itself.

    Args:
        folder: The bundle.

    Raises:
        InputError: If the contract is missing, or something in it.
    """
    wanted = f"{folder}: expected a bundle with {CONTRACT}"
    try:
        contract = Contract(folder, json.loads((folder / CONTRACT).read_text(encoding="utf-8")))
        contract.thresholds, contract.tars, contract.far  # noqa: B018  (what everybody relies on is there)
    except KeyError as error:
        raise InputError(f"{wanted}, got one without {error.args[0]}; export it again") from error
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{wanted}, got: {error}; export it again") from error
    return contract


def choose_point(points: Sequence[OperatingPoint], far: float | None) -> OperatingPoint | None:
    """Choose the operating point by which a bundle decides.

    Args:
        points: As measured.
        far: The target that a user wants; None takes the lowest that the rule of thirty trusts (thirty false accepts
            are to be expected), or else the lowest that the data supports.

    Returns:
        The point; None where the data supports none.

    Raises:
        InputError: If the wanted target is not supported.
    """
    if far is not None:
        wanted = next((point for point in points if point.far == far and point.supported), None)
        if wanted is None:
            known = ", ".join(f"{point.far:g}" for point in points if point.supported) or "none"
            raise InputError(f"expected a FAR that the data supports ({known}), got {far:g}")
        return wanted
    supported = sorted((point for point in points if point.supported), key=lambda point: point.far)
    return next((point for point in supported if point.meets_rule_of_30), supported[0] if supported else None)


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
    return {"manifest.json": json.dumps(manifest, indent=2) + "\n", "MODEL.LICENSE": licence}
