"""The front faces of the signs, and of things that look a little like them.

A face is a ``[SIDE, SIDE, 4]`` uint8 picture in BGRA whose colours are premultiplied by alpha: OpenCV's anti-aliased
drawing onto transparent black gives exactly that.  Every face is drawn large; `scenes` shrinks it into the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

SIDE = 512
_MIDDLE = SIDE // 2
_SUBPIXEL = 4  # binary digits after the point in the coordinates given to OpenCV

Colour = tuple[int, int, int]
Face = np.ndarray
Painter = Callable[[np.random.Generator], Face]

WHITE: Colour = (240, 242, 240)
BLACK: Colour = (28, 26, 26)
RED: Colour = (40, 28, 196)
BLUE: Colour = (172, 84, 18)
YELLOW: Colour = (30, 190, 245)


def stop(rng: np.random.Generator, word: bool = True) -> Face:
    """A red octagon with a white border and the word STOP."""
    red, white = _tint(rng, RED), _tint(rng, WHITE)
    face = _blank()
    _polygon(face, _regular(8, 272, 22.5), white)
    _polygon(face, _regular(8, 246, 22.5), red)
    if word:
        _text(face, "STOP", width=400, height=170, stroke=30, colour=white)
    return face


def give_way(rng: np.random.Generator) -> Face:
    """A white triangle that points down, with a broad red border."""
    red, white = _tint(rng, RED), _tint(rng, WHITE)
    face = _blank()
    corners = np.array([[40, 60], [472, 60], [256, 440]])
    _polygon(face, corners, white, rounding=60)
    _polygon(face, corners, red, rounding=44)
    _polygon(face, _scaled(corners, 0.56), white, rounding=16)
    return face


def speed_limit(rng: np.random.Generator, number: bool = True) -> Face:
    """A white disc with a red border and a number."""
    red, white, black = _tint(rng, RED), _tint(rng, WHITE), _tint(rng, BLACK)
    face = _blank()
    _disc(face, 252, white)
    _disc(face, 242, red)
    _disc(face, 186, white)
    if number:
        digits = str(rng.choice([20, 30, 40, 50, 60, 70, 80, 100, 120]))
        _text(face, digits, width=245 if len(digits) == 2 else 290, height=185, stroke=34, colour=black)
    return face


def no_entry(rng: np.random.Generator, bar: bool = True) -> Face:
    """A red disc with a white bar."""
    red, white = _tint(rng, RED), _tint(rng, WHITE)
    face = _blank()
    _disc(face, 252, white)
    _disc(face, 240, red)
    if bar:
        _polygon(face, _rectangle(340, 84), white, rounding=6)
    return face


def crossing(rng: np.random.Generator, walker: bool = True) -> Face:
    """A blue square with a white triangle in which a pedestrian crosses the road."""
    blue, white, black = _tint(rng, BLUE), _tint(rng, WHITE), _tint(rng, BLACK)
    face = _blank()
    _polygon(face, _rectangle(468, 468), white, rounding=40)
    _polygon(face, _rectangle(444, 444), blue, rounding=36)
    _polygon(face, np.array([[256, 62], [458, 436], [54, 436]]), white, rounding=10)
    if walker:
        _walker(face, black)
        if rng.random() < 0.5:
            face = np.ascontiguousarray(face[:, ::-1])
    return face


def _walker(face: Face, colour: Colour) -> None:
    _disc(face, 25, colour, centre=(262, 152))
    _stroke(face, [(260, 196), (254, 286)], 44, colour)
    _stroke(face, [(262, 196), (304, 234), (334, 262)], 18, colour)
    _stroke(face, [(250, 200), (212, 240), (206, 282)], 18, colour)
    _stroke(face, [(260, 290), (296, 338), (314, 396)], 26, colour)
    _stroke(face, [(250, 290), (228, 342), (186, 392)], 26, colour)
    for left in range(110, 400, 66):
        _polygon(face, np.array([[left, 410], [left + 34, 410], [left + 26, 430], [left - 8, 430]]), colour)


SIGNS: dict[str, Painter] = {
    "stop": stop,
    "give way": give_way,
    "speed limit": speed_limit,
    "no entry": no_entry,
    "pedestrian crossing": crossing,
}
"""The five kinds of sign, by label; the order is that of the detector's classes."""


def _plain_disc(rng: np.random.Generator) -> Face:
    face = _blank()
    _disc(face, 250, _any_colour(rng))
    if rng.random() < 0.5:
        _disc(face, int(rng.integers(90, 220)), _any_colour(rng))
    return face


def _plain_polygon(rng: np.random.Generator) -> Face:
    face = _blank()
    corners = _regular(int(rng.integers(3, 9)), 235, rng.uniform(0, 360))
    _polygon(face, corners, _any_colour(rng), rounding=int(rng.integers(0, 40)))
    return face


def _panel(rng: np.random.Generator) -> Face:
    face = _blank()
    width, height = rng.integers(140, 460, 2)
    _polygon(face, _rectangle(width, height), _any_colour(rng), rounding=20)
    _polygon(face, _rectangle(width - 20, height - 20), _any_colour(rng), rounding=16)
    if rng.random() < 0.7:
        word = "".join(rng.choice(list("ABCDEHKLMNRSTU0123456789"), int(rng.integers(1, 6))))
        _text(face, word, width=int(0.8 * width), height=int(0.5 * height), stroke=22, colour=_any_colour(rng))
    return face


