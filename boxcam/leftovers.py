"""What is written aside until it is complete, and what a run that was killed leaves of it.

Files and folders written aside have a name by which the next run knows them, ``.NAME.boxcam-xxxxxxxx``, and are locked
as long as they are being written. The lock is the system's and is gone with the process, however that ends: what has
the name and no lock is left over, and is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

MARK = ".boxcam-"
OLD = ".old"
"""What is put after the name of a folder that is being replaced, until the new one is in place."""


def name_aside(name: str) -> str:
    """A name for what becomes the file or folder ``name``, or belongs to it; hidden, and cut if it were too long."""
    return f".{_short(name)}{MARK}{secrets.token_hex(4)}"


@contextlib.contextmanager
def file_aside(path: Path, name: str) -> Iterator[IO[bytes]]:
    """A file to write aside: it is put in place when the block ends well, and is gone if it does not.

    Args:
        path: its place.
        name: what it is called meanwhile, see `name_aside`; another one than its own where that may be too long.

    Raises:
        OSError: it cannot be written, or not be put in place.
    """
    with _held(path.parent, name, _make_file) as aside:
        try:
            with open(aside, "wb") as file:
                yield file
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            raise


@contextlib.contextmanager
def folder_aside(parent: Path, name: str, mode: int = 0o777) -> Iterator[Path]:
    """An empty folder to write into aside; what is still there of it when the block ends is removed.

    Raises:
        OSError: it cannot be made.
    """
    with _held(parent, name, lambda aside: aside.mkdir(mode)) as aside:
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep others from taking a file or folder for left over; where the system has no such locks, do nothing.

    Raises:
        OSError: it is not there, or someone else has locked it.
    """
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
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for found in filter(pattern.fullmatch, names):
        with contextlib.suppress(OSError):  # someone is at work on it, or has removed it
            _remove(Path(folder, found), keep)


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder among the system's temporary files, as ``tempfile.TemporaryDirectory`` gives it, that is swept later."""
    place = Path(tempfile.gettempdir())
    sweep(place, _own())
    with folder_aside(place, _own(), 0o700) as folder:
        yield str(folder)


def _own() -> str:
    """Temporary files of other users are not looked at."""
    return f"boxcam-{os.getuid() if hasattr(os, 'getuid') else 0}"


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:200])


def _remove(path: Path, keep: Callable[[Path], bool]) -> None:
    number = _lock(path)
    if number is None:  # nobody can tell whether someone is at work on it
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


@contextlib.contextmanager
def _held(parent: Path, name: str, make: Callable[[Path], None]) -> Iterator[Path]:
    """Something new with a name aside, locked until the block ends.

    Who sweeps between its being made and its being locked takes it for left over: then another one is made.
    """
    while True:
        aside = parent / name_aside(name)
        make(aside)
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            number = _lock(aside)
            break
    try:
        yield aside
    finally:
        if number is not None:
            os.close(number)


def _make_file(path: Path) -> None:
    with open(path, "xb"):  # with the rights that the umask leaves, unlike tempfile's
        pass


def _lock(path: str | os.PathLike[str]) -> int | None:
    """A descriptor that holds the lock until it is closed; None where there are no such locks.

    Raises:
        BlockingIOError: someone else has it.
        OSError: it is not there, or a link.
    """
    fcntl = _fcntl()
    if fcntl is None:
        return None
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        there = os.lstat(path)  # it may have been removed, by who had locked it before
        if not os.path.samestat(there, os.fstat(number)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
    except (BlockingIOError, FileNotFoundError):
        os.close(number)
        raise
    except OSError:  # of a file system without locks
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
