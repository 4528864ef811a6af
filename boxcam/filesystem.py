"""Files that a person names: regular ones only, and no more of them than can be meant.

A device gives bytes without end, and opening a named pipe waits for someone to write into it. So the kind of a file is
looked at before it is opened, and again once it is open, as it may have been replaced in between.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file to read its bytes.

    Raises:
        OSError: it cannot be opened, or is a folder, a device, a named pipe or a socket: ``strerror`` says so.
        ValueError: the path cannot be one.
    """
    _check(path, os.stat(path))
    number = os.open(path, _FLAGS)
    try:
        _check(path, os.fstat(number))
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a regular file.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        OSError: as for `open_file`, or it is larger.
        ValueError: the path cannot be one.
    """
    with open_file(path) as stream:
        data = stream.read(min(os.fstat(stream.fileno()).st_size, most) + 1)  # what is asked for is allocated
        while len(data) <= most and (more := stream.read(1 << 16)):
            data += more
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than the {_size(most)} that such a file may have", os.fspath(path))
    return data


def read_text(path: str | os.PathLike[str], most: int, encoding: str = "utf-8") -> str:
    """The text of a regular file, with every end of a line as ``\\n``.

    Raises:
        OSError, ValueError: as for `read_file`; UnicodeDecodeError, a ValueError: it is not of that encoding.
    """
    return read_file(path, most).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def _check(path: str | os.PathLike[str], found: os.stat_result) -> None:
    kind = next((name for is_one, name in _KINDS if is_one(found.st_mode)), None)
    if kind is not None:
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", os.fspath(path))


def _size(bytes: int) -> str:
    return f"{bytes >> 20} MiB" if bytes >= 1 << 20 else f"{bytes >> 10} KiB"
