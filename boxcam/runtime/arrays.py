"""Arrays in files that ``numpy.save`` wrote (NEP 1), read without evaluating what a header says.

numpy reads a header as a literal of Python, whose parser can fail in any way, its memory's end included. So the header
is matched first with what an array of plain numbers has in it; numpy reads the rest.
"""

from __future__ import annotations

import math
import os
import re
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.filesystem import open_file

NPY = b"\x93NUMPY"
_LONGEST = 10_000
"""Bytes of a header, as numpy has it."""
_MOST = 1 << 48
"""Numbers of an array."""
_ENTRIES = (
    re.compile(r"""['"]descr['"]:['"]([<>|=]?[A-Za-z?][0-9]{0,9})['"]"""),
    re.compile(r"""['"]fortran_order['"]:(True|False)"""),
    re.compile(r"""['"]shape['"]:\(([0-9]{1,18}L?(,[0-9]{1,18}L?){0,31},?)?\)"""),
)


def open_array(name: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Map the array of a file into memory, to be read only.

    Raises:
        OSError: it cannot be opened or read.
        ValueError: it is not a whole file of one array of plain numbers.
    """
    with open_file(name) as stream:
        _check(stream.read(12 + _LONGEST))
    try:
        array: npt.NDArray[Any] = np.load(name, mmap_mode="r", allow_pickle=False)
    except (ArithmeticError, EOFError, LookupError, SyntaxError, TypeError) as error:
        raise ValueError(str(error)) from error
    return array


def _check(beginning: bytes) -> None:
    """Refuse a header that is not that of an array of numbers.

    Raises:
        ValueError: it is not.
    """
    if not beginning.startswith(NPY) or len(beginning) < 12:
        raise ValueError("it does not begin as one")
    start, form = (10, "<H") if beginning[6] == 1 else (12, "<I")
    length = struct.unpack_from(form, beginning, 8)[0]
    if length > _LONGEST:
        raise ValueError(f"its header has {length} bytes")
    if len(beginning) < start + length:
        raise ValueError("it ends in its header")
    header = "".join(beginning[start : start + length].decode("latin-1").split())
    if not (header.startswith("{") and header.endswith("}")):
        raise ValueError("its header has no entries")
    left, shape = header[1:-1], ""
    for entry in _ENTRIES:
        found = entry.search(left)
        if found is None:
            raise ValueError("its header is not that of an array of numbers")
        shape = found[1] if entry is _ENTRIES[-1] else shape
        left = left[: found.start()] + left[found.end() :]
    if math.prod(int(side) for side in (shape or "").replace("L", "").split(",") if side) >= _MOST:
        raise ValueError(f"its shape ({shape}) has more numbers than a file can hold")
    if left.strip(",") or len(left) > 3:
        raise ValueError("its header has other entries than an array of numbers has")
