"""Writing a bundle: aside, and put in place when it is complete."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from boxcam.bundle.files import MANIFEST, seal, sha256
from boxcam.bundle.manifest import Manifest
from boxcam.errors import OutputError
from boxcam.leftovers import OLD, folder_aside, locked, sweep


@contextmanager
def write(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Write a bundle aside and put it in place when the block ends well; leave nothing if it does not.

    Args:
        path: the bundle's directory.
        overwrite: replace a bundle that is there (never a directory that is no bundle).

    Yields:
        An empty directory to write into; finish with `write_manifest`.

    Raises:
        OutputError: the place is taken or cannot be written.
    """
    check_target(path, overwrite=overwrite)
    target = Path(os.path.realpath(path))
    with ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                os.lstat(target)  # whether the disk takes the name
            sweep(target.parent, target.name, keep=lambda path: _restored(path, target))
            aside = stack.enter_context(folder_aside(target.parent, target.name))
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror}. Choose another place with output=.") from error
        yield aside
        check_target(target, overwrite=overwrite)  # the block may have taken minutes
        _put_in_place(aside, target)


@contextmanager
def disk_errors(target: str | os.PathLike[str]) -> Iterator[None]:
    """Say of files that cannot be written, as on a full disk, that the bundle cannot.

    Raises:
        OutputError: one of them cannot.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {target}: {error.strerror or error}. Choose another place with output=."
        ) from error


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Say early whether a bundle can be written there.

    Raises:
        OutputError: the place is taken or cannot be written.
    """
    target = Path(path)
    if os.path.exists(target):
        if not os.path.isfile(target / MANIFEST):
            raise OutputError(
                f"{target} exists and is not a bundle, so it is left alone. Choose another place with output=."
            )
        if not overwrite:
            raise OutputError(
                f"bundle {target} exists. Replace it with overwrite=True, or choose another place with output=."
            )
    parent = target.parent
    while not os.path.exists(parent):
        parent = parent.parent
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise OutputError(
            f"cannot write {target}: {parent} is not writable ({reason}). Choose another place with output=."
        ) from error


def _put_in_place(aside: Path, target: Path) -> None:
    """Rename a finished bundle to its name; the one it replaces is deleted last, or put back."""
    old = aside.with_name(aside.name + OLD)
    try:
        if not os.path.lexists(target):
            aside.rename(target)
            return
        with locked(target):  # so that nobody who sweeps puts it back meanwhile
            target.rename(old)
            try:
                aside.rename(target)
            except OSError:
                old.rename(target)
                raise
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}. Choose another place with output=.") from error
    shutil.rmtree(old, ignore_errors=True)


def _restored(left: Path, target: Path) -> bool:
    """Put a bundle back in place that was about to be replaced when the run was killed; says whether it did."""
    if not left.name.endswith(OLD) or os.path.lexists(target) or not os.path.isfile(left / MANIFEST):
        return False
    left.rename(target)
    return True


def write_manifest(root: Path, manifest: Manifest) -> Manifest:
    """Hash the files under ``root`` and write the manifest beside them; returns it with the hashes.

    A file name that is not UTF-8, in ``source``, is written with JSON's own escapes, and is read back as it is.
    """
    names = sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())
    files = {name: sha256(root / name) for name in names if name != MANIFEST}
    manifest = dataclasses.replace(manifest, files=files)
    manifest = dataclasses.replace(manifest, seal=seal(dataclasses.asdict(manifest)))
    text = json.dumps(dataclasses.asdict(manifest), indent=2, ensure_ascii=False, allow_nan=False)
    # What UTF-8 cannot hold are lone surrogates, and Python's escape of one, \udcff, is also JSON's.
    (root / MANIFEST).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return manifest
