"""The probabilities of all classes for a box, read out of the logits that its score came from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Manifest
from boxcam.runtime.model import Model, Prediction
from boxcam.targets import LOGIT
from boxcam.types import Int

Array = npt.NDArray[np.float64]
_ACTIVATIONS = ("Sigmoid", "Softmax", "Identity")
"""What makes scores of logits, where all classes' scores can be had of theirs."""


class ClassScores:
    """Reads the probabilities of classes, once it is known along which axis of the logits the classes lie.

    No file says which axis that is. But for each box both its class and the position of its logit are known, so it is
    the one along which they go together: the position less the class is where the box's classes begin, the same for
    all boxes, or for all of an anchor's.

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
        self._axis = self._find(predictions) if self._of_logits else None

    @staticmethod
    def names(model: Model) -> tuple[str, ...]:
        """The tensors that a forward pass has to give, as far as the bundle has them."""
        return tuple(end.name for end in model.manifest.target().ends if end.name in model.outputs)

    @property
    def known(self) -> bool:
        """Whether they can be read."""
        return self._axis is not None

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
        """The probabilities of all classes for each box of a forward pass: float64 [N, C]; None if not `known`."""
        if self._axis is None:
            return None
        detections = prediction.detections
        found = np.zeros((len(detections), self._count))
        for number, end in enumerate(self._ends):
            rows = np.flatnonzero(detections.origin[:, 0] == number)
            if not len(rows):
                continue
            lines = self._lines(prediction, detections.origin[rows])
            first = detections.origin[rows, 1 + self._axis] - detections.labels[rows]
            if end.activation == "Softmax":
                lines = np.exp(lines - lines.max(axis=1, keepdims=True))
                lines /= lines.sum(axis=1, keepdims=True)
            lines = lines[np.arange(len(rows))[:, None], first[:, None] + np.arange(self._count)]
            found[rows] = 1 / (1 + np.exp(-lines)) if end.activation == "Sigmoid" else lines
        return found

    def logits(self, prediction: Prediction, index: int) -> tuple[Array, Int] | None:
        """The logits of all classes for a box, float64 [C], and which numbers they are, int64 [C, D].

        None if not `known`.

        Args:
            prediction: a forward pass with the tensors of `names`.
            index: of the box in ``prediction.detections``.
        """
        if self._axis is None:
            return None
        origin, label = prediction.detections.origin[index], prediction.detections.labels[index]
        first = int(origin[1 + self._axis] - label)
        (line,) = self._lines(prediction, origin[None])
        origins = np.repeat(origin[None], self._count, axis=0)
        origins[:, 1 + self._axis] = first + np.arange(self._count)
        return line[first : first + self._count], origins

    def _lines(self, prediction: Prediction, origins: Int) -> Array:
        """The numbers along the axis of classes through those of some boxes, all of one tensor: float64 [N, size]."""
        assert self._axis is not None
        values = prediction.outputs[self._ends[int(origins[0, 0])].name]
        places = tuple(origins[:, 1 + axis] for axis in range(values.ndim) if axis != self._axis)
        found: Array = np.moveaxis(values, self._axis, -1)[places].astype(np.float64)
        return found

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
