"""Annotations of Pascal VOC's form: an XML file for each image.

Corners are numbers of pixels from 1, and the last one belongs to the box ("The PASCAL Visual Object Classes Challenge
2012 Development Kit", section 4.1): a box over a whole image of width W has xmin 1 and xmax W. Here it is 0 to W, as
supervision and detectron2 have it. What is marked as difficult or truncated is an object like any other.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from boxcam.errors import InputError
from boxcam.explain.evaluation.labels import Labels, read_text
from boxcam.explain.evaluation.truth import Entry
from boxcam.explain.metrics.arithmetic import Array

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Voc(Labels):
    """A folder of XML files.

    Raises:
        InputError: a file cannot be read, or is of another form.
    """

    form = "Pascal VOC"
    masks = False

    def __init__(self, files: Collection[Path]) -> None:
        super().__init__(files)
        self._roots = {key: _root(file) for key, file in self._files.items()}
        self._objects = {key: _objects(root, self._files[key]) for key, root in self._roots.items()}
        self.names: tuple[str, ...] | None = tuple(sorted({name for of in self._objects.values() for name, _ in of}))

    def entries(self, key: str, file: Path, shape: tuple[int, ...]) -> list[Entry]:
        said = [self._roots[key].findtext(f"size/{side}", "").strip() for side in ("height", "width")]
        stated = [int(text) for text in said if text.isdecimal()]
        if len(stated) == 2 and all(stated) and tuple(stated) != shape:  # some tools write 0
            raise InputError(
                f"{file} has {shape[0]}x{shape[1]} pixels, and {self._files[key]} is of an image of"
                f" {stated[0]}x{stated[1]}. Pass the images that were annotated."
            )
        assert self.names is not None
        return [Entry(box, self.names.index(name)) for name, box in self._objects[key]]


def _root(file: Path) -> ElementTree.Element:
    """The file's outermost element. A file that defines entities, which could grow without end, is not read."""
    text = read_text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{file} has a document type of its own, which annotations do not need. Leave it out.")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is not valid XML ({error}). Correct it, or leave it out.") from error
    if root.tag != "annotation":
        raise InputError(
            f"{file} is not of Pascal VOC's form: it begins with <{root.tag}>, not <annotation>. Leave it out, or"
            " convert it."
        )
    return root


def _objects(root: ElementTree.Element, file: Path) -> list[tuple[str, Array]]:
    """Class and box of each object: float64 [4], x1 y1 x2 y2."""
    found = []
    for number, one in enumerate(root.findall("object"), 1):
        name = one.findtext("name", "").strip()
        corners = [_number(one.findtext(f"bndbox/{corner}", "")) for corner in _CORNERS]
        if not name or not all(map(math.isfinite, corners)):
            raise InputError(
                f"{file}: object {number} has no {'bndbox of four numbers' if name else 'name'}. Correct it, or leave"
                " it out."
            )
        x1, y1, x2, y2 = corners
        if x2 < x1 or y2 < y1:
            raise InputError(f"{file}: object {number} has its corners swapped: {corners}. Correct it.")
        found.append((name, np.array([x1 - 1, y1 - 1, x2, y2])))
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
