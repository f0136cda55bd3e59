"""Read the pickles of InsightFace's verification sets without trusting them.

A pickle is a program for a small stack machine. This one knows the few instructions that lists, flags, bytes and arrays
of bytes need, and no way to name or call anything else.
"""

import pickletools
import reprlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from facexfer.errors import InputError

_MARK = object()
_IGNORED = ("PROTO", "FRAME", "STOP")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS_AND_TEXTS = ("BININT", "BININT1", "BININT2", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
                      "BINBYTES8", "BYTEARRAY8")  # fmt: skip
_PYTHON2_TEXTS = ("BINSTRING", "SHORT_BINSTRING")
_NAMES = ("_reconstruct", "_frombuffer", "ndarray", "dtype", "encode")
_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric",
            "_codecs")  # fmt: skip
# A pair of lists, of photos that may be lists themselves.
_DEPTH = 4
_BYTE_TYPES = ("u1", "|u1", "b1", "|b1")


@dataclass(frozen=True)
class _Name:
    name: str


@dataclass
class _Array:
    values: np.ndarray | None = None


def read_array_pickle(data: bytes) -> Any:
    """Build what a pickle of lists, flags, bytes and uint8 arrays describes.

    Args:
        data: The pickle, of any protocol.

    Returns:
        Nested lists and tuples of bytes, bools, ints and (…) uint8 arrays.

    Raises:
        InputError: If it holds any other instruction or object, or is damaged.

    Example:
        >>> import pickle
        >>> read_array_pickle(pickle.dumps(([b"jpeg"], [True])))
        ([b'jpeg'], [True])
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        with warnings.catch_warnings():
            # Damaged texts hold escapes that Python knows not, and it would say so line by line.
            warnings.simplefilter("ignore", DeprecationWarning)
            for instruction, argument, _ in pickletools.genops(data):
                _step(instruction.name, argument, stack, memo)
        (result,) = stack
    except InputError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, UnicodeError, OverflowError) as error:
        # A missing key or place says nothing by itself.
        why = "" if isinstance(error, LookupError) else f": {error}"
        raise InputError(f"expected a pickle of pictures and flags, it is damaged{why}; copy it again") from error
    return _unwrapped(result, _DEPTH, {})


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    if name in _IGNORED:
        return
    if name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in _NUMBERS_AND_TEXTS:
        stack.append(argument)
    elif name in _PYTHON2_TEXTS:
        stack.append(argument.encode("latin-1"))
    elif name in ("EMPTY_LIST", "EMPTY_TUPLE"):
        stack.append([] if name == "EMPTY_LIST" else ())
    elif name == "MARK":
        stack.append(_MARK)
    elif name in ("TUPLE", "LIST"):
        items = _above_mark(stack)
        stack.append(tuple(items) if name == "TUPLE" else items)
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        items = [stack.pop() for _ in range(count)][::-1]
        stack.append(tuple(items))
    elif name in ("APPEND", "APPENDS"):
        items = [stack.pop()] if name == "APPEND" else _above_mark(stack)
        if not isinstance(stack[-1], list):
            raise InputError("expected a pickle that appends to lists only; the file is not one of pictures and flags")
        stack[-1].extend(items)
    elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        stack.append(_named(name, argument, stack))
    elif name == "REDUCE":
        arguments = stack.pop()
        stack.append(_built(stack.pop(), arguments))
    elif name == "BUILD":
        _fill(stack, stack.pop())
    else:
        raise InputError(f"expected a pickle of pictures and flags, got the instruction {name}; do not trust the file")


def _above_mark(stack: list[Any]) -> list[Any]:
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _named(instruction: str, argument: str, stack: list[Any]) -> _Name:
    if instruction == "GLOBAL":
        module, name = argument.split(" ", 1)
    else:
        name, module = stack.pop(), stack.pop()
    if module not in _MODULES or name not in _NAMES:
        raise InputError(f"expected a pickle of pictures and flags, it names {module}.{name}; do not trust the file")
    return _Name(name)


def _built(function: Any, arguments: tuple[Any, ...]) -> Any:
    match function:
        case _Name("_reconstruct"):
            return _Array()
        case _Name("dtype") if arguments[0] in (*_BYTE_TYPES, *(kind.encode() for kind in _BYTE_TYPES)):
            return _Name("dtype")
        case _Name("_frombuffer") if arguments[1] == _Name("dtype"):
            values, _, shape, order = arguments
            return _Array(np.frombuffer(values, dtype=np.uint8).reshape(shape, order=order))
        case _Name("encode"):
            return arguments[0].encode("latin-1")
    raise InputError(f"expected arrays of uint8, got {reprlib.repr(arguments)}; do not trust the file")


def _fill(stack: list[Any], state: Any) -> None:
    if not isinstance(stack[-1], _Array):
        return  # The state of a dtype: byte order and the like, of no meaning for single bytes.
    _, shape, _, fortran, values = state
    array = np.frombuffer(values, dtype=np.uint8)
    stack[-1].values = array.reshape(shape, order="F" if fortran else "C")


def _unwrapped(value: Any, depth: int, done: dict[int, Any]) -> Any:
    if isinstance(value, _Array):
        if value.values is None:
            raise InputError("expected arrays with content, got one without; the pickle is damaged, copy it again")
        return value.values
    if not isinstance(value, list | tuple):
        return value
    if not depth:
        raise InputError(f"expected lists nested at most {_DEPTH} deep, got deeper ones; do not trust the file")
    # What is shared stays shared: a small file cannot unfold into a large structure.
    if id(value) not in done:
        done[id(value)] = type(value)(_unwrapped(item, depth - 1, done) for item in value)
    return done[id(value)]
