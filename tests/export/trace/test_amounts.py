"""What is known of the amounts of a Pad, compared with what ONNX Runtime computes."""

from __future__ import annotations

import io
import warnings

import numpy as np
import onnx as proto
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto

from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.run import run_model
from boxcam.export.trace.amounts import amounts
from tests.export.export_graphs import Net


def known(model: ir.Model, name: str) -> object:
    value = next(v for node in model.graph for v in node.outputs if v.name == name)
    found = amounts(value)
    return None if found is None else found.tolist()


def turned(net: Net, rest: str, by: int = -1) -> str:
    pairs = net.Reshape(net.Concat(np.array([0, 0, 5]), rest, axis=0), np.array([-1, 2]))
    last = np.iinfo(np.int64).min if by < 0 else np.iinfo(np.int64).max
    ends = np.array([min(by, 1)]), np.array([last])
    rows = net.node("Slice", [pairs, *ends, np.array([0]), np.array([by])])[0]
    return net.Identity(net.Reshape(net.Transpose(rows, perm=[1, 0]), np.array([-1])))


@pytest.mark.parametrize(("by", "expected"), [(-1, [5, 0, None, 0]), (1, [5, None])])
def test_lists_that_are_turned_around(by: int, expected: list[int | None]) -> None:
    net = Net()
    rest = net.Cast(net.Unsqueeze(net.input("n", [], TensorProto.INT32), np.array([0])), to=TensorProto.INT64)
    name = turned(net, rest, by)
    net.node("Cast", [name], name="numbers", to=TensorProto.FLOAT)
    model = net.model(["numbers"])
    assert known(model, name) == expected
    for n in (3, 7):
        computed = run_model(model, {"n": np.array(n, np.int32)})["numbers"].tolist()
        assert computed == [n if number is None else number for number in expected]


def unknown(net: Net) -> str:
    """A list of 2 and then one number that only a run can tell."""
    rest = net.Cast(net.Unsqueeze(net.input("n", [], TensorProto.INT32), np.array([0])), to=TensorProto.INT64)
    return net.Concat(np.array([2]), rest, axis=0)


@pytest.mark.parametrize("length", [1, 4, 7])
def test_slices_are_those_of_onnx_runtime(length: int) -> None:
    """With the last number of each list unknown: where it is, nothing, or all, is said."""
    rng = np.random.default_rng(length)
    for _ in range(25):
        start, end = (int(number) for number in rng.integers(-length, length + 3, 2))
        step = int(rng.choice([-2, -1, 1, 2, 3]))
        if step < 0 and rng.random() < 0.5:
            end = int(np.iinfo(np.int64).min)
        net = Net()
        rest = net.Cast(net.Unsqueeze(net.input("n", [], TensorProto.INT32), np.array([0])), to=TensorProto.INT64)
        numbers = net.Concat(np.arange(10, 9 + length), rest, axis=0)
        name = net.Slice(numbers, np.array([start]), np.array([end]), np.array([0]), np.array([step]))
        net.node("Cast", [name], name="numbers", to=TensorProto.FLOAT)
        model = net.model(["numbers"])
        found = known(model, name)
        computed = run_model(model, {"n": np.array(99, np.int32)})["numbers"].tolist()
        assert isinstance(found, list)
        assert [99 if number is None else number for number in found] == computed, (start, end, step)


def test_slices_of_some_axes_and_without_steps() -> None:
    net = Net()
    table = net.Reshape(net.Concat(unknown(net), np.arange(4), axis=0), np.array([3, 2]))
    rows = net.Slice(table, np.array([1]), np.array([3]))
    last = net.Slice(table, np.array([1, 1]), np.array([2, 9]), np.array([1, 0]))
    turned = net.Transpose(table)
    for number, name in enumerate((rows, last, turned)):
        net.node("Cast", [name], name=f"numbers{number}", to=TensorProto.FLOAT)
    model = net.model(["numbers0", "numbers1", "numbers2"])
    assert known(model, table) == [[2, None], [0, 1], [2, 3]]
    assert known(model, rows) == [[0, 1], [2, 3]]
    assert known(model, last) == [[1], [3]]
    assert known(model, turned) == [[2, 0, 2], [None, 1, 3]]


def test_where_the_place_itself_is_unknown_only_the_size_is_known() -> None:
    net = Net()
    pair = unknown(net)
    by_unknown = net.Slice(np.arange(12).reshape(3, 4), pair, np.array([4, 5]), np.array([0, 1]))
    shaped = net.Reshape(np.arange(4), pair)
    kept = net.Reshape(pair, np.array([0, 1]))  # 0: as large as it was, which is not looked up
    for number, name in enumerate((by_unknown, shaped, kept)):
        net.node("Cast", [name], name=f"numbers{number}", to=TensorProto.FLOAT)
    graph = net.model(["numbers0", "numbers1", "numbers2"])
    values = {str(v.name): v for node in graph.graph for v in node.outputs}
    values[by_unknown].shape = values[shaped].shape = None
    values[kept].shape = ir.Shape([2, 1])
    assert known(graph, by_unknown) is None
    assert known(graph, shaped) is None
    assert known(graph, kept) == [[None], [None]]


def test_nothing_is_known_of_a_sum_and_not_even_its_length() -> None:
    net = Net()
    n = net.input("n", ["any"], TensorProto.INT64)
    name = net.Concat(np.array([1]), net.Add(n, n), axis=0)
    net.node("Cast", [name], name="numbers", to=TensorProto.FLOAT)
    assert known(net.model(["numbers"]), name) is None


class Padded(torch.nn.Module):
    def forward(self, x: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(x, (0, 0, 0, others.shape[0]))


def test_the_axis_that_torch_does_not_pad() -> None:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Padded(),
            (torch.ones(3, 4), torch.ones(5)),
            file,  # type: ignore[arg-type]
            dynamo=False,
            input_names=["x", "others"],
            dynamic_axes={"others": [0]},
            opset_version=17,
        )
    model = fold_model(ir.from_proto(proto.load_from_string(file.getvalue())))
    pads = next(node for node in model.graph if node.op_type == "Pad").inputs[1]
    assert pads is not None
    found = amounts(pads)
    assert found is not None
    assert found.tolist() == [0, 0, None, 0]
