"""Scenes in which it is known what is where: one object before a real photograph, bodies that are none, and a cue.

A `Scene` says what is drawn, as numbers; `draw` makes a picture of it. What is changed in a scene, such as a cue that
is taken away or put elsewhere, changes nothing else in the picture: background, light and noise have their own seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np

from examples.signs.backgrounds import HELD_OUT, TRAINING, crop, photographs
from examples.truth.cues import CUES, FAR, Cue, put
from examples.truth.things import CROSS, LABELS, SIZE, Body, Symbol

PHOTOGRAPHS = {"training": TRAINING, "held out": HELD_OUT}
_MARKED_DECOYS = 0.3
"""How often a body that is no object has a mark as well: a mark then tells no object from what is none."""
_SCENE, _PICTURE, _ELSEWHERE = 1, 2, 3


@dataclass(frozen=True)
class Scene:
    """What is drawn.

    Attributes:
        seed: of the background, the light and the noise.
        photos: which photographs, a key of `PHOTOGRAPHS`.
        body: the object's.
        symbol: what tells its class.
        decoys: bodies without a rim and a symbol, which are no objects.
        cue: the cue of the object, whether or not it is shown.
        marked: whether it is.
        others: cues of decoys, which are shown.
        worn: whether the symbol cannot be seen.
    """

    seed: tuple[int, ...]
    photos: str
    body: Body
    symbol: Symbol
    decoys: tuple[Body, ...]
    cue: Cue
    marked: bool
    others: tuple[Cue, ...] = ()
    worn: bool = False

    @property
    def cues(self) -> tuple[Cue, ...]:
        """All cues that are shown."""
        return (self.cue, *self.others) if self.marked else self.others

    @property
    def cue_mask(self) -> np.ndarray | None:
        """The pixels of the object's cue, bool [SIZE, SIZE]; None if it is nowhere in particular."""
        return self.cue.mask((self.body, *self.decoys))


def unmarked(scene: Scene) -> Scene:
    """The scene without the object's cue."""
    return replace(scene, marked=False)


def marked(scene: Scene) -> Scene:
    """The scene with the object's cue."""
    return replace(scene, marked=True)


def other_symbol(scene: Scene) -> Scene:
    """The scene with an object of the other class: nothing else tells so but the cue, which stays as it is."""
    other = LABELS[1 - LABELS.index(scene.symbol.label)]
    return replace(scene, symbol=replace(scene.symbol, label=other))


def moved(scene: Scene) -> Scene | None:
    """The scene with the cue on (or next to) a decoy, or, if it is far, at another far place; None if there is none."""
    if not scene.cue.is_mark or not scene.decoys:
        return None
    rng = _stream(scene.seed, _ELSEWHERE)
    body, *rest = (scene.body,) if scene.cue.kind == "far" else scene.decoys
    others = (*rest, *scene.decoys) if scene.cue.kind == "far" else (*rest, scene.body)
    cue = put(scene.cue.kind, rng, body, others, rng.uniform(0, 2 * np.pi))
    return None if cue is None else replace(scene, marked=False, others=(cue,))


def describe(
    seed: tuple[int, ...],
    cue: str,
    *,
    dose: float = 0.5,
    worn: float = 0.0,
    photos: str = "training",
    audit: str | None = None,
    far: float = FAR,
) -> Scene:
    """A scene.

    Args:
        seed: decides everything.
        cue: the kind of cue.
        dose: P(cross | cue shown) = P(tee | no cue shown); both classes and both cases are equally frequent.
        worn: share of the scenes whose symbol cannot be seen.
        photos: a key of `PHOTOGRAPHS`.
        audit: a class, to have an object of it with the cue, and at least one decoy without, whatever the dose.
        far: pixels from the box to a far mark, at least.
    """
    assert cue in CUES
    rng = _stream(seed, _SCENE)
    while True:
        label = LABELS[int(rng.integers(2))]
        shown = bool(rng.random() < (dose if label == CROSS else 1 - dose))
        body = _body(rng, 19, 29)
        decoys = _decoys(rng, body, int(rng.integers(1 if audit else 0, 3)))
        away = rng.uniform(0, 2 * np.pi)
        symbol = _symbol(rng, audit or label, body, away + np.pi)
        found = put(cue, rng, body, decoys, away, far)
        if found is None or (audit and not decoys):
            continue
        others = () if audit else tuple(_marks_of(rng, cue, decoys, body))
        hidden = bool(rng.random() < worn)
        return Scene(seed, photos, body, symbol, decoys, found, shown or audit is not None, others, hidden)


