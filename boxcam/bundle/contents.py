"""The files of a bundle against its manifest: nothing lost, altered or added, and none that leads out of the bundle."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from boxcam.bundle.external import external_files
from boxcam.bundle.files import MANIFEST, sha256
from boxcam.bundle.pointers import POINTER, is_pointer
from boxcam.errors import BundleError

_AGAIN = "Copy the bundle again, or export the model again."


def check_contents(root: Path, files: Mapping[str, str]) -> None:
    """Check that a folder holds the files of a manifest, as they were written, and no others.

    All bytes are read, the weights too: that takes a second for each GB or two, and a bundle is as large as its model.

    Args:
        root: the bundle.
        files: sha256 by path relative to it.

    Raises:
        BundleError: one is missing, altered, not listed, a link, or outside.
    """
    for name in files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleError(f"{root / MANIFEST} names a file outside the bundle: {name!r}. Export the model again.")
    there = set(_files(root, root))
    for name, expected in files.items():
        if name not in there:
            raise BundleError(f"bundle {root} has lost its file {name}. {_AGAIN}")
        _check_file(root / name, expected)
    for name in sorted(there - set(files) - {MANIFEST}):
        raise BundleError(
            f"bundle {root} holds a file that its manifest does not list: {name!r}. Move it out of the bundle."
        )


def check_graphs(root: Path, graphs: Collection[str], files: Collection[str]) -> None:
    """Check that graphs keep no tensors in files that the manifest does not list.

    Args:
        root: the bundle.
        graphs: names of ONNX files.
        files: the names that the manifest lists.

    Raises:
        BundleError: one does.
    """
    for name in graphs:
        file = root / name
        if file.suffix != ".onnx":  # ONNX Runtime tells its own format by the name
            raise BundleError(f"{root / MANIFEST} names a graph that is not an .onnx file: {name!r}. {_AGAIN}")
        try:
            outside = external_files(file.read_bytes()) - set(files)
        except ValueError as error:
            raise BundleError(f"{file} is not a valid ONNX file: {error}. {_AGAIN}") from error
        if outside:
            raise BundleError(
                f"{file} reads its weights from {min(outside)!r}, which is not a file of the bundle. {_AGAIN}"
            )


def _files(folder: Path, root: Path) -> Iterator[str]:
    """Paths of all that lies in a folder, relative to the bundle, links not followed.

    Raises:
        BundleError: one is a link, or a device, pipe or socket.
    """
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror}. Check its permissions.") from error
    for entry in entries:
        name = Path(entry.path).relative_to(root).as_posix()
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), root)
        elif entry.is_file(follow_symlinks=False):
            yield name
        else:
            what = "a link" if entry.is_symlink() else "neither a file nor a folder"
            raise BundleError(f"bundle {root}: {name} is {what}, which a bundle must not hold. {_AGAIN}")


def _check_file(file: Path, expected: str) -> None:
    try:
        actual = sha256(file)
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}. Check its permissions.") from error
    if actual != expected and is_pointer(file):
        raise BundleError(f"{file} {POINTER}")
    if actual != expected:
        raise BundleError(f"{file} was altered: its sha256 is not the one in the manifest. {_AGAIN}")
