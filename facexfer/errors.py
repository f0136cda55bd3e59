"""The exceptions that the command line turns into one line and an exit status, warnings of one line, and long lists."""

from collections.abc import Sequence


class InputError(ValueError):
    """Bad input from outside: a file, an option, a data set. Exit status 2.

    The message is one line that says what was expected, what came and what to do.

    Example:
        >>> raise InputError("expected landmarks of shape (5, 2), got (68, 2); pick five points first")
        Traceback (most recent call last):
        facexfer.errors.InputError: expected landmarks of shape (5, 2), got (68, 2); pick five points first
    """


class NonFiniteError(InputError):
    """Embeddings that are not finite, or zero: of pictures that failed, or of a network that training broke."""


class DataWarning(UserWarning):
    """Input that can be used but hardly is what was meant; a command shows it as one line."""


class RunError(RuntimeError):
    """Good input, but the work could not be finished, or its result must not be used. Exit status 1.

    Example:
        >>> raise RunError("loss part 'spatial' became nan in stage ast at step 12 (learning rate 0.1)")
        Traceback (most recent call last):
        facexfer.errors.RunError: loss part 'spatial' became nan in stage ast at step 12 (learning rate 0.1)
    """


class DivergedError(RunError):
    """A training that failed: it must not continue, and its network must not be used. Exit status 1."""


def first_of(texts: Sequence[str], most: int, joint: str = ", ") -> str:
    """List the first few of many things in an error.

    Args:
        texts: All of them.
        most: How many are listed.
        joint: What stands between two.

    Returns:
        One line, with how many more there are.

    Example:
        >>> first_of(["a", "b", "c"], 2), first_of(["a", "b"], 2)
        ('a, b and 1 more', 'a, b')
    """
    left = len(texts) - most
    return joint.join(texts[:most]) + (f" and {left} more" if left > 0 else "")


def counted(number: int, what: str) -> str:
    """A number with what it counts, in the singular for one.

    Example:
        >>> counted(1, "photo"), counted(2000, "photo")
        ('1 photo', '2,000 photos')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"
