"""The ONNX gradient of a bundle: one session, from values of a forward pass to patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.types import Int, Patch

Array = npt.NDArray[Any]

_ORIGIN = "origin"


class OnnxGradient:
    """Runs a gradient graph.

    Args:
        session: of the graph: values of the forward pass and ``origin`` to ``patches.g``, ``place.g``, ``box.g`` and
            sometimes ``uniform.g``, for groups of boxes g = 0, 1 …
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs = tuple(given.name for given in session.get_inputs() if given.name != _ORIGIN)
        self._names = [output.name for output in session.get_outputs()]
        self._groups = sorted({int(name.rpartition(".")[2]) for name in self._names})

    def patches(self, values: Mapping[str, Any], origin: Int) -> list[Patch]:
        """One patch per box.

        Args:
            values: of one forward pass, by name: at least those in ``inputs``; OrtValues or arrays.
            origin: int64 [K, D], which logit made each box.
        """
        import onnxruntime

        def ready(value: Any) -> Any:
            if isinstance(value, onnxruntime.OrtValue):
                return value
            return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value))

        given = {name: ready(values[name]) for name in self.inputs}
        given[_ORIGIN] = ready(origin)
        results = self._session.run_with_ort_values(self._names, given)
        found = {name: result.numpy() for name, result in zip(self._names, results, strict=True)}
        channels = next(found[name].shape[1] for name in self._names if name.startswith("patches."))
        nothing = Patch(0, 0, (0, 0), np.zeros((channels, 0, 0), np.float32))  # no way from the layer to this box
        patches = [nothing] * len(origin)
        for group in self._groups:
            gradients, uniform = found[f"patches.{group}"], found.get(f"uniform.{group}")
            places, boxes = found[f"place.{group}"].tolist(), found[f"box.{group}"].tolist()
            for m, (box, (tensor, row, y, x)) in enumerate(zip(boxes, places, strict=True)):
                even = None if uniform is None else uniform[m]
                patches[box] = Patch(tensor, row, (y, x), gradients[m], even)
        return patches
