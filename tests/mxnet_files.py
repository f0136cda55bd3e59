"""Write MXNet ``.params`` files in each of their forms, from the format's description."""

import struct
from collections.abc import Mapping

import numpy as np

TYPES = {np.dtype("float32"): 0, np.dtype("float64"): 1, np.dtype("float16"): 2, np.dtype("int64"): 6}


def array_bytes(array: np.ndarray, form: str) -> bytes:
    dims = array.shape
    if form == "legacy":
        head = struct.pack(f"<I{len(dims)}I", len(dims), *dims)
    elif form == "V1":
        head = struct.pack(f"<II{len(dims)}q", 0xF993FAC8, len(dims), *dims)
    elif form == "V2":
        head = struct.pack(f"<IiI{len(dims)}q", 0xF993FAC9, 0, len(dims), *dims)
    else:
        head = struct.pack(f"<Iii{len(dims)}q", 0xF993FACA, 0, len(dims), *dims)
    return head + struct.pack("<iii", 1, 0, TYPES[array.dtype]) + array.tobytes()


def params_bytes(arrays: Mapping[str, np.ndarray], form: str = "V2") -> bytes:
    body = b"".join(array_bytes(np.ascontiguousarray(array), form) for array in arrays.values())
    names = b"".join(struct.pack("<Q", len(name.encode())) + name.encode() for name in arrays)
    counts = struct.pack("<Q", len(arrays))
    return struct.pack("<QQ", 0x112, 0) + counts + body + counts + names
