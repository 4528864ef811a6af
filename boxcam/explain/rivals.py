"""Gradients of what tells a box's class from the classes that it might have had instead."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Layer
from boxcam.errors import EngineError, RunError
from boxcam.explain.class_scores import ClassScores
from boxcam.explain.gradients import same_place, weighted_sum
from boxcam.explain.methods import Method
from boxcam.explain.methods.finercam import GAMMA
from boxcam.explain.options import Options
from boxcam.runtime.engines import Patches
from boxcam.runtime.model import Model, Prediction
from boxcam.targets import LOGIT
from boxcam.types import Image, Int, Patch


def contrasted(
    model: Model, view: tuple[Method, Layer], options: Options, seen: tuple[Image, Prediction], boxes: Sequence[int]
) -> Iterator[Patches]:
    """Of each box, the gradient of y - γ · mean of y_d, d the classes whose logits are the nearest to its own, y.

    Args:
        model, view, options: what is asked for: a method at a layer.
        seen: an image, as `Model.predict` takes it, and its forward pass made with ``ends``.
        boxes: indices into its detections.

    Raises:
        EngineError: the bundle does not tell the logits of all classes.
        RunError: another class's logit depends on another place, or which logits are those of a box's classes cannot be
            told from this image.
    """
    (method, layer), (_, prediction) = view, seen
    origins = rivals(model, seen, boxes, method.rivals)
    counts = [1 + len(others) for others in origins]
    own = model.origin(prediction, boxes, options.target)
    every = [row for box, others in enumerate(origins) for row in (own[box], *others)]
    found = model.patches_at(
        prediction,
        layer,
        np.array(every, np.int64).reshape(len(every), own.shape[1]),
        options.engine,
        target=options.target,
        means=method.means,
    )
    for count in counts:
        yield _difference(list(itertools.islice(found, count)), layer)


def rivals(model: Model, seen: tuple[Image, Prediction], boxes: Sequence[int], count: int) -> list[Int]:
    """Of each box, which numbers are the logits of the classes that are the nearest to its own: int64 [count, D].

    Fewer if there are not as many other classes. Of equally near ones, those of lower numbers.

    Raises:
        EngineError: the bundle does not tell the logits of all classes.
        RunError: which they are cannot be told from this image.
    """
    found = []
    for values, origins, label in class_logits(model, seen, boxes):
        check_named(model, label, len(values))
        others = np.delete(np.arange(len(values)), [label, *silent_of(model)])
        nearest = others[np.argsort(np.abs(values[others] - values[label]), kind="stable")][:count]
        found.append(origins[nearest])
    return found


def check_named(model: Model, label: int, count: int) -> None:
    """Refuse a box of a class that the bundle does not know.

    Raises:
        RunError: the class is none of ``count``.
    """
    if label >= count:
        raise RunError(
            f"a box is of class {label}, and bundle {model.path} names {count} only, so it is not known which others it"
            ' could be. Choose another method, such as method="hirescam".'
        )


def silent_of(model: Model) -> tuple[int, ...]:
    """The classes that a model never reports, as a background that is counted as one."""
    told = model.manifest.candidates
    return () if told is None else told.silent


ANOTHER_METHOD = 'Choose another method, such as method="hirescam"'


def class_logits(
    model: Model, seen: tuple[Image, Prediction], boxes: Sequence[int], mend: str = ANOTHER_METHOD
) -> Iterator[tuple[npt.NDArray[np.float64], Int, int]]:
    """Of each box the logits of all classes, which numbers they are, and its own class.

    Args:
        model: a detector or classifier.
        seen: an image, as `Model.predict` takes it, and its forward pass made with ``ends``.
        boxes: indices into its detections.
        mend: what to do where this is not known, as a sentence without its end.

    Raises:
        EngineError: the bundle does not tell.
        RunError: which they are cannot be told from this image.
    """
    image, prediction = seen
    detections = prediction.detections
    if model.manifest.outputs.whole_image:  # each class is a box of its own
        order = np.argsort(detections.labels, kind="stable")
        places = np.argsort(order, kind="stable")
        for box in boxes:
            yield detections.logits[order].astype(np.float64), detections.origin[order], int(places[box])
        return
    if model.manifest.candidates is not None and set(ClassScores.names(model)) <= set(prediction.outputs):
        yield from _of_candidates(model, prediction, boxes)
        return
    passes = [prediction]
    classes = ClassScores(model.manifest, passes)
    for moved in _moved(image):
        if classes.tells(prediction, boxes):
            break
        passes.append(model.predict(moved, ends=True))
        classes = ClassScores(model.manifest, passes)
    for box in boxes:
        known = classes.logits(prediction, box)
        if known is None and classes.there:
            raise RunError(
                "which logits are the classes of one box cannot be told from the boxes on this image, even where it is"
                f" moved. {mend}. If an earlier boxcam exported the bundle, export the model again."
            )
        if known is None:
            raise EngineError(
                f"bundle {model.path} does not tell which of its logits are the classes of one box{_why(model)}."
                f" {mend}."
            )
        yield *known, int(detections.labels[box])


def _of_candidates(
    model: Model, prediction: Prediction, boxes: Sequence[int]
) -> Iterator[tuple[npt.NDArray[np.float64], Int, int]]:
    """The same, where the bundle tells of all candidates, and so where the logits of each are."""
    plantings = model.selection.plantings(prediction.outputs)
    for box, origin in zip(boxes, model.origin(prediction, boxes, LOGIT.name), strict=True):
        number, *at = origin.tolist()
        one, label = plantings[number], int(prediction.detections.labels[box])
        places = one.classes(at)
        check_named(model, label, len(places))
        if places[label].tolist() != at[: places.shape[1]]:
            raise RunError(
                f"box {box + 1} is of class {label}, and its logit is that of another class. Export the model again."
            )
        origins = np.zeros((len(places), 1 + len(at)), np.int64)
        origins[:, 0], origins[:, 1 : 1 + places.shape[1]] = number, places
        yield one.values[tuple(places.T)].astype(np.float64), origins, label


def _why(model: Model) -> str:
    """Why a bundle does not tell of all classes, as far as that is known."""
    manifest = model.manifest
    if not manifest.without_candidates and manifest.candidates is None:
        return ", as it was exported by an earlier boxcam; exporting the model again may help"
    return ", and has no class names, which tell how many there are" if not manifest.labels else ""


def _moved(image: Image) -> Iterator[Image]:
    """The image with its objects elsewhere.

    One box can look as if its classes lay along the height or the width of a map; boxes in several places cannot.
    """
    height, width = image.shape[:2]
    yield np.roll(image, height // 4, axis=0)
    yield np.roll(image, width // 4, axis=1)
    yield np.roll(image, (-(height // 3), -(width // 3)), axis=(0, 1))
    yield image[:, ::-1].copy()


def _difference(found: Sequence[Patches], layer: Layer) -> Patches:
    """The gradients of one box's logit less those of the other classes."""
    own, *others = found
    weights = (1.0, *(-GAMMA / len(others) for _ in others))
    return tuple(weighted_sum((patch, *(_other(patch, of, layer) for of in others)), weights) for patch in own)


def _other(patch: Patch, found: Patches, layer: Layer) -> Patch:
    """The gradient of another class at the same place."""
    for one in found:
        if same_place(patch, one):
            return one
    raise RunError(
        f"the classes of a box do not depend on the same places of layer {layer.name!r}, so they cannot be compared"
        ' there. Choose another method, such as method="hirescam".'
    )
