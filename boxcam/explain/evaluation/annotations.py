"""The truth about images: objects, out of a COCO annotation file."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boxcam.errors import InputError, PackageError
from boxcam.explain.metrics.arithmetic import Array
from boxcam.explain.metrics.sample import Thing
from boxcam.filesystem import read_file
from boxcam.plurals import counted

_LARGEST = 1 << 30
"""Bytes of an annotation file."""
_MEND = "Pass a JSON file of COCO's form, with images, annotations and categories."
_PARTS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "images": {"id": int, "file_name": str, "height": int, "width": int},
    "categories": {"id": int, "name": str},
    "annotations": {"image_id": int, "category_id": int, "bbox": list},
}


@dataclass(frozen=True)
class Truth:
    """What is in an image.

    Attributes:
        things: all objects, of the model's classes (by index) and of others (-1), without crowds.
        crowds: boxes, [4] each, and classes of regions that stand for several objects.
    """

    things: tuple[Thing, ...]
    crowds: tuple[Thing, ...]


class Annotations:
    """A COCO annotation file.

    Args:
        path: the file.
        labels: the model's class names; a category is the class of its name, letters need not match in case.

    Raises:
        InputError: it cannot be read, is not of COCO's form, or has none of the model's classes.
        PackageError: pycocotools is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], labels: Sequence[str]) -> None:
        self.path = Path(path)
        self._coco = _open(self.path)
        names = {name.strip().casefold(): index for index, name in reversed(list(enumerate(labels)))}
        categories = self._coco.dataset["categories"]
        self._labels = {one["id"]: names.get(one["name"].strip().casefold(), -1) for one in categories}
        self._images: dict[str, list[Any]] = {}
        for image in self._coco.dataset["images"]:
            self._images.setdefault(Path(image["file_name"]).name, []).append(image)
        if all(label < 0 for label in self._labels.values()):
            raise InputError(
                f"{self.path}: none of its categories ({_some([one['name'] for one in categories])}) is a class of the"
                f" model ({_some(labels)}). Rename the categories, or export the model again with class_names=."
            )

    @property
    def masks(self) -> bool:
        """Whether any object's pixels are known."""
        return any(one.get("segmentation") and not one.get("iscrowd") for one in self._coco.dataset["annotations"])

    def of(self, file: Path, shape: tuple[int, ...]) -> Truth | None:
        """What is in an image; None if the annotations do not have it.

        Args:
            file: the image's file; it is found by its name, and where several have this, by its folders too.
            shape: its height and width.

        Raises:
            InputError: the annotations are of an image of another size, several are meant, or a mask is broken.
        """
        found = self._images.get(file.name, [])
        if len(found) > 1:
            place = file.absolute().as_posix()
            found = [one for one in found if place.endswith(f"/{one['file_name'].lstrip('./')}")]
            if len(found) != 1:
                raise InputError(
                    f"{file}: {self.path} has several images of this name. Give it the folders of one of them."
                )
        if not found:
            return None
        (image,) = found
        if (image["height"], image["width"]) != shape:
            raise InputError(
                f"{file} has {shape[0]}x{shape[1]} pixels, and the image of this name in {self.path}"
                f" {image['height']}x{image['width']}. Pass the images that were annotated."
            )
        things: list[Thing] = []
        crowds: list[Thing] = []
        for one in self._coco.loadAnns(self._coco.getAnnIds(imgIds=[image["id"]])):
            x, y, width, height = map(float, one["bbox"])
            crowd = bool(one.get("iscrowd", 0))
            mask = None if crowd else self._mask(one, shape)
            box = np.array([x, y, x + width, y + height])
            (crowds if crowd else things).append(Thing(box, self._labels[one["category_id"]], mask))
        return Truth(tuple(things), tuple(crowds))

    def _mask(self, one: Mapping[str, Any], shape: tuple[int, ...]) -> Array | None:
        """An object's pixels, which pycocotools draws; None if it has no segmentation."""
        outlines = one.get("segmentation")
        if not outlines:
            return None
        try:
            if isinstance(outlines, dict):
                good = tuple(outlines["size"]) == shape
            else:
                good = all(len(outline) >= 6 and len(outline) % 2 == 0 for outline in outlines)
            mask: Array | None = self._coco.annToMask(one).astype(np.bool_) if good else None
        except (TypeError, ValueError, KeyError, IndexError):
            mask = None
        if mask is None or mask.shape != shape:
            raise InputError(
                f"{self.path}: the segmentation of annotation {one.get('id')} is broken. Correct it, or leave it out."
            )
        return mask


def _open(path: Path) -> Any:
    """The file as pycocotools has it."""
    try:
        from pycocotools.coco import COCO
    except ModuleNotFoundError as error:
        raise PackageError.of("pycocotools", "annotations=", "audit") from error
    if path.is_dir() or path.suffix.lower() in (".txt", ".xml", ".yaml", ".yml"):
        raise InputError(
            f"{path} is not a COCO annotation file. Convert labels of YOLO or Pascal VOC to COCO's JSON first, as with"
            " supervision's DetectionDataset.from_yolo(…).as_coco(…)."
        )
    try:
        data = json.loads(read_file(path, _LARGEST))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}). {_MEND}") from error
    _check(data, path)
    coco = COCO()
    coco.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its steps
        coco.createIndex()
    return coco


def _check(data: Any, path: Path) -> None:
    """Refuse what is not of COCO's form."""
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no annotations, but {type(data).__name__}. {_MEND}")
    for part, fields in _PARTS.items():
        if not isinstance(data.get(part), list):
            raise InputError(f"{path} has no list {part!r}. {_MEND}")
        for number, one in enumerate(data[part]):
            for field, kind in fields.items():
                if not isinstance(one, dict) or not isinstance(one.get(field), kind):
                    raise InputError(f"{path}: entry {number} of {part!r} has no {field!r} that can be. {_MEND}")
    images, categories = ({one["id"] for one in data[part]} for part in ("images", "categories"))
    for number, one in enumerate(data["annotations"]):
        where = f"{path}: entry {number} of 'annotations'"
        if one["image_id"] not in images or one["category_id"] not in categories:
            raise InputError(f"{where} is of an image or a category that the file does not have. Correct it.")
        sides = one["bbox"]
        real = len(sides) == 4 and all(isinstance(side, int | float) and np.isfinite(side) for side in sides)
        if not real or min(sides[2:]) < 0:
            raise InputError(f"{where} has the box {sides}. Correct it to x, y, width and height in pixels.")
        one.setdefault("id", number)


def _some(names: Sequence[str]) -> str:
    more = f" and {counted(len(names) - 5, 'other')}" if len(names) > 5 else ""
    return f"{', '.join(names[:5]) or 'none'}{more}"
