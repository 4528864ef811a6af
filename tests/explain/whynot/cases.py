"""Scenes in which it is known why a box was not reported, with the figures of the answer, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, log

import numpy as np

from tests.explain.whynot.detectors import FAMILIES, GROWN, Family
from tests.explain.whynot.scene import CLASSES, COARSE, LOWEST, Box, Thing, inside, logit, overlap, sigmoid, softmax

Figures = dict[str, float]


@dataclass(frozen=True)
class Case:
    """A question, and its answer.

    Attributes:
        things: of the picture.
        place: that is asked about.
        label: the class.
        reason: the word.
        figures: those that have to be among the answer's.
        thing: whose box is the answer's; None if only the overlap is known.
        iou: of the answer's box and the place.
    """

    things: list[Thing]
    place: Box
    label: int
    reason: str
    figures: Figures = field(default_factory=dict)
    thing: Thing | None = None
    iou: float | None = None


def box_of(family: Family, thing: Thing, label: int) -> Box:
    """The box of a class of a cell: x1 y1 x2 y2 in pixels."""
    grown = GROWN * label if family.by_class else 0.0
    x1, y1, x2, y2 = thing.box
    return inside((x1 - grown, y1 - grown, x2 + grown, y2 + grown))


def score_of(family: Family, thing: Thing, label: int) -> float:
    """The score of a class of a cell."""
    if family.softmax:
        return softmax([*thing.logits, thing.background])[label]
    return sigmoid(thing.logits[label]) * (sigmoid(thing.objectness) if family.objectness else 1)


def needed(family: Family, thing: Thing, label: int) -> float:
    """The logit at which a class of a cell would be reported."""
    if family.softmax:
        others = [*thing.logits, thing.background]
        del others[label]
        return logit(family.threshold) + log(sum(exp(one) for one in others))
    return logit(family.threshold / (sigmoid(thing.objectness) if family.objectness else 1))


class Maker:
    """Draws things.

    Args:
        family: the detector.
        seed: of what is drawn.
    """

    def __init__(self, family: Family, seed: int) -> None:
        self.family, self.random = family, np.random.default_rng(seed)

    def sixteenths(self, low: float, high: float) -> float:
        """A number that a picture can hold."""
        return float(np.round(self.random.uniform(low, high) * 16) / 16)

    def sides(self, low: float, high: float) -> Box:
        """From the middle of a cell; a proposal's middle has to be a cell's, since its logits are read there."""
        across, down, right, lower = np.round(self.random.uniform(low, high, 4) * 4) / 4
        if self.family.stages:
            right, lower = across, down
        return float(across), float(down), float(right), float(lower)

    def logits(self, label: int, own: float, high: float = -5.0) -> tuple[float, ...]:
        """Those of all classes; the others are low."""
        found = [self.sixteenths(-7, high) for _ in range(CLASSES)]
        found[label] = own
        return tuple(found)

    def thing(self, cell: tuple[int, int], label: int, own: float, sides: Box | None = None, **more: float) -> Thing:
        """Of one class; the background is low."""
        more = {"objectness": self.sixteenths(3, 6), "background": -3.0, **more}
        return Thing(cell, sides or self.sides(7, 10), self.logits(label, own), **more)

    def label(self) -> int:
        return int(self.random.integers(CLASSES))

    def near(self, box: Box, by: float = 1.0) -> Box:
        """A place that is not quite the box."""
        x1, y1, x2, y2 = (side + float(self.random.uniform(-by, by)) for side in box)
        return x1, y1, x2, y2


def reported(make: Maker) -> Case:
    """The second best box, far from the best."""
    label, family = make.label(), make.family
    best = make.thing((1, 1), make.label(), make.sixteenths(6, 7))
    mine = make.thing((5, 5), label, make.sixteenths(1, 3))
    box = box_of(family, mine, label)
    place = make.near(box)
    figures = {"by": 2.0, "by_iou": overlap(place, box)}
    return Case([best, mine], place, label, "reported", figures, mine, overlap(place, box))


def threshold(make: Maker) -> Case:
    """Its score is too low, and there is nothing else."""
    label, family = make.label(), make.family
    far = make.thing((1, 1), make.label(), make.sixteenths(3, 6))
    low, high = (-4.0, -1.0) if family.softmax or family.iou is None else (-5.0, -3.0)
    mine = make.thing((5, 5), label, make.sixteenths(low, high), background=4.0)
    box = box_of(family, mine, label)
    place = make.near(box)
    figures = {"threshold": family.threshold, "threshold_logit": needed(family, mine, label)}
    return Case([far, mine], place, label, "threshold", figures, mine, overlap(place, box))


def another_class(make: Maker) -> Case:
    """The candidate's other class is reported, and its own is not high enough to be, or comes second."""
    label, family = make.label(), make.family
    other = (label + 1 + int(make.random.integers(CLASSES - 1))) % CLASSES
    own = make.sixteenths(-1, 1) if family.best_only else make.sixteenths(-5, -4)
    logits = list(make.logits(label, own))
    logits[other] = make.sixteenths(2, 4)
    mine = Thing((4, 3), make.sides(7, 10), logits, make.sixteenths(4, 6), -3.0)
    box = box_of(family, mine, label)
    place = make.near(box)
    figures = {"other": other, "other_logit": logits[other], "other_score": score_of(family, mine, other)}
    return Case([mine], place, label, "class", figures, mine, overlap(place, box))


