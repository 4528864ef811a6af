"""Resizing of maps whose sizes only a run tells, against what ONNX Runtime itself makes of each position."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.export.autodiff.block import Positions, Start, Window
from boxcam.export.autodiff.local import resizing
from boxcam.export.autodiff.rules.resize import PlainForm
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.run import open_session, run_model

# Ratios by which positions lie in the middle between two others, which float32 puts a little beside it, and others.
SIZES = ((14, 19), (7, 38), (7, 2), (14, 1), (36, 82), (40, 94), (26, 28), (36, 10), (3, 7), (13, 1), (1, 5), (5, 5))


@pytest.mark.parametrize("coordinates", ["asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel"])
@pytest.mark.parametrize("mode", ["linear", "floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_weights_are_those_of_onnx_runtime(coordinates: str, mode: str) -> None:
    nearest = "" if mode == "linear" else mode
    lengths = [ir.Value(name=n, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1])) for n in ("in", "out")]
    graph = ir.Graph(lengths, [], nodes=[], opset_imports={"": 18}, name="weights")
    op = Ops(graph, "test")
    tape: Any = SimpleNamespace(op=op, positions=Positions(op))
    source = resizing._source(tape, PlainForm(coordinates, nearest, {}), None, *lengths)
    rows, columns = (tape.positions.count(length) for length in lengths)
    graph.outputs.append(resizing._weights(tape, rows, source(columns), nearest))
    session = open_session(ir.Model(graph, ir_version=8))
    for before, after in SIZES:
        (mine,) = session.run(None, {"in": np.array([before]), "out": np.array([after])})
        np.testing.assert_allclose(mine, resized(before, after, coordinates, nearest), atol=1e-5)


@pytest.mark.parametrize("coordinates", ["asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel"])
@pytest.mark.parametrize("nearest", ["", "floor", "ceil", "round_prefer_floor"])
@pytest.mark.parametrize("scale", [0.5, 0.6, 1.7, 2.0])
def test_windows_hold_all_that_is_read(coordinates: str, nearest: str, scale: float) -> None:
    """With aligned corners the scale does not tell how far apart the positions are that are read."""
    form = PlainForm(coordinates, nearest, {2: scale})
    lengths = [ir.Value(name=n, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1])) for n in ("in", "out")]
    begin = ir.Value(name="begin", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([None]))
    graph = ir.Graph([*lengths, begin], [], nodes=[], opset_imports={"": 18}, name="windows")
    op = Ops(graph, "test")
    tape: Any = SimpleNamespace(op=op, positions=Positions(op))
    source = resizing._source(tape, form, scale, *lengths)
    size = 5
    found = resizing._window_seen(tape, Window(Start(begin), size), source, form, scale, lengths[1])
    graph.outputs.append(tape.positions.of(found))
    session = open_session(ir.Model(graph, ir_version=8))
    for before in (1, 2, 5, 7, 11):
        after = int(before * scale)
        if after == 0:
            continue
        starts = np.arange(1 - size, after)
        (held,) = session.run(None, {"in": np.array([before]), "out": np.array([after]), "begin": starts})
        read = resized(before, after, coordinates, nearest, scale) != 0
        for row, start in enumerate(starts):
            seen = np.flatnonzero(read[:, max(start, 0) : start + size].any(1))
            assert set(seen.tolist()) <= set(held[row].tolist()), (before, start)


def resized(before: int, after: int, coordinates: str, nearest: str, scale: float | None = None) -> np.ndarray:
    """The rows of an identity matrix, each resized."""
    image = ir.Value(name="image", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, 1, before, before]))
    graph = ir.Graph([image], [], nodes=[], opset_imports={"": 18}, name="resize")
    how: dict[str, Any] = {"mode": "nearest", "nearest_mode": nearest} if nearest else {"mode": "linear"}
    by = [None, np.array([1, 1, before, after])] if scale is None else [np.array([1, 1, 1, scale], np.float32)]
    made = Ops(graph, "test").Resize(image, None, *by, coordinate_transformation_mode=coordinates, **how)
    graph.outputs.append(made)
    eye = np.eye(before, dtype=np.float32)[None, None]
    (rows,) = run_model(ir.Model(graph, ir_version=8), {"image": eye}).values()
    found: np.ndarray = rows[0, 0]
    return found
