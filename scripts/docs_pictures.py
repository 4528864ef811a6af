"""The pictures of docs/choosing.md and the one of README.md, made by boxcam from the demo detector.

    boxcam export examples/signs/config.py examples/signs/signs.pth -o demo/pictures.boxcam \\
        --layer neck --layer backbone --layer image --target all --sample examples/signs/images/cat.jpg
    python scripts/docs_pictures.py demo/pictures.boxcam

Each is a strip of panels that differ in one choice: the method, the layer, or what of the box is explained.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import boxcam
from boxcam.types import Image

PICTURES = Path("docs/pictures")
SHEET = Path("docs/overlay.jpg")
PHOTO = Path("examples/signs/images/street.jpg")
SIZE, GAP, CAPTION, QUALITY = 230, 10, 46, 88
INK, MUTED = (33, 30, 28), (110, 100, 95)


@dataclass(frozen=True)
class Choice:
    """A panel: what to ask boxcam for, of the box at a rank (the best is 1), and two lines to write below it."""

    title: str
    subtitle: str
    rank: int
    method: str = "hirescam"
    layer: str = "neck"
    target: str = "logit"


STRIPS: dict[str, tuple[Choice, ...]] = {
    "methods": (
        Choice("gradcam", "layer neck", 3, "gradcam"),
        Choice("hirescam", "layer neck", 3, "hirescam"),
        Choice("saliency", "layer image", 3, "saliency", "image"),
        Choice("guided-backprop", "layer image", 3, "guided-backprop", "image"),
        Choice("guided-gradcam", "layer neck", 3, "guided-gradcam", "neck"),
    ),
    "layers": (
        Choice("neck", "hirescam: cells of 8 to 32 pixels", 3, layer="neck"),
        Choice("backbone", "hirescam: cells of 32 pixels", 3, layer="backbone"),
        Choice("image", "saliency: single pixels", 3, "saliency", "image"),
    ),
    "targets": (
        Choice("logit", "why this class?", 4),
        Choice("x1", "moves the left side", 4, target="x1"),
        Choice("y1", "moves the top", 4, target="y1"),
        Choice("x2", "moves the right side", 4, target="x2"),
        Choice("y2", "moves the bottom", 4, target="y2"),
    ),
}


def panel(model: boxcam.Model, choice: Choice) -> Image:
    """The picture with one box and its heatmap: uint8 [SIZE + CAPTION, SIZE, 3], BGR."""
    (box,) = model.explain(PHOTO, method=choice.method, layer=choice.layer, target=choice.target, rank=choice.rank)
    page = np.full((SIZE + CAPTION, SIZE, 3), 255, np.uint8)
    page[:SIZE] = cv2.resize(box.overlay(), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    cv2.putText(page, choice.title, (0, SIZE + 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    cv2.putText(page, choice.subtitle, (0, SIZE + 38), cv2.FONT_HERSHEY_SIMPLEX, 0.4, MUTED, 1, cv2.LINE_AA)
    return page


def strip(panels: list[Image]) -> Image:
    """The panels in a row, with white between them."""
    gap = np.full((SIZE + CAPTION, GAP, 3), 255, np.uint8)
    row = [part for one in panels for part in (one, gap)][:-1]
    return np.concatenate(row, axis=1)


def first_sheet() -> Image:
    """The sheet that `boxcam demo` writes of the photo: uint8 [H, W, 3], BGR."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "boxcam", "demo", "-q", "-o", folder], check=True)
        return np.asarray(cv2.imread(str(Path(folder) / PHOTO.with_suffix(".png").name)), np.uint8)


def main(bundle: str) -> None:
    """Write the strips and the sheet as JPEGs."""
    cv2.imwrite(str(SHEET), first_sheet(), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    model = boxcam.load(bundle)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, choices in STRIPS.items():
        picture = strip([panel(model, choice) for choice in choices])
        cv2.imwrite(str(PICTURES / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == "__main__":
    main(*sys.argv[1:])
