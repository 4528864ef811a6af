"""Folders with one file of annotations for each image."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from boxcam.errors import InputError
from boxcam.filesystem import read_file

_LARGEST = 1 << 24
"""Bytes of the annotations of one image."""


class Labels:
    """The files of a folder, by the name of the image without its ending."""

    def __init__(self, files: Collection[Path]) -> None:
        self._files = {file.stem: file for file in sorted(files)}

    def images(self) -> Collection[str]:
        """The names of the images that have a file."""
        return self._files.keys()

    def key(self, file: Path) -> str | None:
        """The name of an image if it has a file; without one it is not annotated, and not an image without objects."""
        return file.stem if file.stem in self._files else None


def read_text(file: Path) -> str:
    """The text of a file.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    try:
        return read_file(file, _LARGEST).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}. Check the path.") from error
    except ValueError as error:
        raise InputError(f"{file} is not text of UTF-8. Save it as such.") from error
