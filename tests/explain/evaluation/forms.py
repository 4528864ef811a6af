"""The demo's annotations in other forms than COCO's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.explain.evaluation.coco import annotations_of


def objects_of(signs: Path) -> Iterator[tuple[dict[str, Any], list[tuple[int, str, list[float]]]]]:
    """Of each image of the demo what is in it: number and name of the class, and the box, x y width height."""
    data = annotations_of(signs)
    names = {one["id"]: one["name"] for one in data["categories"]}
    for image in data["images"]:
        mine = [one for one in data["annotations"] if one["image_id"] == image["id"]]
        yield image, [(one["category_id"] - 10, names[one["category_id"]], one["bbox"]) for one in mine]


def write_yolo(signs: Path, folder: Path) -> Path:
    """``labels/`` with a text file for each image, and ``data.yaml`` above it."""
    labels = folder / "labels"
    labels.mkdir(parents=True)
    names = {}
    for image, objects in objects_of(signs):
        lines = []
        for number, name, (x, y, w, h) in objects:
            names[number] = name
            shares = (
                (x + w / 2) / image["width"],
                (y + h / 2) / image["height"],
                w / image["width"],
                h / image["height"],
            )
            lines.append(f"{number} {' '.join(map(repr, shares))}\n")
        (labels / f"{Path(image['file_name']).stem}.txt").write_text("".join(lines), encoding="utf-8")
    listed = "".join(f"  {number}: {name}\n" for number, name in sorted(names.items()))
    (folder / "data.yaml").write_text(f"train: images\nnames:\n{listed}", encoding="utf-8")
    return labels


def write_voc(signs: Path, folder: Path) -> Path:
    """A folder with an XML file for each image."""
    folder.mkdir(parents=True)
    for image, objects in objects_of(signs):
        of = "".join(
            f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
            for _, name, (x, y, w, h) in objects
        )
        size = f"<size><width>{image['width']}</width><height>{image['height']}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{image['file_name']}</filename>{size}{of}</annotation>"
        (folder / f"{Path(image['file_name']).stem}.xml").write_text(text, encoding="utf-8")
    return folder