def another_box_of_another_class(make: Maker) -> Case:
    """Another cell's box of another class is reported there, and the candidate's own score is too low."""
    label, family = make.label(), make.family
    other = (label + 1) % CLASSES
    sides = (12.0, 12.0, 12.0, 12.0)
    mine = make.thing((4, 3), label, make.sixteenths(-5, -4), sides, background=3.0)
    lowest = [LOWEST] * CLASSES
    lowest[other] = make.sixteenths(2, 5)
    rival = Thing((4, 4), sides, lowest, make.sixteenths(3, 6), -3.0)
    box, theirs = box_of(family, mine, label), box_of(family, rival, other)
    x1, y1, x2, y2 = ((one + two) / 2 for one, two in zip(box, theirs, strict=True))
    place = (x1, y1, x2, y2)
    assert min(overlap(place, box), overlap(place, theirs)) > 0.5
    figures = {"other": other, "other_logit": lowest[other], "other_score": score_of(family, rival, other), "by": 1.0}
    return Case([mine, rival], place, label, "class", figures, mine, overlap(place, box))


def suppressed(make: Maker) -> Case:
    """A better box of its class overlaps it, but hardly overlaps the place."""
    label, family = make.label(), make.family
    side = make.sixteenths(13, 14) // 0.25 * 0.25
    sides = (side, side, side, side)
    across = bool(make.random.integers(2))
    cells = [(4, 2), (4, 3)] if across else [(2, 4), (3, 4)]
    far = make.thing((1, 7) if not across else (0, 7), label, 7.0, (3.0, 3.0, 3.0, 3.0), objectness=6.0)
    best, mine = (
        make.thing(cell, label, make.sixteenths(*ends), sides)
        for cell, ends in zip(cells, ((3, 5), (0, 2)), strict=True)
    )
    if family.objectness:  # the product decides which is better
        best, mine = (Thing(one.cell, one.sides, one.logits, 5.0, one.background) for one in (best, mine))
    boxes = [box_of(family, one, label) for one in (best, mine)]
    x1, y1, x2, y2 = boxes[1]
    place = (x1 + 7, y1, x2 + 7, y2) if across else (x1, y1 + 7, x2, y2 + 7)
    assert overlap(place, boxes[0]) < 0.5 < overlap(*boxes) < 0.7
    assert overlap(place, boxes[1]) > 0.5
    figures = {"by": 2.0, "by_iou": overlap(*boxes)}
    return Case([far, best, mine], place, label, "suppressed", figures, mine, overlap(place, boxes[1]))


def rank(make: Maker) -> Case:
    """As many better boxes elsewhere as the model keeps, and some more."""
    label, family = make.label(), make.family
    small = (3.0, 3.0, 3.0, 3.0)
    cells = [(y, x) for y in (0, 2, 4, 7) for x in (0, 2, 5, 7) if (y, x) != (4, 5)]
    better = 5 if family.stages else family.most + int(make.random.integers(0, 2))
    chosen = make.random.permutation(len(cells))[:better]
    things = [make.thing(cells[k], make.label(), make.sixteenths(3, 6), small) for k in chosen]
    mine = make.thing((4, 5), label, make.sixteenths(0, 2))
    box = box_of(family, mine, label)
    place = make.near(box)
    return Case([*things, mine], place, label, "rank", {"rank": better + 1.0}, mine, overlap(place, box))


def rank_of_a_level(make: Maker) -> Case:
    """The level's best twelve are all at one place, where one is reported; the thirteenth is elsewhere."""
    label = make.label()
    x1, y1, x2, y2 = 2.0, 2.0, 30.0, 22.0
    things = []
    for y, x in np.ndindex(3, 4):
        across, down = 8 * x + 4, 8 * y + 4
        sides = (across - x1, down - y1, x2 - across, y2 - down)
        things.append(make.thing((y, x), label, make.sixteenths(3, 6), sides))
    mine = make.thing((5, 5), label, make.sixteenths(0, 2))
    place = make.near(mine.box)
    return Case([*things, mine], place, label, "rank", {"rank": 13.0}, mine, overlap(place, mine.box))


