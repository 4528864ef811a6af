"""Contrast: what speaks for a box's class rather than for another one.

The map of logit(c) - logit(d) is the map of one less the map of the other, for methods whose maps are linear in the
gradient: no other gradient graph is needed, since the gradient's origin says which logit it is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from boxcam.errors import ArgumentError
from boxcam.explain.evidence import Part, Parts
from boxcam.explain.rivals import check_named, class_logits, silent_of
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.tensors import Tensors
from boxcam.types import CellMap, Detections, Image, Int


def rivals_of(
    model: Model, seen: tuple[Image, Prediction], boxes: Sequence[int], against: int | None
) -> tuple[Prediction, tuple[str, ...]]:
    """A forward pass whose boxes are explained for another class, and the names of these classes.

    Args:
        model: the model.
        seen: an image, as `Model.predict` takes it, and its forward pass made with ``ends``.
        boxes: indices into its detections, of boxes of other classes.
        against: the class; None for each box's runner-up.

    Returns:
        The pass: its detections are ``boxes``, with the other class's logits as their numbers.

    Raises:
        EngineError: the bundle does not tell the logits of all classes.
        ArgumentError: there is one class only.
        RunError: which they are cannot be told from this image.
    """
    prediction = seen[1]
    labels, origins, logits = [], [], []
    for values, rows, own in class_logits(model, seen, boxes, "Leave out against="):
        check_named(model, own, len(values))
        others = np.delete(np.arange(len(values)), [own, *silent_of(model)])
        if not len(others):
            raise ArgumentError("the model has one class only, so there is none to compare with. Leave out against=.")
        other = int(others[np.argmax(values[others])]) if against is None else against
        if other >= len(values):
            raise ArgumentError(
                f"the model has no class {other}: it has {len(values)}, and the last one is {len(values) - 1}. Pass"
                " another one as against=."
            )
        labels.append(other)
        origins.append(rows[other])
        logits.append(float(values[other]))
    found = prediction.detections.select(list(boxes))
    names = model.manifest.labels
    called = tuple(names[k] if k < len(names) else f"class {k}" for k in labels)
    other_class = Detections(
        boxes=found.boxes,
        scores=found.scores,
        labels=np.array(labels, np.int64),
        names=called,
        origin=np.array(origins, np.int64).reshape(len(origins), -1),
        logits=np.array(logits, np.float32),
    )
    return as_reported(model, prediction, other_class), called


def as_reported(model: Model, prediction: Prediction, detections: Detections) -> Prediction:
    """A forward pass as if it had reported these boxes, by their class logits."""
    target = model.manifest.target("logit")
    values = {name: prediction.outputs.ort(name) for name in prediction.outputs}
    values |= {target.origin: detections.origin, target.value: detections.logits}
    rows: Int = np.arange(len(detections), dtype=np.int64)
    return replace(prediction, detections=detections, rows=rows, outputs=Tensors(values))


def difference(own: Parts, others: Parts) -> Parts:
    """Of each box, the maps of its own class less those of the other."""
    return tuple(_less(mine, theirs) for mine, theirs in zip(own, others, strict=True))


def _less(mine: Sequence[Part], theirs: Sequence[Part]) -> tuple[Part, ...]:
    left, made = list(theirs), []
    for part in mine:
        same = next((one for one in left if _same_place(one, part)), None)
        if same is not None:
            left.remove(same)
            cells = CellMap(part.cells.values - same.cells.values, part.cells.corner)
            part = replace(part, cells=cells)
        made.append(part)
    return (*made, *(replace(one, cells=CellMap(-one.cells.values, one.cells.corner)) for one in left))


def _same_place(one: Part, other: Part) -> bool:
    places = [(of.tensor, of.grid, of.cells.corner, of.cells.values.shape, of.of_regions) for of in (one, other)]
    return places[0] == places[1]
