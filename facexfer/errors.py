"""The one exception for bad input: the command line prints its single line and exits with status 2."""


class InputError(ValueError):
    """Bad input from outside: a file, an option, a data set.

    The message is one line that says what was expected, what came and what to do.

    Example:
        >>> raise InputError("expected landmarks of shape (5, 2), got (68, 2); pick five points first")
        Traceback (most recent call last):
        facexfer.errors.InputError: expected landmarks of shape (5, 2), got (68, 2); pick five points first
    """
