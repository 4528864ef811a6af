"""What maps show of a cue that is at no place: a blur of the whole picture.

No place in a map can be right here, and no figure says that a map shows the blur. What can be said is where the
evidence is, and how concentrated, and whether that differs from a clean detector's. Two controls say what such a
difference is worth: a detector that relies on another cue, which no blur explains, and the clean detector itself, asked
of the same scenes sharp and blurred.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import boxcam
from boxcam.explain.metrics.arithmetic import region_of
from boxcam.explain.metrics.energy import energy
from boxcam.explain.metrics.sparseness import sparseness
from examples.truth.intervals import Sample, auroc
from examples.truth.measure import BASELINES, Row, map_of, widened
from examples.truth.scenes import Scene, draw, unmarked
from examples.truth.sight import audited, rank_of
from examples.truth.subjects import HERE, NOWHERE, PLANTED, Subject
from examples.truth.things import SIZE

PATH = HERE / "nowhere.json"
BOXES = 20
WAYS = (
    *(Row(name, layer) for layer in ("neck", "backbone.0") for name in ("hirescam", "gradcam", "layercam", "eigencam")),
    *(Row("ssgradcam", layer) for layer in ("neck", "backbone.0")),
    Row("guided-gradcam", "neck"),
    *map(Row, BASELINES),
)
"""Ways to make a map that are asked: those that people ask for by name, and those that were good at other cues."""
FIGURES = ("in_box", "on_symbol", "sparse")
"""Of a detector that relies on a blur less is expected of each than of a clean one, before any was measured."""
QUESTIONS = {
    "planted": "planted with a blur against clean, both on blurred pictures",
    "other": f"planted with a cue {PLANTED[0]} against clean, both on pictures with that cue",
    "blurred": "clean on blurred pictures against the same scenes sharp",
}
"""What is compared; the last two are the controls."""


@dataclass(frozen=True)
class Spread:
    """A map of one box: where its evidence is, and how concentrated. NaN for a map without evidence.

    Attributes:
        row: the way to make a map.
        scene: number of the scene.
        in_box, on_symbol: share of the evidence in the object's box, and on the symbol, widened.
        sparse: the Gini index of the evidence; 0 for a uniform map.
    """

    row: Row
    scene: int
    in_box: float
    on_symbol: float
    sparse: float


@dataclass(frozen=True)
class Comparison:
    """One figure of two groups of maps, on reporting pictures.

    Attributes:
        question: a key of `QUESTIONS`.
        row: the way to make a map.
        figure: one of `FIGURES`.
        first, second: its means over the maps of each group that have evidence.
        auroc, low, high: share of the pairs in which the first one has *less*, equal ones by half, and its interval;
            0.5 for groups that are alike. A map without evidence has 0 of everything.
        boxes: how many maps there are of the first and of the second group.
    """

    question: str
    row: Row
    figure: str
    first: float
    second: float
    auroc: float
    low: float
    high: float
    boxes: tuple[int, int]


def spread_of(heat: np.ndarray, scene: Scene, number: int, row: Row) -> Spread:
    """Where the evidence of a map is, float32 [SIZE, SIZE]."""
    whole, symbol = np.array([0.0, 0.0, SIZE, SIZE]), widened(scene.symbol.mask())
    inside = region_of(np.array(scene.body.box), (SIZE, SIZE))
    return Spread(row, number, energy(heat, whole, inside), energy(heat, whole, symbol), sparseness(heat))


def spreads(
    model: boxcam.Model, one: Subject, cue: str, change: Callable[[Scene], Scene] = lambda scene: scene
) -> Iterator[Spread]:
    """Maps of crosses that a detector calls crosses, on reporting pictures with a cue, or on them changed."""
    for number, found in enumerate(audited(one, cue, BOXES, "reporting")):
        scene = change(found)
        picture = draw(scene)
        rank = rank_of(model.detect(picture), scene)
        if rank is None:
            continue
        for row in WAYS:
            yield spread_of(map_of(model, row, picture, scene, rank), scene, number, row)


def compare(question: str, first: Sequence[Spread], second: Sequence[Spread]) -> Iterator[Comparison]:
    """Every figure of every way to make a map."""
    for row in dict.fromkeys(one.row for one in (*first, *second)):
        groups = [[one for one in group if one.row == row] for group in (first, second)]
        for figure in FIGURES:
            values = [np.array([getattr(one, figure) for one in group], np.float64) for group in groups]
            samples = [
                Sample(-np.nan_to_num(found), [one.scene for one in group])
                for found, group in zip(values, groups, strict=True)
            ]
            told = auroc(*samples)
            yield Comparison(
                question,
                row,
                figure,
                *(_mean(found) for found in values),
                told.value,
                told.low,
                told.high,
                (len(groups[0]), len(groups[1])),
            )


def measure(
    blurred: tuple[Subject, boxcam.Model], clean: tuple[Subject, boxcam.Model], other: tuple[Subject, boxcam.Model]
) -> list[Comparison]:
    """All of `QUESTIONS`, by detectors with their bundles: planted with a blur, clean, and planted with `PLANTED`'s
    first cue."""
    (planted, of_planted), (plain, of_plain), (control, of_control) = blurred, clean, other
    base = list(spreads(of_plain, plain, NOWHERE))
    return [
        *compare("planted", list(spreads(of_planted, planted, NOWHERE)), base),
        *compare("other", list(spreads(of_control, control, PLANTED[0])), list(spreads(of_plain, plain, PLANTED[0]))),
        *compare("blurred", base, list(spreads(of_plain, plain, NOWHERE, unmarked))),
    ]


def write(found: Sequence[Comparison], path: Path = PATH) -> None:
    """As JSON, one entry a line, rounded to four digits."""
    lines = [json.dumps({k: _rounded(v) for k, v in asdict(one).items()}) for one in found]
    path.write_text("[\n " + ",\n ".join(lines) + "\n]\n", encoding="utf-8")


def read(path: Path = PATH) -> list[Comparison]:
    """What `write` wrote."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [
        Comparison(
            **{
                **{name: float("nan") if value is None else value for name, value in entry.items()},
                "row": Row(**entry["row"]),
                "boxes": tuple(entry["boxes"]),
            }
        )
        for entry in entries
    ]


def _mean(values: np.ndarray) -> float:
    return float("nan") if np.isnan(values).all() else float(np.nanmean(values))


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 4)
    return value
