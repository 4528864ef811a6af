"""COCO annotations of the demo's images, out of what is known about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2


def annotations_of(signs: Path) -> dict[str, Any]:
    """The signs in the demo's images, each with the pixels of its box's inner half as a segmentation."""
    truth = json.loads((signs / "images" / "truth.json").read_text(encoding="utf-8"))
    names = sorted({one["label"] for objects in truth.values() for one in objects})
    found: dict[str, Any] = {
        "images": [],
        "categories": [{"id": 10 + k, "name": name.upper()} for k, name in enumerate(names)],
        "annotations": [],
    }
    for number, (file, objects) in enumerate(sorted(truth.items())):
        height, width = cv2.imread(str(signs / "images" / file)).shape[:2]
        found["images"].append({"id": number, "file_name": file, "height": height, "width": width})
        for one in objects:
            x1, y1, x2, y2 = one["box"]
            w, h = x2 - x1, y2 - y1
            left, top, right, bottom = x1 + w / 4, y1 + h / 4, x2 - w / 4, y2 - h / 4
            found["annotations"].append(
                {
                    "id": len(found["annotations"]) + 1,
                    "image_id": number,
                    "category_id": 10 + names.index(one["label"]),
                    "bbox": [x1, y1, w, h],
                    "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
                    "iscrowd": 0,
                }
            )
    return found
