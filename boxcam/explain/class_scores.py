"""The probabilities of all classes for a box, read out of the logits that its score came from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from boxcam.bundle import ClassAxis, Manifest
from boxcam.errors import RunError
from boxcam.runtime.model import Model, Prediction
from boxcam.targets import LOGIT
from boxcam.types import Int

Array = npt.NDArray[np.float64]
_ACTIVATIONS = ("Sigmoid", "Softmax", "Identity")
"""What makes scores of logits, where all classes' scores can be had of theirs."""


class ClassScores:
    """Reads the probabilities of classes, once it is known along which axis of the logits the classes lie.

    The export wrote that into the manifest where the graph tells (`boxcam.bundle.ClassAxis`). Bundles of an earlier
    boxcam do not say it. But for each box both its class and the position of its logit are known, so it is the axis
    along which they go together: the position less the class is where the box's classes begin, the same for all boxes,
    or for all of an anchor's.

    Args:
        manifest: of the bundle.
        predictions: some forward passes, the more the better, with the tensors of `names`.
    """

    def __init__(self, manifest: Manifest, predictions: Sequence[Prediction]) -> None:
        self._count = len(manifest.labels)
        first = manifest.target()
        self._ends = first.ends
        self._of_logits = not manifest.outputs.whole_image and first.name == LOGIT.name and bool(manifest.labels)
        self._outputs = predictions[0].outputs if predictions else None
        self._axes = self._written() if self._of_logits else {}
        if self._of_logits and len(self._axes) < len(self._ends) and (axis := self._find(predictions)) is not None:
            told = ClassAxis(axis, 1)
            if all(way == told for way in self._axes.values()):  # otherwise boxes suggest what the graph denies
                self._axes = dict.fromkeys(range(len(self._ends)), told)

    @staticmethod
    def names(model: Model) -> tuple[str, ...]:
        """The tensors that a forward pass has to give, as far as the bundle has them."""
        return tuple(end.name for end in model.manifest.target().ends if end.name in model.outputs)

    @property
    def known(self) -> bool:
        """Whether the probabilities of all boxes can be read."""
        return bool(self._axes) and all(map(self._tells_probabilities, range(len(self._ends))))

    def tells(self, prediction: Prediction, boxes: Sequence[int]) -> bool:
        """Whether the logits of all classes are known for some boxes of a forward pass."""
        tensors = prediction.detections.origin[np.asarray(boxes, np.int64), 0]
        return set(tensors.tolist()) <= set(self._axes)

    @property
    def there(self) -> bool:
        """Whether the bundle gives the tensors of all logits, so that only boxes decide whether they can be read."""
        outputs = self._outputs
        if not self._of_logits or outputs is None:
            return False
        known = [end.activation in _ACTIVATIONS and end.name in outputs for end in self._ends]
        ranks = {len(outputs.shape(end.name)) for end in self._ends if end.name in outputs}
        return all(known) and len(ranks) == 1

    def of(self, prediction: Prediction) -> Array | None:
        """The probabilities of all classes for each box of a forward pass: float64 [N, C]; None if not `known`.

        Raises:
            RunError: the classes of a box do not all lie within its tensor of logits.
        """
        if not self.known:
            return None
        detections = prediction.detections
        found = np.zeros((len(detections), self._count))
        for number, end in enumerate(self._ends):
            rows = np.flatnonzero(detections.origin[:, 0] == number)
            if not len(rows):
                continue
            places, lines = self._places(prediction, rows), self._lines(prediction, detections.origin[rows])
            if end.activation == "Softmax":
                lines = np.exp(lines - lines.max(axis=1, keepdims=True))
                lines /= lines.sum(axis=1, keepdims=True)
            lines = lines[np.arange(len(rows))[:, None], places]
            found[rows] = 1 / (1 + np.exp(-lines)) if end.activation == "Sigmoid" else lines
        return found

    def logits(self, prediction: Prediction, index: int) -> tuple[Array, Int] | None:
        """The logits of all classes for a box, float64 [C], and which numbers they are, int64 [C, D].

        None if they are not known.

        Args:
            prediction: a forward pass with the tensors of `names`.
            index: of the box in ``prediction.detections``.

        Raises:
            RunError: the classes of the box do not all lie within its tensor of logits.
        """
        if not self.tells(prediction, [index]):
            return None
        origin = prediction.detections.origin[index]
        (places,) = self._places(prediction, np.array([index]))
        (line,) = self._lines(prediction, origin[None])
        origins = np.repeat(origin[None], self._count, axis=0)
        origins[:, 1 + self._axes[int(origin[0])].axis] = places
        return line[places], origins

    def _places(self, prediction: Prediction, boxes: Int) -> Int:
        """Where along their axis the classes of some boxes lie, all of one tensor: int64 [N, C].

        Raises:
            RunError: some lie outside of it.
        """
        origin, labels = prediction.detections.origin[boxes], prediction.detections.labels[boxes]
        number = int(origin[0, 0])
        way, name = self._axes[number], self._ends[number].name
        size = prediction.outputs.shape(name)[way.axis]
        most = size // way.step  # of classes: what is more would lie outside, and may be too large to multiply
        if self._count <= most + 1 and ((labels >= 0) & (labels <= most)).all():
            found: Int = origin[:, 1 + way.axis, None] + (np.arange(self._count) - labels[:, None]) * way.step
            if ((found >= 0) & (found < size)).all():
                return found
        raise RunError(
            f"the classes of a box do not all lie within {name} {list(prediction.outputs.shape(name))}, where they are"
            ' said to be. Export the model again, or choose another method, such as method="hirescam".'
        )

    def _tells_probabilities(self, number: int) -> bool:
        """Whether a tensor tells them: a softmax has to be over one box's classes and a background, and no more."""
        way, outputs, end = self._axes.get(number), self._outputs, self._ends[number]
        if way is None or outputs is None:
            return False
        return end.activation != "Softmax" or outputs.shape(end.name)[way.axis] <= self._count + 1

    def _lines(self, prediction: Prediction, origins: Int) -> Array:
        """The numbers along the axis of classes through those of some boxes, all of one tensor: float64 [N, size]."""
        number = int(origins[0, 0])
        values, along = prediction.outputs[self._ends[number].name], self._axes[number].axis
        places = tuple(origins[:, 1 + axis] for axis in range(values.ndim) if axis != along)
        found: Array = np.moveaxis(values, along, -1)[places].astype(np.float64)
        return found

    def _written(self) -> dict[int, ClassAxis]:
        """What the manifest says of tensors that a forward pass gives, by their numbers."""
        outputs = self._outputs
        return {
            number: end.classes
            for number, end in enumerate(self._ends)
            if end.classes is not None
            and outputs is not None
            and end.name in outputs
            and end.activation in _ACTIVATIONS
            and len(outputs.shape(end.name)) > end.classes.axis
        }

    def _find(self, predictions: Sequence[Prediction]) -> int | None:
        """The axis; None if there is none, or if it could be several."""
        shapes: dict[int, tuple[int, ...]] = {}
        places: dict[int, list[Int]] = {}
        for prediction in predictions:
            for number, end in enumerate(self._ends):
                mine = prediction.detections.origin[:, 0] == number
                if end.name not in prediction.outputs or end.activation not in _ACTIVATIONS:
                    return None
                shapes[number] = prediction.outputs.shape(end.name)
                rank = len(shapes[number])
                first = prediction.detections.origin[mine, 1 : 1 + rank] - prediction.detections.labels[mine, None]
                places.setdefault(number, []).append(first)
        if not self._count or len({len(shape) for shape in shapes.values()}) != 1:
            return None
        begins = {number: np.concatenate(of) for number, of in places.items()}
        if not any(map(len, begins.values())):
            return None
        fitting = [
            axis
            for axis in range(len(next(iter(shapes.values()))))
            if all(self._fits(begins[number][:, axis], shapes[number][axis], number) for number in begins)
        ]
        return fitting[0] if len(fitting) == 1 else None

    def _fits(self, begins: Int, size: int, number: int) -> bool:
        """Whether classes may lie along an axis.

        Args:
            begins: where those of some boxes begin, if they do.
            size: of the axis.
            number: which tensor.
        """
        if size < self._count or ((begins < 0) | (begins > size - self._count)).any():
            return False
        if self._ends[number].activation == "Softmax":  # over the classes of one box, and the background
            return size <= self._count + 1 and len(set(begins.tolist())) <= 1
        groups = [group for group in range(self._count, size + 1) if size % group == 0]
        return any(len(set((begins % group).tolist())) <= 1 for group in groups)
