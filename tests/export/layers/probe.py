"""What depends on what, by running: a tensor of a file is moved, and one looks which scores and boxes move."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, shape_inference

from tests.export.layers.head_kinds import HEIGHT, WIDTH, Kind, parts

_QUIET = onnxruntime.SessionOptions()
_QUIET.log_severity_level = 4
_LEAST = 1e-6


class Probe:
    """A tensor of a file, to be moved.

    Attributes:
        shape: of the tensor.
    """

    def __init__(self, kind: Kind, path: Path, name: str, held: Collection[str] = ()) -> None:
        """Open a file.

        Args:
            kind: of its head.
            path: of the file.
            name: of the tensor.
            held: tensors that stay as they are, whatever they are computed from.
        """
        self.kind, self.held = kind, sorted(held)
        picture = np.random.default_rng(0).random((1, 3, HEIGHT, WIDTH), np.float32)
        whole = shape_inference.infer_shapes(onnx.load(str(path)))
        shown = onnx.ModelProto()
        shown.CopyFrom(whole)
        del shown.graph.output[:]
        shown.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in (name, *self.held))
        values = _session(shown).run(None, {"image": picture})
        self.shape = values[0].shape
        moved = onnx.ModelProto()
        moved.CopyFrom(whole)
        for node in moved.graph.node:
            node.input[:] = [f"{n}/moved" if n == name else f"{n}/held" if n in held else n for n in node.input]
        place = next(i for i, node in enumerate(moved.graph.node) if name in node.output)
        moved.graph.node.insert(place + 1, helper.make_node("Add", [name, "move"], [f"{name}/moved"]))
        for given, value in zip(("move", *(f"{n}/held" for n in self.held)), values, strict=True):
            moved.graph.input.append(helper.make_tensor_value_info(given, TensorProto.FLOAT, value.shape))
        self._feeds = {"image": picture}
        used = {n for node in moved.graph.node for n in node.input}
        self._feeds |= {f"{n}/held": v for n, v in zip(self.held, values[1:], strict=True) if f"{n}/held" in used}
        unused = [given for given in moved.graph.input if given.name not in used]
        for given in unused:
            moved.graph.input.remove(given)
        self._running = _session(moved)
        self._before = self._run(np.zeros(self.shape, np.float32))

    def _run(self, move: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return parts(self.kind, self._running.run(None, {**self._feeds, "move": move}))

    def changed(self, move: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which scores [N, C] and which numbers of boxes [N, 4] move with the tensor."""
        after = self._run(move.astype(np.float32))
        scores, boxes = (
            np.abs(one - other) > _LEAST * max(1.0, float(np.abs(other).max()))
            for one, other in zip(after, self._before, strict=True)
        )
        return scores, boxes

    def feeds_both(self) -> bool:
        """Whether an element of the tensor moves scores and boxes; of each channel the one in the middle is tried."""
        for channel in range(self.shape[1]):
            move = np.zeros(self.shape)
            move[(0, channel, *(size // 2 for size in self.shape[2:]))] = 1
            scores, boxes = self.changed(move)
            if scores.any() and boxes.any():
                return True
        return False

    def is_cell_by_cell(self) -> bool:
        """Whether no score moves with the cell in the middle and with another one."""
        cell = np.zeros(self.shape)
        cell[(slice(None), slice(None), *(size // 2 for size in self.shape[2:]))] = 1
        noise = np.random.default_rng(1).normal(1, 0.5, self.shape)
        here, others = (self.changed(noise * part)[0] for part in (cell, 1 - cell))
        assert here.any()
        return not (here & others).any()


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), _QUIET, providers=["CPUExecutionProvider"])
