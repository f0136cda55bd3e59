"""Checks that a run's identities are what they must be."""

from facexfer.data.manifest import Manifest
from facexfer.errors import InputError

_SHOWN = 5


def check_disjoint(training: Manifest, validation: Manifest) -> None:
    """Check that nobody is in both sets.

    Args:
        training: What is trained on.
        validation: What is measured on.

    Raises:
        InputError: If an identity is in both; the error counts them and names some.
    """
    shared = sorted(set(training.identities) & set(validation.identities))
    if shared:
        more = ", ..." if len(shared) > _SHOWN else ""
        raise InputError(
            f"{training.path}: expected disjoint identities in training and validation, {len(shared)} are in both: "
            f"{', '.join(shared[:_SHOWN])}{more}; split by identity, not by image"
        )


def check_trainable(training: Manifest) -> None:
    """Check that a classifier can be trained.

    Args:
        training: What is trained on.

    Raises:
        InputError: If there is one image only, or one identity only.
    """
    if len(training.images) < 2:
        raise InputError(
            f"{training.path}: expected at least 2 training images, got {len(training.images)}; add photos"
        )
    if len(training.identities) < 2:
        raise InputError(
            f"{training.path}: expected at least 2 training identities, got only '{training.identities[0]}'; a "
            "classifier needs somebody to tell it from"
        )