def nothing(make: Maker) -> Case:
    """No box overlaps the place enough; the nearest one is known."""
    label, family = make.label(), make.family
    cells = [(1, 1), (1, 4), (1, 6), (4, 1), (6, 1), (6, 3)]
    things = [make.thing(cell, make.label(), make.sixteenths(0, 4), make.sides(5, 7)) for cell in cells]
    near = make.thing((4, 4), label, make.sixteenths(-1, 3), make.sides(7, 10))
    things[int(make.random.integers(6))] = near
    x1, y1, x2, y2 = box_of(family, near, label)
    width = x2 - x1
    place = (x1 + 0.6 * width, y1, x2 + 0.6 * width, y2)
    shares = [overlap(place, box_of(family, one, label)) for one in things]
    assert max(shares) == overlap(place, (x1, y1, x2, y2)) < 0.5
    return Case(things, place, label, "nothing", {}, near, max(shares))


def proposal_by_rank(make: Maker) -> Case:
    """Six other proposals have a higher objectness."""
    label, family = make.label(), make.family
    cells = [(0, 1), (0, 4), (0, 7), (3, 1), (6, 1), (7, 4)]
    things = [
        make.thing(cell, make.label(), make.sixteenths(0, 4), (4.0,) * 4, objectness=make.sixteenths(3, 6))
        for cell in cells
    ]
    mine = make.thing((4, 5), label, make.sixteenths(2, 5), objectness=make.sixteenths(0, 2))
    place = make.near(mine.box)
    assert family.stages
    best = max(overlap(place, box_of(family, one, label)) for one in things)
    return Case([*things, mine], place, label, "proposal", {"proposal_iou": overlap(place, mine.box)}, None, best)


def proposal_suppressed(make: Maker) -> Case:
    """A proposal that overlaps it by more than 0.7 has a higher objectness."""
    label, family = make.label(), make.family
    y = int(make.random.integers(2, 6))
    best = make.thing((y, 3), label, make.sixteenths(2, 5), (16.0, 12.0, 16.0, 12.0), objectness=5.0)
    mine = make.thing((y, 4), label, make.sixteenths(4, 6), (20.0, 12.0, 12.0, 12.0), objectness=2.0)
    others = [make.thing((7 if y < 4 else 0, x), label, 0.0, (3.0,) * 4, objectness=4.0) for x in (0, 2, 4, 5, 7)]
    assert overlap(best.box, mine.box) > 0.7
    x1, y1, x2, y2 = mine.box
    place = (x1 + 8, y1, x2 + 8, y2)
    share = overlap(place, box_of(family, best, label))
    assert share < 0.5 < overlap(place, mine.box)
    figures = {"proposal_iou": overlap(place, mine.box)}
    return Case([best, mine, *others], place, label, "proposal", figures, best, share)


def coarse(make: Maker) -> Case:
    """Suppressed by a box of the other level."""
    label = make.label()
    best = Thing((1, 1), (14, 14, 14, 14), make.logits(label, make.sixteenths(3, 5)), 6.0, -3.0, COARSE)
    mine = Thing((3, 3), (12, 12, 12, 14), make.logits(label, make.sixteenths(0, 2)), 6.0, -3.0)
    x1, y1, x2, y2 = mine.box
    place = (x1 + 6, y1, x2 + 6, y2)
    assert overlap(place, best.box) < 0.5 < overlap(mine.box, best.box)
    assert overlap(place, mine.box) > 0.5
    figures = {"by": 1.0, "by_iou": overlap(mine.box, best.box)}
    return Case([best, mine], place, label, "suppressed", figures, mine, overlap(place, mine.box))


Mechanism = Callable[[Maker], Case]
_ALL: list[Mechanism] = [reported, threshold, another_class, another_box_of_another_class, nothing]
_FURTHER: list[tuple[Callable[[Family], bool], Mechanism]] = [
    (lambda family: family.iou is not None, suppressed),
    (lambda family: family.coarse, coarse),
    (lambda family: family.most < 50, rank),
    (lambda family: family.most == 5 and not family.stages, rank_of_a_level),
    (lambda family: family.stages, proposal_by_rank),
    (lambda family: family.stages, proposal_suppressed),
]


def mechanisms() -> list[tuple[str, Mechanism]]:
    """Which hold for which families."""
    found = []
    for name, family in FAMILIES.items():
        found += [(name, one) for one in _ALL]
        found += [(name, one) for holds, one in _FURTHER if holds(family)]
    return found


def make(name: str, mechanism: Mechanism, seed: int) -> Case:
    """A scene of a family."""
    return mechanism(Maker(FAMILIES[name], 1000 * sum(map(ord, name + mechanism.__name__)) + seed))
