"""Which elements depend on which: what is said of each operator, against runs in which one element is moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from boxcam.export.graphs.query import find_value
from boxcam.export.graphs.run import open_session
from boxcam.export.layers.flow import sizes_of
from boxcam.export.layers.marks import Flows, backward, forward
from boxcam.export.layers.steps import READS, stays_in_place
from tests.export.export_graphs import Net

RNG = np.random.default_rng(0)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


class Case(NamedTuple):
    """An operator that reads ``x``, and ``y`` where it is given a shape.

    ``exact``: what is said is not more than what a run shows.
    """

    write: Callable[[Net], str]
    shape: tuple[int, ...] = (1, 4, 3, 2)
    second: tuple[int, ...] | None = None
    exact: bool = True
    opset: int = 18


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def node(kind: str, *more: Any, **attributes: Any) -> Callable[[Net], str]:
    return lambda net: net.node(kind, ["x", *more], **attributes)[0]


def split(net: Net) -> str:
    return net.node("Split", ["x", ints(1, 3)], 2, axis=1)[1]


CASES: dict[str, Case] = {
    "Add": Case(node("Add", "y"), second=(1, 1, 2)),
    "Add, the larger second": Case(node("Add", "y"), (3, 1), (2, 3, 2)),
    "BatchNormalization": Case(node("BatchNormalization", *(np.abs(weights(4)) for _ in range(4)))),
    "Concat": Case(node("Concat", "y", axis=1), second=(1, 2, 3, 2)),
    "Concat, of itself": Case(node("Concat", "x", axis=-1)),
    "Conv": Case(node("Conv", weights(5, 4, 1, 1), weights(5))),
    "Conv, in groups": Case(node("Conv", weights(6, 2, 1, 1), group=2)),
    "Conv, depthwise, of windows": Case(node("Conv", weights(4, 1, 3, 1), group=4, pads=[1, 0, 1, 0]), exact=False),
    "Conv, of strides": Case(node("Conv", weights(2, 4, 1, 1), strides=[2, 1])),
    "ConvTranspose": Case(node("ConvTranspose", weights(4, 2, 1, 1), strides=[2, 2]), exact=False),
    "ConvTranspose, in groups": Case(node("ConvTranspose", weights(4, 3, 1, 1), group=2)),
    "CumSum": Case(node("CumSum", np.array(2)), exact=False),
    "DepthToSpace": Case(node("DepthToSpace", blocksize=2)),
    "DepthToSpace, the other": Case(node("DepthToSpace", blocksize=2, mode="CRD"), (1, 8, 3, 2)),
    "Einsum": Case(node("Einsum", "y", equation="bcij,bkc->bkij"), second=(1, 3, 4)),
    "Expand": Case(node("Expand", ints(2, 4, 3, 2)), (4, 1, 2)),
    "Flatten": Case(node("Flatten", axis=2)),
    "Gather": Case(node("Gather", ints(2, -4, 2), axis=1)),
    "Gather, one": Case(node("Gather", np.array(1), axis=1)),
    "Gather, a table": Case(node("Gather", ints(0, 1, 3, 2).reshape(2, 2), axis=1), exact=False),
    "GatherElements": Case(node("GatherElements", ints(0, 1).reshape(1, 2, 1, 1), axis=1), exact=False),
    "GatherND": Case(node("GatherND", ints(0, 1, 0, 2).reshape(2, 2)), exact=False),
    "Gelu": Case(node("Gelu"), opset=20),
    "Gemm": Case(node("Gemm", "y", transA=1), (3, 2), (3, 4)),
    "Gemm, a weight that is turned": Case(node("Gemm", weights(5, 2), weights(5), transB=1), (3, 2)),
    "GlobalAveragePool": Case(node("GlobalAveragePool")),
    "InstanceNormalization": Case(node("InstanceNormalization", weights(4), weights(4))),
    "LayerNormalization": Case(node("LayerNormalization", weights(4)), (1, 3, 4)),
    "MatMul": Case(node("MatMul", "y"), (2, 3, 4), (4, 2)),
    "MatMul, broadcast": Case(node("MatMul", "y"), (1, 3, 4), (2, 4, 2)),
    "MatMul, of a vector": Case(node("MatMul", "y"), (4,), (4, 2), exact=False),
    "MaxPool": Case(node("MaxPool", kernel_shape=[1, 2]), exact=False),
    "Pad": Case(node("Pad", ints(0, 1, 0, -1, 0, 2, 1, 0))),
    "Pad, by what is there": Case(node("Pad", ints(0, 0, 1, 0, 0, 0, 1, 0), mode="reflect"), exact=False),
    "PRelu": Case(node("PRelu", weights(4, 1, 1))),
    "ReduceMean": Case(node("ReduceMean", ints(2, -1))),
    "ReduceMean, without the axes": Case(node("ReduceMean", ints(1), keepdims=0)),
    "ReduceMean, of all": Case(node("ReduceMean")),
    "Reshape": Case(node("Reshape", ints(2, 2, -1))),
    "Resize": Case(node("Resize", None, np.float32([1, 1, 1, 2]), mode="nearest"), exact=False),
    "RoiAlign": Case(
        node("RoiAlign", np.float32([[0, 0, 1, 1]]), ints(0), output_height=1, output_width=2), exact=False
    ),
    "MaxRoiPool": Case(node("MaxRoiPool", np.float32([[0, 0, 0, 1, 1]]), pooled_shape=[1, 1]), exact=False),
    "ScatterElements": Case(
        node("ScatterElements", ints(0, 1).reshape(1, 2, 1, 1), "y", axis=1), second=(1, 2, 1, 1), exact=False
    ),
    "ScatterND": Case(node("ScatterND", ints(1, 0, 2, 1).reshape(2, 2), "y"), (3, 2, 2), (2, 2)),
    "ScatterND, added": Case(
        node("ScatterND", ints(1, 0, 2, 1).reshape(2, 2), "y", reduction="add"), (3, 2, 2), (2, 2), exact=False
    ),
    "ScatterND, multiplied": Case(
        node("ScatterND", ints(1, 0, 2, 1).reshape(2, 2), "y", reduction="mul"), (3, 2, 2), (2, 2), exact=False
    ),
    "GridSample": Case(node("GridSample", np.full((1, 3, 2, 2), 0.3)), exact=False),
    "Slice": Case(node("Slice", ints(1, 0), ints(-1, 9), ints(1, -2), ints(1, 2))),
    "Slice, backwards": Case(node("Slice", ints(3), ints(-(2**62)), ints(1), ints(-2))),
    "Slice, without axes": Case(node("Slice", ints(0, 2), ints(1, 4))),
    "Softmax": Case(node("Softmax", axis=1)),
    "Softmax, of old": Case(node("Softmax", axis=2), opset=11),
    "SpaceToDepth": Case(node("SpaceToDepth", blocksize=2), (1, 2, 4, 2)),
    "Split": Case(split),
    "Squeeze": Case(node("Squeeze", ints(0))),
    "Tile": Case(node("Tile", ints(1, 2, 1, 3))),
    "TopK": Case(lambda net: net.node("TopK", ["x", ints(2)], 2, axis=1)[0], exact=False),
    "Transpose": Case(node("Transpose", perm=[3, 0, 2, 1])),
    "Transpose, all axes": Case(node("Transpose")),
    "Unsqueeze": Case(node("Unsqueeze", ints(1))),
    "Where": Case(node("Where"), second=(1, 1, 2)),
}
CASES["Where"] = CASES["Where"]._replace(write=lambda net: net.Where(np.array([True, False]), "x", "y"), exact=False)


def _model(case: Case) -> tuple[Any, dict[str, np.ndarray], str]:
    net = Net(case.opset)
    shapes = {"x": case.shape} | ({"y": case.second} if case.second is not None else {})
    for name, shape in shapes.items():
        net.input(name, shape)
    out = case.write(net)
    given = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return net.proto({out: TensorProto.FLOAT}), given, out


def _run(proto: Any, given: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Which outputs move with each element of an input: [outputs, inputs]."""
    running = open_session(ir.from_proto(proto))
    before = running.run(None, given)[0]
    found = np.zeros((before.size, given[name].size), bool)
    for place in range(given[name].size):
        for step in (0.5, -3.0, 40.0):  # a maximum moves by what is large
            moved = given[name].copy()
            moved.reshape(-1)[place] += step
            found[:, place] |= (running.run(None, {**given, name: moved})[0] != before).reshape(-1)
    return found


