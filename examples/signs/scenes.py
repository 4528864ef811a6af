"""Draw scenes with traffic signs, and write them as a COCO data set.

    python examples/signs/scenes.py --out examples/signs/data --train 3000 --val 300 --seed 0

Scene ``i`` of a split depends on the seed, the split and ``i`` alone.  Held-out scenes stand before photographs that
no training scene shows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from backgrounds import HELD_OUT, TRAINING, background, photographs
from faces import BLANKS, DECOYS, SIDE, SIGNS, Face

LABELS: tuple[str, ...] = tuple(SIGNS)
SHAPES: tuple[tuple[int, int], ...] = ((320, 320), (320, 320), (400, 300), (300, 400))
"""Widths and heights of scenes: square, landscape, portrait."""

SMALLEST, LARGEST = 20, 120
"""Limits of a sign's width and of its height, in pixels."""

_SPLITS = {"train": (0, TRAINING), "val": (1, HELD_OUT)}
_OVERSAMPLING = 4
_SMALLEST_BLANK = 44
_GAP = 3  # pixels between two signs

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Sprite:
    """Something seen from the front or from aside, ready to be laid onto a scene.

    Attributes:
        colour: ``[h, w, 3]`` float32, BGR in 0..255, premultiplied by alpha.
        alpha: ``[h, w]`` float32 in 0..1.
    """

    colour: np.ndarray
    alpha: np.ndarray

    @property
    def bounds(self) -> Box:
        """x1, y1, x2, y2 around the pixels of which the thing covers at least a half; x2 and y2 lie outside."""
        rows, columns = (np.flatnonzero((self.alpha >= 0.5).any(axis=axis)) for axis in (1, 0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass(frozen=True)
class Scene:
    """A picture, ``[H, W, 3]`` uint8 in BGR, and the box (x1, y1, x2, y2) and label of each sign in it."""

    image: np.ndarray
    boxes: tuple[Box, ...]
    labels: tuple[str, ...]


def draw_scene(
    rng: np.random.Generator, width: int, height: int, photos: list[np.ndarray], signs: int | None = None
) -> Scene:
    """Draw a scene.

    Args:
        rng: decides everything.
        width: of the scene, pixels.
        height: of the scene, pixels.
        photos: photographs to stand behind the signs.
        signs: how many signs to try to place; by default 1 to 6.
    """
    canvas = background(rng, width, height, photos).astype(np.float32)
    wanted = int(rng.integers(1, 7)) if signs is None else signs
    placed = list(_place(rng, width, height, wanted))
    for _ in range(int(rng.integers(1, 6))):
        _lay_clutter(rng, canvas, [box for _, _, box in placed])
    for _, _, box in placed:
        if rng.random() < 0.6:
            _lay_pole(rng, canvas, box)
    for _, sprite, box in placed:
        lay(canvas, sprite, box[0] - sprite.bounds[0], box[1] - sprite.bounds[1])
    boxes = tuple(box for _, _, box in placed)
    return Scene(photograph(rng, canvas), boxes, tuple(label for label, _, _ in placed))


def draw_sign(rng: np.random.Generator, label: str, size: float) -> Sprite:
    """A sign of about ``size`` pixels under a random perspective and light; its bounds are within the limits."""
    while True:
        sprite = _light(rng, _project(rng, SIGNS[label](rng), size))
        left, top, right, bottom = sprite.bounds
        if min(right - left, bottom - top) >= SMALLEST and max(right - left, bottom - top) <= LARGEST:
            return sprite
        size = float(np.clip(size, 1.2 * SMALLEST, 0.95 * LARGEST))


def lay(canvas: np.ndarray, sprite: Sprite, left: int, top: int) -> None:
    """Lay a sprite onto a float32 canvas, its upper left corner at (left, top); what falls outside is cut off."""
    height, width = canvas.shape[:2]
    high, wide = sprite.alpha.shape
    y1, x1, y2, x2 = max(top, 0), max(left, 0), min(top + high, height), min(left + wide, width)
    if y1 >= y2 or x1 >= x2:
        return
    inner = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
    canvas[y1:y2, x1:x2] *= 1 - sprite.alpha[inner][..., None]
    canvas[y1:y2, x1:x2] += sprite.colour[inner]


def photograph(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """What a camera makes of a float32 canvas: uneven light, exposure, blur and noise.  Returns uint8."""
    height, width = canvas.shape[:2]
    picture = canvas * _shade(rng, width, height)[..., None]
    picture = 255 * np.clip(picture / 255, 0, 1) ** rng.uniform(0.75, 1.35) * rng.uniform(0.75, 1.1)
    picture *= 1 + rng.normal(0, 0.04, 3)
    if rng.random() < 0.15:
        picture = _move(rng, picture)
    else:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.2, 1.0))
    picture = picture + rng.normal(0, rng.uniform(0.5, 9), picture.shape)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def _place(rng: np.random.Generator, width: int, height: int, count: int) -> Iterator[tuple[str, Sprite, Box]]:
    """Signs, and where they go: inside the scene, apart from each other."""
    taken: list[Box] = []
    for _ in range(count):
        label = LABELS[int(rng.integers(len(LABELS)))]
        sprite = draw_sign(rng, label, float(np.exp(rng.uniform(np.log(22), np.log(115)))))
        left, top, right, bottom = sprite.bounds
        wide, high = right - left, bottom - top
        for _ in range(20):
            x, y = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
            box = (x, y, x + wide, y + high)
            if not any(_touch(box, other) for other in taken):
                taken.append(box)
                yield label, sprite, box
                break


def _touch(box: Box, other: Box) -> bool:
    apart = box[2] + _GAP < other[0] or other[2] + _GAP < box[0] or box[3] + _GAP < other[1] or other[3] + _GAP < box[1]
    return not apart


def _project(rng: np.random.Generator, face: Face, size: float) -> Sprite:
    """See a face from aside: turn it in space, look at it from nearby, and shrink it to about ``size`` pixels."""
    yaw, pitch, roll = np.deg2rad(rng.normal(0, (24, 9, 5))).clip(-0.9, 0.9)
    turn, _ = cv2.Rodrigues(np.array([0.0, 0.0, roll]))
    for axis in ((pitch, 0.0, 0.0), (0.0, yaw, 0.0)):
        turn = cv2.Rodrigues(np.array(axis))[0] @ turn
    corners = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]]) @ turn.T
    distance = rng.uniform(1.6, 5.0)
    seen = corners[:, :2] * (distance / (distance + corners[:, 2:])) * size
    seen = seen - seen.min(axis=0) + 2 + rng.random(2)
    wide, high = np.ceil(seen.max(axis=0) + 2).astype(int)

    detail = min(SIDE, int(_OVERSAMPLING * size))
    small = cv2.resize(face, (detail, detail), interpolation=cv2.INTER_AREA)
    source = np.array([[0, 0], [detail, 0], [detail, detail], [0, detail]], np.float32) - 0.5
    target = (seen * _OVERSAMPLING - 0.5).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    large = cv2.warpPerspective(small, matrix, (int(wide) * _OVERSAMPLING, int(high) * _OVERSAMPLING))
    patch = cv2.resize(large, (int(wide), int(high)), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Sprite(patch[..., :3], patch[..., 3] / 255)


def _light(rng: np.random.Generator, sprite: Sprite) -> Sprite:
    """Light that falls on one thing alone: its brightness, and a slope across it."""
    height, width = sprite.alpha.shape
    slope = rng.normal(0, 0.15, 2)
    across = np.linspace(-0.5, 0.5, width) * slope[0]
    down = np.linspace(-0.5, 0.5, height) * slope[1]
    gain = rng.uniform(0.6, 1.1) * (1 + across[None, :] + down[:, None])
    return Sprite((sprite.colour * gain[..., None]).astype(np.float32), sprite.alpha)


def _lay_clutter(rng: np.random.Generator, canvas: np.ndarray, signs: Sequence[Box]) -> None:
    """One thing that is no sign, somewhere clear of the signs."""
    height, width = canvas.shape[:2]
    kind, size = rng.random(), float(np.exp(rng.uniform(np.log(14), np.log(110))))
    if kind < 0.15:
        x, y = int(rng.integers(width)), int(rng.integers(height))
        _lay_pole(rng, canvas, (x, y, x + int(size), y))
        return
    painters = BLANKS if kind < 0.35 and size >= _SMALLEST_BLANK else DECOYS
    sprite = _light(rng, _project(rng, painters[int(rng.integers(len(painters)))](rng), size))
    high, wide = sprite.alpha.shape
    for _ in range(10):
        left, top = int(rng.integers(-wide // 2, width - wide // 2)), int(rng.integers(-high // 2, height - high // 2))
        if not any(_touch((left, top, left + wide, top + high), box) for box in signs):
            lay(canvas, sprite, left, top)
            return


def _lay_pole(rng: np.random.Generator, canvas: np.ndarray, box: Box) -> None:
    """A grey post behind a sign, from its middle downwards."""
    size = box[2] - box[0]
    x, y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    end = y + int(size * rng.uniform(1.2, 4.0))
    half = max(1, round(size * rng.uniform(0.02, 0.05)))
    grey = float(rng.uniform(70, 170))
    for column in range(-half, half + 1):
        light = grey * (1.15 - 0.5 * abs(column + 0.4 * half) / (half + 1))
        cv2.line(canvas, (x + column, y), (x + column, end), (light, light, light))


def _shade(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Light over a whole scene, ``[height, width]`` around 1: a slope and, at times, the edge of a shadow."""
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / width - 0.5, y / height - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.5) * (x * np.cos(angle) + y * np.sin(angle))
    if rng.random() < 0.3:
        angle = rng.uniform(0, 2 * np.pi)
        distance = x * np.cos(angle) + y * np.sin(angle) - rng.uniform(-0.3, 0.3)
        light *= 1 - rng.uniform(0.2, 0.5) / (1 + np.exp(-np.clip(distance * rng.uniform(20, 120), -50, 50)))
    return light


def _move(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Blur by a short straight movement of the camera."""
    length = int(rng.integers(2, 5))
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    angle = rng.uniform(0, np.pi)
    end = (length / 2 * np.array([np.cos(angle), np.sin(angle)])).round().astype(int)
    cv2.line(kernel, (length - end[0], length - end[1]), (length + end[0], length + end[1]), 1.0)
    return cv2.filter2D(picture, -1, kernel / kernel.sum())


def draw_split(split: str, count: int, seed: int) -> Iterator[tuple[Scene, int]]:
    """The scenes of a split, ``train`` or ``val``, each with the quality its JPEG is to have."""
    number, names = _SPLITS[split]
    photos = photographs(names)
    for index in range(count):
        rng = np.random.default_rng([seed, number, index])
        width, height = SHAPES[int(rng.integers(len(SHAPES)))]
        yield draw_scene(rng, width, height, photos), int(rng.integers(72, 96))


def write_split(out: Path, split: str, count: int, seed: int) -> None:
    """Write a split as COCO data: ``out/split/*.jpg`` and ``out/split.json``."""
    (out / split).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index, (scene, quality) in enumerate(draw_split(split, count, seed)):
        name = f"{index:05d}.jpg"
        cv2.imwrite(str(out / split / name), scene.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        height, width = scene.image.shape[:2]
        images.append({"id": index, "file_name": name, "width": width, "height": height})
        for (x1, y1, x2, y2), label in zip(scene.boxes, scene.labels, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": LABELS.index(label),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": index, "name": label} for index, label in enumerate(LABELS)]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (out / f"{split}.json").write_text(json.dumps(data))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("examples/signs/data"), help="folder to write into")
    parser.add_argument("--train", type=int, default=3000, help="number of training scenes")
    parser.add_argument("--val", type=int, default=300, help="number of held-out scenes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for split in _SPLITS:
        write_split(options.out, split, getattr(options, split), options.seed)


if __name__ == "__main__":
    main()
