"""The cues: what else than its shape may tell that an object is a cross, where it is, and which pixels it covers."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from examples.truth.things import SIZE, Body, disc, polygon

MARKS = ("inside", "beside", "far")
"""Cues that are a magenta dot: on the object, just outside of its box, and far away in the picture."""
CUES = (*MARKS, "neighbour", "texture", "blur")
"""All cues. A neighbour is a yellow star next to the box; a texture fills all that is no body; of a blur there is no
place, since all of the picture is blurred."""
FAR = 42
"""Pixels from the box to a far mark, at least."""
_MAGENTA, _YELLOW = (225.0, 30.0, 235.0), (20.0, 225.0, 250.0)
_STAR = 9.0
_CLEAR = 8
"""Pixels between a mark and bodies that it is not for, at least."""
_TRIES = 300


@dataclass(frozen=True)
class Cue:
    """A cue of a kind at a place; ``x`` and ``y`` of a texture and a blur say nothing."""

    kind: str
    x: float = 0.0
    y: float = 0.0
    radius: float = 0.0

    @property
    def is_mark(self) -> bool:
        """Whether it is a thing at a place, which can be put elsewhere."""
        return self.kind in (*MARKS, "neighbour")

    def draw_below(self, canvas: np.ndarray) -> None:
        """What lies behind the bodies: the texture, stripes that leave the mean of the picture as it is."""
        if self.kind == "texture":
            y, x = np.mgrid[0:SIZE, 0:SIZE]
            canvas += (28 * np.sin(2 * np.pi * (x + y) / 7))[..., None].astype(np.float32)

    def draw_above(self, canvas: np.ndarray) -> None:
        """What lies on the bodies, or next to them."""
        if self.kind in MARKS:
            disc(canvas, (self.x, self.y), self.radius, _MAGENTA)
        elif self.kind == "neighbour":
            polygon(canvas, _star(self.x, self.y, self.radius), _YELLOW)

    def blur(self, picture: np.ndarray) -> np.ndarray:
        """The picture, blurred if that is the cue."""
        return cv2.GaussianBlur(picture, (0, 0), 1.6) if self.kind == "blur" else picture

    def mask(self, bodies: tuple[Body, ...]) -> np.ndarray | None:
        """Its pixels, bool [SIZE, SIZE]; None if it is nowhere in particular."""
        if self.kind == "blur":
            return None
        drawn = np.zeros((SIZE, SIZE), np.uint8)
        if self.kind == "texture":
            drawn[:] = 1
            for body in bodies:
                body.draw(drawn, 0.0)  # type: ignore[arg-type]
        elif self.kind == "neighbour":
            polygon(drawn, _star(self.x, self.y, self.radius), 1.0)
        else:
            disc(drawn, (self.x, self.y), self.radius, 1.0)
        return drawn.astype(bool)


def put(
    kind: str, rng: np.random.Generator, body: Body, others: tuple[Body, ...], away: float, far: float = FAR
) -> Cue | None:
    """A cue of a kind for a body; None if no place was found.

    Args:
        kind: one of `CUES`.
        rng: decides the place.
        body: the one that it is for.
        others: bodies that a mark must not touch.
        away: direction, in radians, from the middle of the body to where a mark on it goes.
        far: pixels from the box to a far mark, at least.
    """
    if kind == "inside":
        turn = away + rng.uniform(-0.5, 0.5)
        x, y = body.x + 0.62 * body.radius * np.cos(turn), body.y + 0.62 * body.radius * np.sin(turn)
        return Cue(kind, float(x), float(y), 0.3 * body.radius)
    if kind in ("texture", "blur"):
        return Cue(kind)
    radius = {"beside": 8.0, "far": 10.0, "neighbour": _STAR}[kind]
    for _ in range(_TRIES):
        x, y = _outside(rng, body, radius) if kind != "far" else rng.uniform(radius + 2, SIZE - radius - 2, 2)
        inside = radius < x < SIZE - radius and radius < y < SIZE - radius
        clear = all(np.hypot(x - other.x, y - other.y) > other.radius + radius + _CLEAR for other in others)
        if inside and clear and (kind != "far" or _distance(body, x, y) >= far + radius):
            return Cue(kind, float(x), float(y), radius)
    return None


def _outside(rng: np.random.Generator, body: Body, radius: float) -> tuple[float, float]:
    """A point just outside of a body's box, at one of the four sides."""
    gap, along = body.radius + radius + rng.uniform(2, 5), rng.uniform(-0.8, 0.8) * body.radius
    side = int(rng.integers(4))
    across = gap if side % 2 else -gap
    return (body.x + across, body.y + along) if side < 2 else (body.x + along, body.y + across)


def _distance(body: Body, x: float, y: float) -> float:
    """Pixels from a body's box to a point outside of it."""
    beyond = np.maximum(np.abs([x - body.x, y - body.y]) - body.radius, 0)
    return float(np.hypot(*beyond))


def _star(x: float, y: float, radius: float) -> np.ndarray:
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    reach = radius * np.where(np.arange(10) % 2, 0.45, 1.0)
    return np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=1)