def _one(value: ir.Value, place: int) -> np.ndarray:
    marks = np.zeros([int(size or 1) for size in sizes_of(value)], np.uint8)
    marks.reshape(-1)[place] = 1
    return marks


def _said(model: ir.Model, name: str, out: str, way: str) -> np.ndarray:
    """What marks tell, carried to the outputs of each input, or to the inputs of each output."""
    source, end = find_value(model.graph, name), find_value(model.graph, out)
    assert source is not None
    assert end is not None
    starts, other = (source, end) if way == "forward" else (end, source)
    walk = forward if way == "forward" else backward
    count = int(np.prod([size or 1 for size in sizes_of(starts)]))
    shape = [int(size or 1) for size in sizes_of(other)]
    columns = []
    for place in range(count):
        marks = walk(Flows(model.graph), {starts: _one(starts, place)}).get(
            other, np.zeros((1,) * len(shape), np.uint8)
        )
        columns.append(np.broadcast_to(marks, shape).reshape(-1) > 0)
    table = np.stack(columns, 1)
    return table if way == "forward" else table.T


@pytest.mark.parametrize("name", CASES)
def test_marks_against_runs(name: str) -> None:
    case = CASES[name]
    proto, given, out = _model(case)
    model = ir.from_proto(proto)
    ir.passes.common.ShapeInferencePass()(model)
    for read in given:
        seen = _run(proto, given, read)
        told, back = (_said(model, read, out, way) for way in ("forward", "backward"))
        assert seen.any()
        assert not (seen & ~told).any(), read
        assert (told == back).all(), read
        if case.exact:
            assert (seen == told).all(), read


