"""Measure what a detector relies on: the cue is taken away, given to other objects, put elsewhere.

python -m examples.truth.intervene beside-0.975-0
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

import boxcam
from examples.truth.bundles import export
from examples.truth.scenes import marked, moved, other_symbol, unmarked
from examples.truth.sight import audited, look
from examples.truth.subjects import SPLITS, Subject, subject
from examples.truth.things import CROSS, TEE

OBJECTS = 40
"""Of each class."""
RELIES = 0.5
"""Of the crosses that are called so with the cue, the share that is not any more without it, from which on a detector
counts as relying on the cue."""


@dataclass(frozen=True)
class Reliance:
    """What interventions did; shares and means over objects.

    Attributes:
        subject, cue: which detector, and which kind of cue.
        objects: crosses that are called crosses while the cue is shown; the next four are over these.
        lost: share of their score that is lost without the cue; below 0 if it rises.
        flipped: share that is no longer called a cross without the cue.
        moved: share that is no longer called a cross when the cue is on, or next to, something else instead; for far
            cues, which belong to no object, when it is at another far place. None for a cue that is at no place.
        symbol: share of their score that is lost with the symbol of the other class.
        taken: share of the tees that are called tees without the cue and crosses with it.
        right: share of objects of both classes that are called what they are when no cue is shown.
    """

    subject: str
    cue: str
    objects: int
    lost: float
    flipped: float
    moved: float | None
    symbol: float
    taken: float
    right: float

    @property
    def relies(self) -> bool:
        """Whether the detector relies on the cue."""
        return self.flipped >= RELIES


def intervene(model: boxcam.Model, one: Subject, cue: str, count: int = OBJECTS, split: str = "reporting") -> Reliance:
    """Measure how much a detector relies on a kind of cue, on pictures of a split, a key of `SPLITS`."""
    lost, flipped, gone, symbol, taken, right = [], [], [], [], [], []
    for scene in audited(one, cue, count, split):
        before, after = look(model, scene), look(model, unmarked(scene))
        right.append(after.label == CROSS)
        if before.label != CROSS:
            continue
        lost.append(1 - after.cross / before.cross)
        flipped.append(after.label != CROSS)
        symbol.append(1 - look(model, other_symbol(scene)).cross / before.cross)
        elsewhere = moved(scene)
        if elsewhere is not None:
            gone.append(look(model, elsewhere).label != CROSS)
    for scene in audited(one, cue, count, split, TEE):
        before = look(model, unmarked(scene))
        right.append(before.label == TEE)
        if before.label == TEE:
            taken.append(look(model, marked(scene)).label == CROSS)
    return Reliance(
        subject=one.name,
        cue=cue,
        objects=len(lost),
        lost=_mean(lost),
        flipped=_mean(flipped),
        moved=_mean(gone) if gone else None,
        symbol=_mean(symbol),
        taken=_mean(taken),
        right=_mean(right),
    )


def _mean(values: list[float] | list[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--split", choices=tuple(SPLITS), default="tuning", help="pictures: tuning by default")
    options = parser.parse_args()
    for one in map(subject, options.names):
        model = boxcam.load(export(one, one.bundle), threads=1)
        for cue in one.measured:
            print(intervene(model, one, cue, split=options.split))


if __name__ == "__main__":
    main()
