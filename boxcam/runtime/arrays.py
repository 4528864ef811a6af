"""Files of one array, as ``numpy.save`` writes them."""

from __future__ import annotations

import os
import tokenize
from typing import Any

import numpy as np
import numpy.typing as npt

_NO_HEADER = (*(ArithmeticError, EOFError, LookupError, RecursionError, SyntaxError, TypeError, tokenize.TokenError),)
"""What numpy raises at headers that are none, in addition to `ValueError`: it reads them as Python's literals."""


def open_array(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """The array of a file, mapped into memory, and read where it is looked at.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it holds no array, or one of Python's objects, which are never loaded.
    """
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except _NO_HEADER as error:
        raise ValueError(str(error)) from error
    return array