def test_each_operator_that_is_read_in_a_way_of_its_own_has_a_case() -> None:
    assert set(READS) <= {name.partition(",")[0] for name in CASES}


def _net(write: Callable[[Net], str], shape: tuple[int | str, ...]) -> tuple[ir.Model, ir.Value, ir.Value]:
    net = Net()
    net.input("x", shape)
    out = write(net)
    model = net.model({out: TensorProto.FLOAT})
    source, end = find_value(model.graph, "x"), find_value(model.graph, out)
    assert source is not None
    assert end is not None
    return model, source, end


def test_columns_are_followed_where_the_number_of_rows_is_not_known() -> None:
    """Rows of boxes and scores [K, 3·5]: reshaped, turned, cut."""

    def write(net: Net) -> str:
        turned = net.Transpose(net.Reshape("x", ints(-1, 3, 5)), perm=[0, 2, 1])
        return net.Slice(turned, ints(1), ints(3), ints(1))

    model, source, end = _net(write, ("K", 15))
    found = backward(Flows(model.graph), {end: np.ones((1, 1, 1), np.uint8)})[source]
    assert found.shape == (1, 15)
    assert found[0].tolist() == [0, 1, 1, 0, 0] * 3


def test_rows_that_are_laid_out_anew_are_all_marked() -> None:
    """[K, 2, 5] as [2, K, 5]: where a row goes depends on their number."""
    model, source, end = _net(lambda net: net.Reshape("x", ints(2, -1, 5)), ("K", 2, 5))
    marks = np.zeros((2, 1, 5), np.uint8)
    marks[0, 0, 3] = 1
    assert backward(Flows(model.graph), {end: marks})[source].shape == (1, 1, 1)


def test_an_unknown_operator_mixes_everything() -> None:
    net = Net()
    net.input("x", (1, 2, 2))
    net.node("Identity", [net.node("Own", ["x"], domain="some.domain", name="own")[0]], name="end")
    model = ir.from_proto(net.proto({"end": TensorProto.FLOAT}))
    source, own = find_value(model.graph, "x"), find_value(model.graph, "own")
    assert source is not None
    assert own is not None
    own.shape = ir.Shape([1, 2, 2])
    marks = np.zeros((1, 2, 2), np.uint8)
    marks[0, 1, 1] = 1
    assert (forward(Flows(model.graph), {source: marks})[own] == 1).all()


def test_what_is_cut_or_stopped_passes_no_mark() -> None:
    net = Net()
    net.input("x", (1, 2, 2))
    model = net.model({net.Neg(net.node("Relu", ["x"], name="middle")[0]): TensorProto.FLOAT})
    source, middle, end = (find_value(model.graph, name) for name in ("x", "middle", model.graph.outputs[0].name or ""))
    assert source is not None
    assert middle is not None
    assert end is not None
    every = np.ones((1, 1, 1), np.uint8)
    assert end not in forward(Flows(model.graph), {source: every}, [middle])
    assert set(backward(Flows(model.graph), {end: every}, [middle])) == {end, middle}


@pytest.mark.parametrize(
    ("case", "expected"),
    [("InstanceNormalization", True), ("BatchNormalization", True), ("Softmax", False), ("GlobalAveragePool", False)],
)
def test_what_stays_in_its_place(case: str, expected: bool) -> None:
    proto, _, out = _model(CASES[case])
    model = ir.from_proto(proto)
    ir.passes.common.ShapeInferencePass()(model)
    source, end = find_value(model.graph, "x"), find_value(model.graph, out)
    assert source is not None
    assert end is not None
    producer = end.producer()
    assert producer is not None
    assert stays_in_place(producer, end, source) is expected
