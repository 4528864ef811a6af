"""Annotations in a JSON file of COCO's form, which pycocotools indexes and whose outlines it draws."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from boxcam.errors import InputError, PackageError
from boxcam.explain.evaluation.runs import mask_of_runs
from boxcam.explain.evaluation.truth import Entry
from boxcam.explain.metrics.arithmetic import Array
from boxcam.filesystem import read_file

_LARGEST = 1 << 30
"""Bytes of an annotation file."""
MEND = "Pass a JSON file of COCO's form, with images, annotations and categories."
_PARTS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "images": {"id": int, "file_name": str, "height": int, "width": int},
    "categories": {"id": int, "name": str},
    "annotations": {"image_id": int, "category_id": int, "bbox": list},
}


class Coco:
    """A file of COCO's form.

    Raises:
        InputError: it cannot be read, or is not of that form.
        PackageError: pycocotools is not installed.
    """

    form = "COCO"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._coco = _open(path)
        self._categories = {one["id"]: k for k, one in enumerate(self._coco.dataset["categories"])}
        self.names: tuple[str, ...] | None = tuple(one["name"] for one in self._coco.dataset["categories"])
        annotations = self._coco.dataset["annotations"]
        self.masks = any(one.get("segmentation") and not one.get("iscrowd") for one in annotations)
        self._files: dict[str, list[Any]] = {}
        for image in self._coco.dataset["images"]:
            self._files.setdefault(Path(image["file_name"]).name, []).append(image)

    def images(self) -> Collection[str]:
        return [str(image["id"]) for image in self._coco.dataset["images"]]

    def key(self, file: Path) -> str | None:
        """By its name, and where several have this, by its folders too.

        Raises:
            InputError: several are meant.
        """
        found = self._files.get(file.name, [])
        if len(found) > 1:
            place = file.absolute().as_posix()
            found = [one for one in found if place.endswith(f"/{one['file_name'].lstrip('./')}")]
            if len(found) != 1:
                raise InputError(
                    f"{file}: {self.path} has several images of this name. Give it the folders of one of them."
                )
        return str(found[0]["id"]) if found else None

    def entries(self, key: str, file: Path, shape: tuple[int, ...]) -> list[Entry]:
        image = self._coco.imgs[int(key)]
        if (image["height"], image["width"]) != shape:
            raise InputError(
                f"{file} has {shape[0]}x{shape[1]} pixels, and the image of this name in {self.path}"
                f" {image['height']}x{image['width']}. Pass the images that were annotated."
            )
        found = []
        for one in self._coco.imgToAnns.get(image["id"], []):  # by the image, as ids of annotations may come twice
            x, y, width, height = map(float, one["bbox"])
            crowd = bool(one.get("iscrowd", 0))
            mask = None if crowd else self._mask(one, shape)
            box = np.array([x, y, x + width, y + height])
            found.append(Entry(box, self._categories[one["category_id"]], mask, crowd))
        return found

    def _mask(self, one: Mapping[str, Any], shape: tuple[int, ...]) -> Array | None:
        """An object's pixels; None if it has no segmentation."""
        outlines = one.get("segmentation")
        if not outlines:
            return None
        try:
            if isinstance(outlines, dict):
                mask = mask_of_runs(outlines["counts"], shape) if tuple(outlines["size"]) == shape else None
            else:
                good = all(_is_outline(outline, shape) for outline in outlines)
                mask = self._coco.annToMask(one).astype(np.bool_) if good else None
        except (TypeError, ValueError, KeyError, IndexError, OverflowError):
            mask = None
        if mask is None or mask.shape != shape:
            raise InputError(
                f"{self.path}: the segmentation of annotation {one.get('id')} is broken. Correct it, or leave it out."
            )
        return mask


def _is_outline(outline: Any, shape: tuple[int, ...]) -> bool:
    """Whether numbers are x and y of three points or more, none further from the image than it is large."""
    if not isinstance(outline, list) or len(outline) < 6 or len(outline) % 2:
        return False
    height, width = shape[:2]
    return all(
        _is_finite(place) and -side <= place <= 2 * side
        for places, side in ((outline[::2], width), (outline[1::2], height))
        for place in places
    )


def _is_finite(number: Any) -> bool:
    """Whether something is a real number that float64 can hold."""
    try:
        return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def draw(outline: Array, shape: tuple[int, ...]) -> Array:
    """The pixels of a polygon, float [N, 2] x y in pixels, as pycocotools draws them: bool [H, W].

    Raises:
        PackageError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as masks
    except ModuleNotFoundError as error:
        raise PackageError.of("pycocotools", "annotations=", "audit") from error
    height, width = shape[:2]
    drawn: Array = masks.decode(masks.merge(masks.frPyObjects([outline.ravel().tolist()], height, width)))
    return drawn.astype(np.bool_)


def _open(path: Path) -> Any:
    """The file as pycocotools has it."""
    try:
        data = json.loads(read_file(path, _LARGEST))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}). {MEND}") from error
    _check(data, path)
    try:
        from pycocotools.coco import COCO
    except ModuleNotFoundError as error:  # when the file is known to be one that it is needed for
        raise PackageError.of("pycocotools", "annotations=", "audit") from error
    coco = COCO()
    coco.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its steps
        coco.createIndex()
    return coco


def _check(data: Any, path: Path) -> None:
    """Refuse what is not of COCO's form."""
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no annotations, but {type(data).__name__}. {MEND}")
    for part, fields in _PARTS.items():
        if not isinstance(data.get(part), list):
            raise InputError(f"{path} has no list {part!r}. {MEND}")
        for number, one in enumerate(data[part]):
            for field, kind in fields.items():
                value = one.get(field) if isinstance(one, dict) else None
                if not isinstance(value, kind) or isinstance(value, bool):
                    raise InputError(f"{path}: entry {number} of {part!r} has no {field!r} that can be. {MEND}")
    images, categories = (_ids(data[part], part, path) for part in ("images", "categories"))
    for number, one in enumerate(data["annotations"]):
        where = f"{path}: entry {number} of 'annotations'"
        if one["image_id"] not in images or one["category_id"] not in categories:
            raise InputError(f"{where} is of an image or a category that the file does not have. Correct it.")
        sides = one["bbox"]
        if len(sides) != 4 or not all(map(_is_finite, sides)) or min(sides[2:]) < 0:
            raise InputError(f"{where} has the box {str(sides)[:80]}. Correct it to x, y, width and height in pixels.")
        if isinstance(one.setdefault("id", number), list | dict | bool):
            raise InputError(f"{where} has an 'id' that is no number. Correct it, or leave it out.")


def _ids(entries: list[dict[str, Any]], part: str, path: Path) -> set[int]:
    """The ids of images or categories, of which no two are the same."""
    found: set[int] = set()
    for number, one in enumerate(entries):
        if one["id"] in found:
            raise InputError(
                f"{path}: entry {number} of {part!r} has the id {one['id']} of another one, so that what is annotated"
                " may be of either. Give each an id of its own."
            )
        found.add(one["id"])
    return found
