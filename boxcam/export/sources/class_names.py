"""Names of classes, as people give them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from boxcam.bundle import MAX_LABELS, MAX_TEXT
from boxcam.bundle.pointers import POINTER, is_pointer
from boxcam.errors import SourceError
from boxcam.filesystem import read_text

_MAX_BYTES = 64 << 20


def read(given: str | os.PathLike[str] | Sequence[str]) -> tuple[str, ...]:
    """Class names by index.

    Args:
        given: a file with one name a line, where an empty line is a class without a name, or the names.

    Raises:
        SourceError: the file cannot be read, or is empty.
    """
    if not isinstance(given, (str, os.PathLike)):
        return _checked(tuple(map(str, given)))
    if is_pointer(given):
        raise SourceError(f"class names {given} {POINTER}")
    try:
        lines = read_text(given, _MAX_BYTES, "utf-8-sig").rstrip().splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SourceError(
            f"class names {given} cannot be read: {reason}. Pass a text file with one name per line with class_names=."
        ) from error
    if not lines:
        raise SourceError(f"class names {given} is empty. Write one name per line.")
    return _checked(tuple(line.strip() or f"class {index}" for index, line in enumerate(lines)))


def _checked(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, if a bundle can hold them.

    Raises:
        SourceError: there are too many, or one is too long.
    """
    longest = max(map(len, names), default=0)
    if len(names) > MAX_LABELS or longest > MAX_TEXT:
        what = f"one has {longest} letters, and up to {MAX_TEXT}" if longest > MAX_TEXT else f"up to {MAX_LABELS}"
        raise SourceError(f"there are {len(names)} class names: {what} are allowed. Pass others with class_names=.")
    return names
