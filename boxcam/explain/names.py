"""Names of the files that explanations are written to: none replaces another, nor a file of the user's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from boxcam.errors import OutputError
from boxcam.filesystem import open_file, read_file
from boxcam.runtime.images import EXTENSIONS

SHEET, MAPS, FACTS = ".png", ".npz", ".json"
_FILES = (*EXTENSIONS, MAPS, FACTS, ".npy", ".csv", ".txt", ".pdf", ".svg", ".html", ".zip")
_MAX_FACTS = 1 << 28
PAGE = "index.html"
"""Name of the page to browse all boxes of a run."""
PAGE_MARK = "<!doctype html>\n<!-- written by boxcam explain -->\n"
"""What boxcam's pages begin with, and no other."""


def choose_names(images: Sequence[Path], folder: Path) -> list[str]:
    """Names for the results of some images: each image's own, with a number where two images share one.

    Raises:
        OutputError: see `check_free`.
    """
    own = {image.stem for image in images}
    taken: set[str] = set()
    names = []
    for image in images:
        name, count = image.stem, 1
        while name in taken or (count > 1 and name in own):
            count += 1
            name = f"{image.stem}-{count}"
        taken.add(name)
        names.append(name)
    check_free(names, folder, images)
    return names


def is_name(given: object) -> bool:
    """Whether it can be the name of files in a folder: a word that leads to no other folder."""
    return isinstance(given, str) and given != ".." and "\0" not in given and Path(given).name == given != ""


def check_free(names: Sequence[str], folder: Path, images: Iterable[Path]) -> None:
    """Make sure that results of some names replace nothing but earlier results.

    Args:
        names: of the results, without extension.
        folder: where they are to go.
        images: the images that they are of.

    Raises:
        OutputError: a result would replace one of the images, or a file that is no result of boxcam's.
    """
    results = {os.path.realpath(folder / (name + extension)) for name in names for extension in (SHEET, MAPS, FACTS)}
    for image in images:
        if os.path.realpath(image) in results:
            raise OutputError(f"the results would replace the image {image}. Choose another folder.")
    for name in names:
        facts = folder / (name + FACTS)
        there = [file for end in (FACTS, SHEET, MAPS) if os.path.lexists(file := folder / (name + end))]
        if there and not is_result(facts):
            why = "" if there[0] == facts else f": there is no {facts.name} of its results next to it"
            raise OutputError(
                f"the results would replace {there[0]}, which boxcam did not write{why}. Move it away, or choose"
                " another folder."
            )


def check_page(folder: Path) -> None:
    """Make sure that the page of a run replaces nothing but an earlier one.

    Args:
        folder: where it is to go; it need not be there.

    Raises:
        OutputError: a file of its name is there that is not boxcam's.
    """
    path = folder / PAGE
    if not os.path.lexists(path):
        return
    try:
        with open_file(path) as file:
            ours = file.read(len(PAGE_MARK)) == PAGE_MARK.encode()
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise OutputError(
            f"the page of all boxes would replace {path}, which boxcam did not write. Move it away, or choose another"
            " folder."
        )


def check_is_folder(path: str | os.PathLike[str], advice: str = "Pass another folder with output=.") -> None:
    """Refuse a path with the name of a file, in whose place a folder of that name would be made.

    Args:
        path: where results are to go.
        advice: what to do instead.

    Raises:
        OutputError: it ends like a file, and no folder of that name is there.
    """
    if Path(path).suffix.lower() in _FILES and not os.path.isdir(path):
        raise OutputError(
            f"{os.fspath(path)} has the name of a file, and the results are several files in a folder. {advice}"
        )


def is_result(facts: Path, what: str = "detections") -> bool:
    """Whether a file is the JSON of an earlier result; what lies beside it under the same name is, too.

    Args:
        facts: the file.
        what: the entry that tells this kind of result from others.
    """
    try:
        found = json.loads(read_file(facts, _MAX_FACTS))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "boxcam" in found and what in found