def draw(scene: Scene) -> np.ndarray:
    """The picture, uint8 [SIZE, SIZE, 3] in BGR."""
    rng = _stream(scene.seed, _PICTURE)
    photos = _photographs(scene.photos)
    canvas = crop(rng, SIZE, SIZE, photos[int(rng.integers(len(photos)))]).astype(np.float32)
    canvas = cv2.GaussianBlur(canvas, (0, 0), 0.6)
    for cue in scene.cues:
        cue.draw_below(canvas)
    for body in (scene.body, *scene.decoys):
        body.draw(canvas)
    scene.body.draw_rim(canvas)
    if not scene.worn:
        scene.symbol.draw(canvas)
    for cue in scene.cues:
        cue.draw_above(canvas)
    light, grain = rng.uniform(0.8, 1.1), rng.uniform(2, 7)
    canvas = cv2.GaussianBlur(canvas * light, (0, 0), rng.uniform(0.4, 0.8))
    for cue in scene.cues:
        canvas = cue.blur(canvas)
    noisy = canvas + rng.normal(0, grain, canvas.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _stream(seed: tuple[int, ...], use: int) -> np.random.Generator:
    """Numbers of a scene for one use, which tell nothing of those for another.

    A seed that ends in 0 has the numbers of the seed without it: uses are numbered from 1.
    """
    assert use > 0
    return np.random.default_rng([*seed, use])


@cache
def _photographs(name: str) -> list[np.ndarray]:
    return photographs(PHOTOGRAPHS[name])


def _body(rng: np.random.Generator, least: float, most: float) -> Body:
    radius = float(rng.uniform(least, most))
    x, y = rng.uniform(radius + 3, SIZE - radius - 3, 2)
    colour = rng.uniform(40, 215, 3)
    while colour[1] < min(colour[0], colour[2]):  # nothing like magenta
        colour = rng.uniform(40, 215, 3)
    return Body(float(x), float(y), radius, (float(colour[0]), float(colour[1]), float(colour[2])))


def _decoys(rng: np.random.Generator, body: Body, count: int) -> tuple[Body, ...]:
    """Bodies apart from the object and from each other, at most ``count``."""
    placed: list[Body] = []
    for _ in range(20 * count):
        one = _body(rng, 15, 26)
        if all(np.hypot(one.x - b.x, one.y - b.y) > one.radius + b.radius + 8 for b in (body, *placed)):
            placed.append(one)
        if len(placed) == count:
            break
    return tuple(placed)


def _symbol(rng: np.random.Generator, label: str, body: Body, direction: float) -> Symbol:
    """Off the middle of the body, dark on a light one and light on a dark one."""
    light = float(np.mean(body.colour)) < 128
    grey = float(rng.uniform(215, 250) if light else rng.uniform(5, 40))
    reach = 0.38 * body.radius
    return Symbol(
        label,
        body.x + reach * float(np.cos(direction)),
        body.y + reach * float(np.sin(direction)),
        size=0.8 * body.radius * float(rng.uniform(0.95, 1.05)),
        angle=float(rng.uniform(-0.2, 0.2)),
        width=int(rng.integers(3, 5)),
        colour=(grey, grey, grey),
    )


def _marks_of(rng: np.random.Generator, cue: str, decoys: tuple[Body, ...], body: Body) -> list[Cue]:
    if cue not in ("inside", "beside", "neighbour"):
        return []
    found = []
    for number, decoy in enumerate(decoys):
        others = (body, *decoys[:number], *decoys[number + 1 :])
        mark = put(cue, rng, decoy, others, rng.uniform(0, 2 * np.pi)) if rng.random() < _MARKED_DECOYS else None
        found += [] if mark is None else [mark]
    return found
