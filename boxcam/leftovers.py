"""What is written aside until it is complete, and what a run that was killed leaves of it.

Files and folders written aside have a name by which the next run knows them, ``.NAME.boxcam-xxxxxxxx``, and are locked
as long as they are being written. The lock is the system's and is gone with the process, however that ends: what has
the name and no lock is left over, and is removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MARK = ".boxcam-"
OLD = ".old"
"""What is put after the name of a folder that is being replaced, until the new one is in place."""


def name_aside(name: str) -> str:
    """A name for what becomes the file or folder ``name``, or belongs to it; hidden, and cut if it were too long."""
    return f".{_short(name)}{MARK}{secrets.token_hex(4)}"


@contextlib.contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep others from taking a file or folder for left over; where the system has no such locks, do nothing."""
    number = _lock(path)
    try:
        yield
    finally:
        if number is not None:
            os.close(number)


def sweep(folder: Path, name: str, keep: Callable[[Path], bool] = lambda path: False) -> None:
    """Remove what was left over of ``name`` in a folder.

    Args:
        folder: where to look.
        name: see `name_aside`.
        keep: is told of what was left over, and says whether it has to stay.
    """
    pattern = re.compile(re.escape(f".{_short(name)}{MARK}") + r"[0-9a-f]{8}(" + re.escape(OLD) + r")?")
    with contextlib.suppress(OSError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if pattern.fullmatch(entry.name) and not entry.is_symlink():
                _remove(Path(entry.path), keep)


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder among the system's temporary files, as ``tempfile.TemporaryDirectory`` gives it, that is swept later."""
    place = Path(tempfile.gettempdir())
    sweep(place, _own())
    folder = place / name_aside(_own())
    folder.mkdir(mode=0o700)
    try:
        with locked(folder):
            yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _own() -> str:
    """Temporary files of other users are not looked at."""
    return f"boxcam-{os.getuid() if hasattr(os, 'getuid') else 0}"


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:200])


def _remove(path: Path, keep: Callable[[Path], bool]) -> None:
    number = _lock(path)
    if number is None:  # someone is at work on it, or nobody can tell
        return
    try:
        if keep(path):
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    finally:
        os.close(number)


def _lock(path: str | os.PathLike[str]) -> int | None:
    """A descriptor that holds the lock until it is closed; None if it cannot be had."""
    fcntl = _fcntl()
    if fcntl is None:
        return None
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        return None
    return number


def _fcntl() -> Any:
    """The module of POSIX's locks, or None."""
    try:
        import fcntl
    except ImportError:
        return None
    return fcntl
