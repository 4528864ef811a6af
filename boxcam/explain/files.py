"""What an explanation leaves on disk: a sheet of heatmaps, the raw maps, and a JSON for machines."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2

from boxcam.errors import OutputError
from boxcam.explain.archive import write_archive
from boxcam.explain.evidence import Evidence
from boxcam.explain.facts import box_facts, check_finite, facts
from boxcam.explain.look import Look
from boxcam.explain.names import FACTS, MAPS, SHEET
from boxcam.explain.pictures import draw_sheet, make_panel
from boxcam.explain.totals import totals_of
from boxcam.leftovers import file_aside, sweep
from boxcam.types import Float, Image


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make sure that a folder is there and can be written.

    Raises:
        OutputError: it cannot.
    """
    folder = Path(path)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise OutputError(f"cannot write into {folder}: it is a file, not a folder. Choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder, "result")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:  # a ValueError is of a path that cannot be one
        said = error.strerror if isinstance(error, OSError) else error
        raise OutputError(f"cannot write into {folder}: {said}. Choose another folder.") from error
    return folder


def write_files(
    evidence: Evidence,
    folder: Path,
    name: str,
    progress: Callable[[int, int], None] | None = None,
    watch: Callable[[int, Float, Mapping[str, Any]], None] | None = None,
    look: Look = Look(),  # noqa: B008 - it is frozen
) -> tuple[Path, Path, Path]:
    """Write ``name.png``, ``name.npz`` and ``name.json``; each is whole or not there. Maps are made one by one.

    Args:
        evidence: what to write.
        folder: where; see `make_folder`.
        name: of the files, without extension.
        progress: called with the number of maps written and their total.
        watch: called with each box's number, its map, which is not kept, and its facts.
        look: how the sheet draws the maps.

    Returns:
        The paths of sheet, maps and facts.

    Raises:
        OutputError: a file cannot be written.
        BoxcamError: the model gave a box, score or logit that is no number.
    """
    check_finite(evidence)
    paths = folder / (name + SHEET), folder / (name + MAPS), folder / (name + FACTS)
    try:
        for path in paths:  # before any of them is in place
            if path.is_dir() and not path.is_symlink():
                raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder", os.fspath(path))
        with (
            file_aside(paths[1], "result") as maps,
            file_aside(paths[0], "result") as page,
            file_aside(paths[2], "result") as said,  # the last made is the first in place: it marks the others as ours
        ):
            boxes, panels = [], []
            for k, values in enumerate(write_archive(evidence, maps)):
                of = totals_of(values, evidence.detections.boxes[k])
                boxes.append(box_facts(evidence, k, of))
                panels.append(make_panel(evidence, k, of, values))
                if watch is not None:
                    watch(k, values, boxes[-1])
                if progress is not None:
                    progress(k + 1, len(evidence))
            found = facts(evidence, boxes, {"overlay": paths[0].name, "maps": paths[1].name})
            text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            said.write(text.encode(errors="backslashreplace"))  # a file name that is not UTF-8 comes back from JSON
            page.write(encode_png(draw_sheet(evidence, panels, look)))
    except OSError as error:
        mend = "Choose another folder."
        if error.errno == errno.ENAMETOOLONG:
            mend = "Give the image, or the folder, a shorter name."
        raise OutputError(f"cannot write {folder / name}.*: {error.strerror or error}. {mend}") from error
    return paths


def encode_png(picture: Image) -> bytes:
    """A picture, uint8 [H, W, 3] in BGR, as a PNG file."""
    good, data = cv2.imencode(SHEET, picture)
    assert good
    return data.tobytes()
