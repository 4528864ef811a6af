"""Pointers of Git LFS: what a clone has in the place of a large file that was not fetched.

Their format is described in https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
"""

from __future__ import annotations

import os

POINTER = "is a pointer of Git LFS, not the file itself. Download it with 'git lfs pull'."
"""What to say of one, as the rest of a sentence that begins with its name."""

_FIRST = b"version https://git-lfs.github.com/spec/v"


def begins_pointer(data: bytes) -> bool:
    """Whether a file that begins like this is a pointer."""
    return data.startswith(_FIRST)


def is_pointer(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a pointer; one that cannot be read is none."""
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as stream:
            return begins_pointer(stream.read(len(_FIRST)))
    except OSError:
        return False
