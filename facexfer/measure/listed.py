"""Verification on the pairs of a list, for sets whose identities are known only from it."""

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from facexfer.data.manifest import FaceImage
from facexfer.data.pairs_file import ListedPair
from facexfer.errors import DataWarning, InputError
from facexfer.eval.folds import fold_accuracy
from facexfer.eval.report.findings import Findings
from facexfer.eval.report.page import ShownPair
from facexfer.eval.score_files import ScoreSet
from facexfer.measure.evaluate import Request, evaluate_scores, show_pair
from facexfer.measure.pair_sets import Side
from facexfer.measure.questions import listed_scores


def list_defines_pairs(images: Sequence[FaceImage], pairs: Sequence[ListedPair]) -> bool:
    """Whether the identities of images tell of no genuine pair that the list does not have.

    So it is with photos that are not sorted by person, and with InsightFace's ``.bin`` sets: two of their pairs may
    show one person, so that only the listed pairs may be compared.

    Args:
        images: The images that the list refers to.
        pairs: The list.

    Returns:
        Whether the list must be taken for all pairs there are.
    """
    _, counts = np.unique([image.identity for image in images if image.identity], return_counts=True)
    listed = {
        frozenset((pair.first, pair.second))
        for pair in pairs
        if pair.first is not None
        and pair.second is not None
        and pair.first != pair.second
        and pair.same
        and images[pair.first].identity == images[pair.second].identity != ""
    }
    return int((counts * (counts - 1) // 2).sum()) <= len(listed)


def without_self_pairs(pairs: Sequence[ListedPair], pictures: Sequence[Hashable]) -> tuple[ListedPair, ...]:
    """Leave out the pairs of a picture with itself, under whatever names.

    Args:
        pairs: A list.
        pictures: What the images show, one a place of the list; equal for equal pictures.

    Returns:
        The others.

    Warns:
        DataWarning: How many are left out.
    """
    others = tuple(
        pair
        for pair in pairs
        if pair.first is None or pair.second is None or pictures[pair.first] != pictures[pair.second]
    )
    if len(others) < len(pairs):
        text = f"{len(pairs) - len(others)} of {len(pairs)} listed pairs are a picture with itself; they are left out"
        warnings.warn(text, DataWarning, stacklevel=3)
    return others


def evaluate_list(side: Side, pairs: Sequence[ListedPair], request: Request, facts: dict[str, Any]) -> Findings:
    """Answer what the pairs of a list can tell; intervals take them as independent, since the identities are unknown.

    Args:
        side: The images that the list refers to.
        pairs: The list.
        request: What is asked.
        facts: Model and data.

    Returns:
        The findings, with the accuracy over the folds where there are several.

    Raises:
        InputError: If something is asked that needs identities, or the list lacks a kind of pair.
    """
    needs = {
        "--identify": request.identify, "--templates": request.templates, "--slice-by": request.columns,
        "--extrapolate": request.extrapolate, "--recommend": request.door,
    }  # fmt: skip
    asked = [option for option, given in needs.items() if given]
    if asked:
        raise InputError(
            f"expected identities with several images for {', '.join(asked)}, identities are known only from the pair "
            f"list; leave {', '.join(asked)} out"
        )
    same = np.array([pair.same for pair in pairs], dtype=bool)
    folds = np.array([pair.fold for pair in pairs])
    if same.all() or not same.any():
        raise InputError(
            f"expected pairs of one person and pairs of two in the list, got {same.sum()} and {(~same).sum()}; add the "
            "others"
        )
    scores = listed_scores(side, pairs)
    findings = evaluate_scores(ScoreSet(scores[same], scores[~same], distances=False), request)
    return replace(
        findings,
        comparison="listed pairs",
        folds=fold_accuracy(scores, same, folds) if len(np.unique(folds)) > 1 else None,
        facts=facts | dict(findings.facts),
    )


def show_worst_listed(side: Side, pairs: Sequence[ListedPair], count: int, pictures: bool) -> list[ShownPair]:
    """Collect the false accepts of the highest and the false rejects of the lowest scores of a list.

    Args:
        side: The images that the list refers to.
        pairs: The list.
        count: How many of each kind.
        pictures: Whether to put the images in; they are biometric data.

    Returns:
        The pairs.
    """
    scores = listed_scores(side, pairs)
    order = np.argsort(scores, kind="stable").tolist()
    compared = {
        place: (pair.first, pair.second)
        for place, pair in enumerate(pairs)
        if pair.first is not None and pair.second is not None
    }
    kinds = {
        "false accept": [place for place in order[::-1] if place in compared and not pairs[place].same],
        "false reject": [place for place in order if place in compared and pairs[place].same],
    }
    return [
        show_pair(kind, float(scores[place]), (side, compared[place][0]), (side, compared[place][1]), pictures)
        for kind, places in kinds.items()
        for place in places[:count]
    ]
