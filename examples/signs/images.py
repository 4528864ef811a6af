"""Draw the pictures of the demo again: ``images/*.jpg`` and their true boxes in ``images/truth.json``.

    python examples/signs/images.py

They stand before held-out photographs and drawn streets; no training scene and no evaluated scene is among them.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from backgrounds import FREE, photographs
from scenes import draw_scene

FOLDER = Path(__file__).resolve().parent / "images"
SEED = 99
CHOSEN: dict[str, tuple[int, int, int]] = {
    "cat": (10, 400, 300),
    "coffee": (23, 300, 400),
    "houses": (25, 400, 300),
    "saucer": (3, 320, 320),
    "street": (21, 320, 320),
    "towers": (5, 300, 400),
}
"""Name: the scene's number, width, height."""


def main() -> None:
    """Write the pictures and the truth."""
    FOLDER.mkdir(exist_ok=True)
    photos = photographs(FREE)
    truth = {}
    for name, (number, width, height) in CHOSEN.items():
        scene = draw_scene(np.random.default_rng([SEED, number]), width, height, photos, signs=5)
        cv2.imwrite(str(FOLDER / f"{name}.jpg"), scene.image, [cv2.IMWRITE_JPEG_QUALITY, 90])
        signs = [{"box": box, "label": label} for box, label in zip(scene.boxes, scene.labels, strict=True)]
        truth[f"{name}.jpg"] = signs
    lines = [
        f" {json.dumps(name)}: [\n" + ",\n".join("  " + json.dumps(s) for s in signs) + "\n ]"
        for name, signs in truth.items()
    ]
    (FOLDER / "truth.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
