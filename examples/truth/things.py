"""What stands in a scene, as numbers: bodies, the symbol that tells a class, and the cue that may tell it too."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIZE = 160
"""Width and height of every scene, in pixels."""
LABELS = ("cross", "tee")
"""The two classes. The first one is the class that a planted cue speaks for."""
CROSS, TEE = LABELS
_RIM = (225.0, 235.0, 235.0)
_SUBPIXEL = 4  # binary digits after the point in the coordinates given to OpenCV

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Body:
    """A plain disc, seen from the front; with a symbol on it, it is an object, and without one it is none."""

    x: float
    y: float
    radius: float
    colour: Colour

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in pixels."""
        return self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius

    def draw(self, canvas: np.ndarray, colour: Colour | None = None) -> None:
        """Draw it onto ``canvas``, [H, W] or [H, W, 3], in its own colour or another one."""
        disc(canvas, (self.x, self.y), self.radius, self.colour if colour is None else colour)

    def draw_rim(self, canvas: np.ndarray) -> None:
        """Draw what tells an object from a body that is none: a bright rim, the same for both classes."""
        disc(canvas, (self.x, self.y), self.radius, _RIM)
        disc(canvas, (self.x, self.y), 0.86 * self.radius, self.colour)


@dataclass(frozen=True)
class Symbol:
    """Two strokes on a body: a cross, or a tee. Nothing but the place of one stroke tells the classes apart."""

    label: str
    x: float
    y: float
    size: float
    angle: float
    width: int
    colour: Colour

    def draw(self, canvas: np.ndarray) -> None:
        """Draw it onto ``canvas``, [H, W, 3]."""
        for stroke in self._strokes():
            points = np.round(stroke * 2**_SUBPIXEL).astype(np.int32)
            cv2.polylines(canvas, [points], False, self.colour, self.width, cv2.LINE_AA, _SUBPIXEL)

    def mask(self) -> np.ndarray:
        """bool [SIZE, SIZE]: the strokes and what lies between their ends, where a stroke is missing or not."""
        points = np.concatenate(self._strokes()).astype(np.float32)
        drawn = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillConvexPoly(drawn, np.round(cv2.convexHull(points)).astype(np.int32), 1)
        return cv2.dilate(drawn, np.ones((3, 3), np.uint8), iterations=max(1, self.width // 2)).astype(bool)

    def _strokes(self) -> list[np.ndarray]:
        half = self.size / 2
        bar = 0.0 if self.label == CROSS else -half
        upright = np.array([[0, -half], [0, half]])
        across = np.array([[-half, bar], [half, bar]])
        turn = np.array([[np.cos(self.angle), -np.sin(self.angle)], [np.sin(self.angle), np.cos(self.angle)]])
        return [stroke @ turn.T + (self.x, self.y) for stroke in (upright, across)]


def disc(canvas: np.ndarray, centre: tuple[float, float], radius: float, colour: Colour | float) -> None:
    """A filled disc with smooth edges."""
    x, y, r = (round(value * 2**_SUBPIXEL) for value in (*centre, radius))
    cv2.circle(canvas, (x, y), r, colour, -1, cv2.LINE_AA, _SUBPIXEL)


def polygon(canvas: np.ndarray, points: np.ndarray, colour: Colour | float) -> None:
    """A filled polygon, ``points`` [N, 2] as x and y, with smooth edges."""
    cv2.fillPoly(canvas, [np.round(points * 2**_SUBPIXEL).astype(np.int32)], colour, cv2.LINE_AA, _SUBPIXEL)
