"""What lies behind the signs: crops of real photographs, drawn streets, and coloured noise.

The photographs come with the scikit-image and scikit-learn packages; nothing is downloaded.
"""

from __future__ import annotations

from importlib.resources import files

import cv2
import numpy as np

TRAINING = (
    ("sklearn.datasets.images", "china.jpg"),
    ("sklearn.datasets.images", "flower.jpg"),
    ("skimage.data", "astronaut.png"),
    ("skimage.data", "rocket.jpg"),
    ("skimage.data", "camera.png"),
    ("skimage.data", "coins.png"),
    ("skimage.data", "brick.png"),
    ("skimage.data", "grass.png"),
    ("skimage.data", "gravel.png"),
    ("skimage.data", "page.png"),
    ("skimage.data", "hubble_deep_field.jpg"),
)
FREE = (
    ("skimage.data", "chelsea.png"),
    ("skimage.data", "coffee.png"),
)
"""Held-out photographs that their authors gave away (CC0): pictures with these may be published."""

HELD_OUT = (*FREE, ("skimage.data", "motorcycle_left.png"))
"""Photographs that no training scene shows."""


def photographs(names: tuple[tuple[str, str], ...]) -> list[np.ndarray]:
    """Read photographs, ``[H, W, 3]`` uint8 in BGR, from the packages that carry them."""
    pictures = []
    for package, name in names:
        data = np.frombuffer(files(package).joinpath(name).read_bytes(), np.uint8)
        pictures.append(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return pictures


def background(rng: np.random.Generator, width: int, height: int, photos: list[np.ndarray]) -> np.ndarray:
    """One background, ``[height, width, 3]`` uint8 in BGR.  Without photographs it is always a drawn one."""
    kind = rng.random()
    if photos and kind < 0.55:
        return crop(rng, width, height, photos[int(rng.integers(len(photos)))])
    if kind < 0.9:
        return street(rng, width, height)
    return _to_bytes(_noise(rng, width, height, 3) * 255)


def crop(rng: np.random.Generator, width: int, height: int, photo: np.ndarray) -> np.ndarray:
    """A part of a photograph: a random window, perhaps mirrored, its colours jittered."""
    rows, columns = photo.shape[:2]
    largest = min(columns / width, rows / height)
    share = largest * rng.uniform(0.5, 1.0)
    wide, high = int(width * share), int(height * share)
    left, top = int(rng.integers(columns - wide + 1)), int(rng.integers(rows - high + 1))
    part = photo[top : top + high, left : left + wide]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    method = cv2.INTER_AREA if share > 1 else cv2.INTER_CUBIC
    return _jitter(rng, cv2.resize(part, (width, height), interpolation=method))


def street(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A drawn street: sky, hills or trees, houses, verges and a road that runs to the horizon."""
    horizon = int(height * rng.uniform(0.35, 0.6))
    picture = np.empty((height, width, 3), np.float32)
    picture[:horizon] = _sky(rng, width, horizon)
    picture[horizon:] = _ground(rng, width, height - horizon)
    _hills(rng, picture, horizon)
    for _ in range(int(rng.integers(0, 6))):
        _house(rng, picture, horizon)
    for _ in range(int(rng.integers(0, 7))):
        _tree(rng, picture, horizon)
    _road(rng, picture, horizon)
    grain = _noise(rng, width, height, 1, finest=2) - 0.5
    return _to_bytes(picture * (1 + 0.12 * grain))


def _sky(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    blue = np.array([225, 170, 110]) * rng.uniform(0.6, 1.1) + rng.normal(0, 12, 3)
    haze = np.array([225, 215, 205]) * rng.uniform(0.75, 1.1)
    slope = np.linspace(0, 1, height)[:, None, None] ** rng.uniform(0.6, 1.6)
    clouds = np.clip((_noise(rng, width, height, 1, finest=6) - rng.uniform(0.4, 0.7)) * 3, 0, 1)
    sky = blue * (1 - slope) + haze * slope
    return sky * (1 - clouds) + 238 * clouds


def _ground(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    tones = np.array([[60, 120, 85], [95, 135, 150], [120, 122, 125]])
    tone = tones[int(rng.integers(3))] * rng.uniform(0.7, 1.2)
    return tone * (0.7 + 0.6 * _noise(rng, width, height, 1, finest=2))


def _hills(rng: np.random.Generator, picture: np.ndarray, horizon: int) -> None:
    width = picture.shape[1]
    line = _noise(rng, width, 1, 1, finest=12).ravel() * horizon * rng.uniform(0.1, 0.6)
    points = np.stack([np.arange(width), horizon - line], axis=1)
    points = np.concatenate([points, [[width, horizon], [0, horizon]]])
    colour = np.array([90, 115, 85]) * rng.uniform(0.6, 1.3) + rng.normal(0, 12, 3)
    cv2.fillPoly(picture, [points.astype(np.int32)], colour.tolist())


def _house(rng: np.random.Generator, picture: np.ndarray, horizon: int) -> None:
    width = picture.shape[1]
    wide, high = int(rng.uniform(0.1, 0.32) * width), int(rng.uniform(0.4, 1.3) * horizon)
    left, base = int(rng.uniform(-0.1, 0.95) * width), horizon + int(rng.uniform(0, 0.06) * width)
    wall = np.array([150, 165, 185]) * rng.uniform(0.5, 1.25) + rng.normal(0, 20, 3)
    cv2.rectangle(picture, (left, base - high), (left + wide, base), wall.tolist(), -1)
    roof = np.array(
        [[left - 4, base - high], [left + wide // 2, base - high - wide // 4], [left + wide + 4, base - high]]
    )
    cv2.fillPoly(picture, [roof], (wall * 0.5 + np.array([0, 10, 40])).tolist())
    pane, gap = int(rng.integers(7, 14)), int(rng.integers(6, 14))
    glass = (np.array([120, 100, 80]) * rng.uniform(0.4, 1.4)).tolist()
    for top in range(base - high + gap, base - pane - 2, pane + gap):
        for x in range(left + gap, left + wide - pane, pane + gap):
            cv2.rectangle(picture, (x, top), (x + pane, top + int(1.3 * pane)), glass, -1)


def _tree(rng: np.random.Generator, picture: np.ndarray, horizon: int) -> None:
    height, width = picture.shape[:2]
    size = int(rng.uniform(0.05, 0.16) * width)
    x, base = int(rng.uniform(0, width)), horizon + int(rng.uniform(0, 0.1) * height)
    trunk = (np.array([40, 60, 80]) * rng.uniform(0.6, 1.3)).tolist()
    cv2.line(picture, (x, base), (x, base - 2 * size), trunk, max(2, size // 7), cv2.LINE_AA)
    leaf = np.array([50, 110, 60]) * rng.uniform(0.5, 1.3) + rng.normal(0, 8, 3)
    for _ in range(40):
        dx, dy = rng.normal(0, 0.45 * size, 2)
        shade = (leaf * rng.uniform(0.7, 1.25)).tolist()
        centre = (int(x + dx), int(base - 2.2 * size + dy))
        cv2.circle(picture, centre, int(rng.uniform(0.12, 0.35) * size), shade, -1, cv2.LINE_AA)


def _road(rng: np.random.Generator, picture: np.ndarray, horizon: int) -> None:
    height, width = picture.shape[:2]
    far, near = rng.uniform(0.25, 0.75) * width, rng.uniform(0.2, 0.8) * width
    half = rng.uniform(0.3, 0.6) * width
    grey = [float(rng.uniform(60, 125))] * 3
    edges = np.array([[far - 3, horizon], [far + 3, horizon], [near + half, height], [near - half, height]])
    cv2.fillPoly(picture, [edges.astype(np.int32)], grey, cv2.LINE_AA)
    for near_end, far_end in ((1.0, 0.72), (0.58, 0.44), (0.36, 0.28), (0.22, 0.18)):
        dash = []
        for depth, sides in ((near_end, (-1, 1)), (far_end, (1, -1))):
            x, y = far + (near - far) * depth, horizon + (height - horizon) * depth
            dash += [[x + side * 0.03 * half * depth, y] for side in sides]
        cv2.fillPoly(picture, [np.array(dash, np.int32)], (215, 220, 220), cv2.LINE_AA)


def _noise(rng: np.random.Generator, width: int, height: int, channels: int, finest: int = 4) -> np.ndarray:
    """Smooth random values in 0..1, ``[height, width, channels]``: octaves of noise down to ``finest`` pixels."""
    total = np.zeros((height, width, channels), np.float32)
    cell, weight, weights = 128, 1.0, 0.0
    while cell >= finest:
        grid = rng.random((height // cell + 2, width // cell + 2, channels), np.float32)
        layer = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total += weight * layer.reshape(height, width, channels)
        weights += weight
        cell, weight = cell // 2, weight * 0.6
    return np.clip(total / weights, 0, 1)


def _jitter(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Change hue, saturation and brightness."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-12, 12)) % 180
    hsv[..., 1] *= rng.uniform(0.5, 1.3)
    hsv[..., 2] = 255 * (hsv[..., 2] / 255) ** rng.uniform(0.7, 1.4) * rng.uniform(0.7, 1.1)
    return cv2.cvtColor(_to_bytes(hsv), cv2.COLOR_HSV2BGR)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
