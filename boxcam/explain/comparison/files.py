"""The files of a comparison: the picture, and its figures next to it. Neither replaces what boxcam did not write."""

from __future__ import annotations

import json
import os
from pathlib import Path

from boxcam.errors import OutputError
from boxcam.explain.comparison.compare import Comparison
from boxcam.explain.comparison.grid import draw_grid
from boxcam.explain.files import encode_png, make_folder
from boxcam.explain.names import FACTS, SHEET, is_result
from boxcam.leftovers import file_aside


def check_picture(path: Path, image: Path) -> None:
    """Make sure that a picture can be written, before anything is computed.

    Args:
        path: of the picture.
        image: what is explained.

    Raises:
        OutputError: it has another ending, is a folder, or would replace the image or a file that is no comparison.
    """
    if path.is_dir():
        raise OutputError(
            f"{path} is a folder. Pass the name of a picture with output=, such as {path / 'comparison.png'}."
        )
    if path.suffix.lower() != SHEET:
        raise OutputError(f"{path} does not end in {SHEET}, which the picture is. Pass such a name with output=.")
    facts = path.with_suffix(FACTS)
    for file in (path, facts):
        if os.path.realpath(file) == os.path.realpath(image):
            raise OutputError(f"the comparison would replace the image {image}. Pass another name with output=.")
    there = [file for file in (path, facts) if os.path.lexists(file)]
    if there and not is_result(facts, "cells"):
        raise OutputError(
            f"the comparison would replace {there[0]}, which is no earlier comparison with its {facts.name}. Move it"
            " away, or pass another name with output=."
        )


def save(comparison: Comparison, path: Path) -> tuple[Path, Path]:
    """Write the picture, and its figures as JSON; each is whole or not there. The folder is made if need be.

    Returns:
        Both paths.

    Raises:
        OutputError: they cannot be written.
    """
    make_folder(path.parent)
    facts = path.with_suffix(FACTS)
    text = json.dumps(comparison.facts(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        with file_aside(path, "result") as picture, file_aside(facts, "result") as said:
            said.write(text.encode(errors="backslashreplace"))
            picture.write(encode_png(draw_grid(comparison)))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}. Pass another name with output=.") from error
    return path, facts
