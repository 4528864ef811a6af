"""Names of classes, as people give them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from boxcam.bundle.pointers import POINTER, is_pointer
from boxcam.errors import SourceError


def read(given: str | os.PathLike[str] | Sequence[str]) -> tuple[str, ...]:
    """Class names by index.

    Args:
        given: a file with one name a line, where an empty line is a class without a name, or the names.

    Raises:
        SourceError: the file cannot be read, or is empty.
    """
    if not isinstance(given, (str, os.PathLike)):
        return tuple(given)
    if is_pointer(given):
        raise SourceError(f"class names {given} {POINTER}")
    try:
        lines = Path(given).read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SourceError(
            f"class names {given} cannot be read: {reason}. Pass a text file with one name per line with class_names=."
        ) from error
    if not lines:
        raise SourceError(f"class names {given} is empty. Write one name per line.")
    return tuple(line.strip() or f"class {index}" for index, line in enumerate(lines))
