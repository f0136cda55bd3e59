"""The folds of a cross-validation, pooled: every identity is measured once, by a network that has not seen it.

Where people are few, a validation set of its own is too small to show anything. The identities are cut into folds; one
network is trained for each fold, on the others; its own fold's pairs are scored by it; and all folds' scores together
give one threshold and one TAR at each FAR. Pairs across folds, which two networks have embedded, do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facexfer.comparison.grid import Grid
from facexfer.data.manifest import read_manifest
from facexfer.errors import InputError
from facexfer.eval.collect import labelled_scores
from facexfer.eval.paired import Difference, LabelledScores, paired_differences
from facexfer.eval.scores import operating_points
from facexfer.eval.verification import OperatingPoint
from facexfer.measure.embedder import load
from facexfer.measure.pair_sets import compare
from facexfer.measure.pooled import pool_pairs
from facexfer.recipe import Recipe, read_recipe
from facexfer.runs.face_images import training_and_validation
from facexfer.runs.folder import RunFolder


@dataclass(frozen=True)
class PooledPairs:
    """One kind of pairs of all folds together.

    Attributes:
        name: ``nir``, or ``vis-nir`` for a VIS gallery and NIR probes.
        points: One a target.
        scores: For a paired comparison with other networks on the same folds.
        impostor_pairs: How many there are.
    """

    name: str
    points: tuple[OperatingPoint, ...]
    scores: LabelledScores
    impostor_pairs: int

    def minus(self, other: "PooledPairs") -> tuple[Difference | None, ...]:
        """Compare with another method's networks on the same folds, at each target.

        Args:
            other: The first of the two in each `Difference`.
        """
        targets = [point.far for point in self.points]
        return paired_differences(other.scores, self.scores, targets, self.impostor_pairs)


def fold_settings(grid: Grid) -> list[tuple[str, str]]:
    """What each fold's recipe adds; nothing without folds."""
    folds = grid.folds or 0
    return [(f"data.folds={folds}", f"data.fold={fold}") for fold in range(1, folds + 1)]


def pool_folds(runs: Sequence[Path]) -> tuple[PooledPairs, ...]:
    """Measure the networks of a cross-validation together.

    Args:
        runs: The finished run of each fold: recipes that differ in ``data.fold`` alone.

    Returns:
        One of each kind of pairs in the recipes' ``evaluation.pairs``.

    Raises:
        InputError: If they are not all the folds of one cross-validation, or an image is unfit.
    """
    recipes = [read_recipe(RunFolder(run).recipe_file) for run in runs]
    _check(runs, recipes)
    embedders = [load(run) for run in runs]
    validations = [
        training_and_validation(read_manifest(recipe.data.manifest), recipe.data)[1]
        for recipe in recipes
        if recipe.data.manifest is not None
    ]
    pooled = []
    for pairs in recipes[0].evaluation.pairs:
        folds = [
            compare(embedder, validation, pairs.probe, pairs.gallery)
            for embedder, validation in zip(embedders, validations, strict=True)
        ]
        compared = pool_pairs(folds)
        fars = recipes[0].evaluation.fars
        points, scores = operating_points(compared, fars), labelled_scores(compared, fars)
        pooled.append(PooledPairs(pairs.name, points, scores, compared.impostor_pairs))
    return tuple(pooled)


def _check(runs: Sequence[Path], recipes: Sequence[Recipe]) -> None:
    folds = recipes[0].data.folds
    alike = {
        recipe.model_copy(update={"data": recipe.data.model_copy(update={"fold": None})}).model_dump_json()
        for recipe in recipes
    }
    found = sorted(recipe.data.fold or 0 for recipe in recipes)
    if folds is None or len(alike) > 1 or found != list(range(1, folds + 1)):
        raise InputError(
            f"{runs[0]}: expected the runs of all folds of one cross-validation, got data.fold = {found} of data.folds "
            f"= {folds} in {len(alike)} different recipes; train one recipe once per fold"
        )