def _red_triangle(rng: np.random.Generator) -> Face:
    face = _blank()
    _polygon(face, np.array([[40, 60], [472, 60], [256, 440]]), _tint(rng, RED), rounding=60)
    return face


def _warning(rng: np.random.Generator) -> Face:
    face = _blank()
    corners = np.array([[40, 440], [472, 440], [256, 66]])
    _polygon(face, corners, _tint(rng, RED), rounding=60)
    _polygon(face, _scaled(corners, 0.62), _tint(rng, WHITE), rounding=16)
    _stroke(face, [(256, 220), (256, 330)], 36, BLACK)
    _disc(face, 20, BLACK, centre=(256, 390))
    return face


def _parking(rng: np.random.Generator) -> Face:
    face = _blank()
    _polygon(face, _rectangle(468, 468), WHITE, rounding=40)
    _polygon(face, _rectangle(444, 444), _tint(rng, BLUE), rounding=36)
    _text(face, "P", width=190, height=320, stroke=50, colour=_tint(rng, WHITE))
    return face


def _arrow(rng: np.random.Generator) -> Face:
    face, white = _blank(), _tint(rng, WHITE)
    _disc(face, 252, white)
    _disc(face, 240, _tint(rng, BLUE))
    _stroke(face, [(256, 400), (256, 130)], 50, white)
    _stroke(face, [(160, 220), (256, 120), (352, 220)], 50, white)
    return np.ascontiguousarray(np.rot90(face, int(rng.integers(0, 4))))


def _priority(rng: np.random.Generator) -> Face:
    face = _blank()
    _polygon(face, _regular(4, 230, 0), _tint(rng, WHITE), rounding=30)
    _polygon(face, _regular(4, 180, 0), _tint(rng, YELLOW), rounding=16)
    return face


DECOYS: tuple[Painter, ...] = (_plain_disc, _plain_polygon, _panel, _warning, _parking, _arrow, _priority)
"""Things beside the road that are none of the five signs."""

BLANKS: tuple[Painter, ...] = (
    lambda rng: stop(rng, word=False),
    lambda rng: speed_limit(rng, number=False),
    lambda rng: no_entry(rng, bar=False),
    lambda rng: crossing(rng, walker=False),
    _red_triangle,
)
"""The signs without their symbols: not signs either, which a detector can tell only where they are large enough."""


def _blank() -> Face:
    return np.zeros((SIDE, SIDE, 4), np.uint8)


def _tint(rng: np.random.Generator, colour: Colour) -> Colour:
    """The colour, a little faded or darkened and off in hue."""
    value = np.array(colour) * rng.uniform(0.85, 1.05) + rng.normal(0, 5, 3) + rng.uniform(0, 22)
    return _as_colour(value)


def _any_colour(rng: np.random.Generator) -> Colour:
    strong = (RED, BLUE, YELLOW, WHITE, BLACK)
    if rng.random() < 0.5:
        return _tint(rng, strong[int(rng.integers(len(strong)))])
    return _as_colour(rng.uniform(20, 240, 3))


def _as_colour(value: np.ndarray) -> Colour:
    blue, green, red = (int(v) for v in np.clip(value, 0, 255))
    return blue, green, red


def _regular(corners: int, radius: float, turn: float) -> np.ndarray:
    angles = np.deg2rad(turn) + np.arange(corners) * 2 * np.pi / corners
    return _MIDDLE + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _rectangle(width: float, height: float) -> np.ndarray:
    return _MIDDLE + np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2


def _scaled(corners: np.ndarray, factor: float) -> np.ndarray:
    centre = corners.mean(axis=0)
    return centre + factor * (corners - centre)


def _polygon(face: Face, corners: np.ndarray, colour: Colour, rounding: int = 0) -> None:
    """Fill a polygon; ``rounding`` widens it by half as much on every side and rounds its corners."""
    points = [np.round(corners * 2**_SUBPIXEL).astype(np.int32)]
    cv2.fillPoly(face, points, (*colour, 255), cv2.LINE_AA, _SUBPIXEL)
    if rounding > 0:
        cv2.polylines(face, points, True, (*colour, 255), rounding, cv2.LINE_AA, _SUBPIXEL)


def _disc(face: Face, radius: int, colour: Colour, centre: tuple[int, int] = (_MIDDLE, _MIDDLE)) -> None:
    cv2.circle(face, centre, radius, (*colour, 255), -1, cv2.LINE_AA)


def _stroke(face: Face, points: Sequence[tuple[int, int]], width: int, colour: Colour) -> None:
    cv2.polylines(face, [np.array(points, np.int32)], False, (*colour, 255), width, cv2.LINE_AA)


def _text(face: Face, text: str, width: int, height: int, stroke: int, colour: Colour) -> None:
    """Write in round strokes, stretched to ``width`` by ``height`` and centred."""
    mask = np.zeros((360, 260 * len(text) + 100), np.uint8)
    cv2.putText(mask, text, (50, 290), cv2.FONT_HERSHEY_SIMPLEX, 10, 255, stroke, cv2.LINE_AA)
    left, top, wide, high = cv2.boundingRect(mask)
    mask = cv2.resize(mask[top : top + high, left : left + wide], (width, height), interpolation=cv2.INTER_AREA)
    share = mask[..., None].astype(np.float32) / 255
    top, left = _MIDDLE - height // 2, _MIDDLE - width // 2
    area = face[top : top + height, left : left + width]
    area[:] = np.round(area * (1 - share) + np.array([*colour, 255]) * share)
