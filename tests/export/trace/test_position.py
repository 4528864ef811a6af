"""Coordinates that are integers where the export knows them, and values where only a run does."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from boxcam.errors import TraceError
from boxcam.export.graphs.extract import add_output
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.run import run_model
from boxcam.export.trace import position as at
from tests.export.export_graphs import Net


class Bench:
    """A graph with an input ``k`` of K coordinates, one ``one`` that all share, and a tensor of open sizes."""

    def __init__(self) -> None:
        net = Net()
        for name, shape in (("k", ["K"]), ("one", [1]), ("table", ["h", "w"])):
            net.input(name, shape, TensorProto.INT64)
        net.node("Identity", ["k"], name="out")
        self.model = net.model({"out": TensorProto.INT64})
        self.op = Ops(self.model.graph, "t")
        self.k, self.one, self.table = self.model.graph.inputs

    def result(self, *coordinates: at.Coordinate, table: np.ndarray | None = None) -> list[list[int]]:
        """The coordinates of K = 3 elements, k = 0, 5, 7; one = 2."""
        value = at.stack(self.op, coordinates, (self.k,))
        add_output(self.model.graph, value)
        self.model.graph.sort()
        given = np.zeros((4, 6), np.int64) if table is None else table
        feeds = {"k": np.array([0, 5, 7]), "one": np.array([2]), "table": given}
        found: list[list[int]] = run_model(self.model, feeds)[str(value.name)].T.tolist()
        return found


def test_integers_are_computed_at_export_and_write_no_node() -> None:
    bench = Bench()
    before = len(bench.model.graph)
    op = bench.op
    assert at.add(op, 2, 3) == 5
    assert at.subtract(op, 2, 3) == -1
    assert at.multiply(op, 2, 3) == 6
    assert at.divide(op, 17, 5) == (3, 2)
    assert at.add(op, bench.k, 0) is bench.k
    assert at.subtract(op, bench.k, 0) is bench.k
    assert at.multiply(op, 1, bench.k) is bench.k
    assert at.multiply(op, bench.k, 0) == 0
    assert at.divide(op, bench.k, 1) == (bench.k, 0)
    assert at.divide(op, 0, bench.k) == (0, 0)
    assert at.wrapped(op, 3, bench.table, 0) == 3
    assert len(bench.model.graph) == before


def test_values_and_integers_mix() -> None:
    bench = Bench()
    op, k, one = bench.op, bench.k, bench.one
    quotient, remainder = at.divide(op, k, 3)
    found = bench.result(
        at.add(op, k, one), at.subtract(op, 9, k), at.multiply(op, k, 2), quotient, remainder, 4, at.add(op, one, 1)
    )
    assert found == [[2, 7, 9], [9, 4, 2], [0, 10, 14], [0, 1, 2], [0, 2, 1], [4, 4, 4], [3, 3, 3]]


def test_what_is_added_moves_the_bounds() -> None:
    bench = Bench()
    op, k = bench.op, bench.k
    assert at.bounds(7) == (7, 7)
    assert at.bounds(k) is None
    at.bound(k, 2, 9)
    at.bound(k, 0, 7)
    assert at.bounds(k) == (2, 7)  # what is known of it does not get less
    assert at.bounds(at.add(op, k, 3)) == at.bounds(at.add(op, 3, k)) == (5, 10)
    assert at.bounds(at.subtract(op, k, 2)) == (0, 5)
    assert at.bounds(at.add(op, k, bench.one)) is None
    (some,) = at.some(op, (k,), op.value(np.array([1])))  # type: ignore[arg-type]
    assert at.bounds(some) == (2, 7)


def test_what_is_made_of_shared_coordinates_is_shared() -> None:
    bench = Bench()
    op, k, one = bench.op, bench.k, bench.one
    assert at.shared(one)
    assert at.shared(at.multiply(op, at.add(op, one, 3), one))
    assert at.shared(at.dimension(op, bench.table, 1))
    assert at.shared(at.wrapped(op, -1, bench.table, 0))
    assert not at.shared(at.add(op, one, k))
    assert not at.shared(k)
    assert not at.shared(7)


def test_elements_are_looked_up_by_integers_values_or_both() -> None:
    bench = Bench()
    op = bench.op
    table = np.arange(8 * 6).reshape(8, 6)
    by_both = at.at(op, bench.table, (bench.k, 2))
    by_integers = at.at(op, bench.table, (1, 2))
    constant = op.value(table)
    assert constant is not None
    assert at.at(op, constant, (3, 4)) == 22
    assert bench.result(by_both, by_integers, at.at(op, constant, (bench.k, 5)), table=table) == [
        [2, 32, 44],
        [8, 8, 8],
        [5, 35, 47],
    ]


def test_negative_indices_count_from_the_end() -> None:
    bench = Bench()
    op = bench.op
    shifted = at.subtract(op, bench.k, 5)  # -5, 0, 2
    found = bench.result(at.wrapped(op, shifted, bench.table, 1), at.wrapped(op, -2, bench.table, 0))
    assert found == [[1, 0, 2], [2, 2, 2]]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("before", "after"), [((2, 3, 4), (6, 4)), ((24,), (2, 3, 4)), ((4, 6), (3, 8)), ((8,), (8,))])
def test_a_reshaped_position_is_that_of_the_same_element(
    before: tuple[int, ...], after: tuple[int, ...], dynamic: bool
) -> None:
    net = Net()
    x = net.input("x", [f"a{n}" for n in range(len(before))] if dynamic else before)
    net.node("Reshape", [x, np.array(after)], name="y")
    model = net.model(["y"])
    op = Ops(model.graph, "t")
    elements = np.stack(np.unravel_index([0, 7, 3], after))
    values = [op.value(row) for row in elements]
    # Constants of one entry per element stand for the K elements.
    position = tuple(value for value in values if value is not None)
    found = at.stack(op, at.reshaped(op, position, model.graph.inputs[0], model.graph.outputs[0]))
    add_output(model.graph, found)
    model.graph.sort()
    result = run_model(model, {"x": np.zeros(before, np.float32)})[str(found.name)]
    np.testing.assert_array_equal(result, np.stack(np.unravel_index([0, 7, 3], before), 1))


def test_a_subset_keeps_what_is_fixed() -> None:
    bench = Bench()
    op = bench.op
    mask = op.Greater(bench.k, 3)
    chosen, (picked, fixed) = at.subset(op, mask, (bench.k, 4))
    assert fixed == 4
    assert isinstance(picked, ir.Value)
    for value in (chosen, picked):
        add_output(bench.model.graph, value)
    bench.model.graph.sort()
    feeds = {"k": np.array([0, 5, 7]), "one": np.array([2]), "table": np.zeros((4, 6), np.int64)}
    found = run_model(bench.model, feeds)
    assert found[str(chosen.name)].tolist() == [1, 2]
    assert found[str(picked.name)].tolist() == [5, 7]


def test_a_subset_keeps_the_column_of_a_flat_position() -> None:
    bench = Bench()
    op = bench.op
    flat = at.add(op, at.multiply(op, bench.k, 6), 4)
    (picked,) = at.some(op, (flat,), op.value(np.array([2, 0])))
    row, column = at.divide(op, picked, 6)
    assert column == 4
    assert isinstance(row, ir.Value)
    add_output(bench.model.graph, row)
    bench.model.graph.sort()
    feeds = {"k": np.array([0, 5, 7]), "one": np.array([2]), "table": np.zeros((4, 6), np.int64)}
    assert run_model(bench.model, feeds)[str(row.name)].tolist() == [7, 0]


def test_an_unknown_rank_is_refused() -> None:
    with pytest.raises(TraceError, match=r"the rank of 'odd', .* is not known"):
        at.rank(ir.Value(name="odd"))


@pytest.mark.parametrize(
    ("before", "after", "position", "expected"),
    [
        (["N", 2, 2], ["N", 4], ("k", 3), ("k", 1, 1)),
        (["N", 2, 2], ["N", 4], (5, 2), (5, 1, 0)),
        ([1, "N", 4], ["N", 4], ("k", 3), (0, "k", 3)),
        (["N", 1, 4], ["N", 4], ("k", 3), ("k", 0, 3)),
        (["N", 4], ["N", 1, 4, 1], ("k", 0, 3, 0), ("k", 3)),
        ([3, 4, 5], [3, 20], (2, "k"), (2, None, None)),
        ([6, 4, 5], [2, 3, 20], (1, 2, 7), (5, 1, 2)),
        ([2, 3], [3, 2], ("k", 1), (None, None)),
        ([2, 6, "N", 3], [2, 2, 3, "M"], (1, 1, 2, "k"), (1, 5, None, None)),  # two groups before an open one
        ([], [1, 1], (0, 0), ()),
        ([1, 1], [], (), (0, 0)),
    ],
)
def test_columns_stay_columns_when_rows_are_reshaped(
    before: list[int | str], after: list[int | str], position: tuple[int | str, ...], expected: tuple[int | str | None]
) -> None:
    """None: computed. A coordinate that is nothing but handed on costs no operation."""
    net = Net()
    net.input("k", ["n"], TensorProto.INT64)
    graph = net.model([]).graph
    k = graph.inputs[0]
    values = [ir.Value(name=name, shape=ir.Shape(shape)) for name, shape in (("b", before), ("a", after))]
    found = at.reshaped(Ops(graph, "test"), tuple(k if c == "k" else int(c) for c in position), *values)
    assert ["k" if c is k else c if isinstance(c, int) else None for c in found] == list(expected)


def test_a_column_comes_back_out_of_what_was_joined() -> None:
    """[R, C, 4] to rows of C * 4 and to rows of 4: sizes that only a run can tell stand in between."""
    net = Net()
    net.input("k", ["n"], TensorProto.INT64)
    graph = net.model([]).graph
    k, op = graph.inputs[0], Ops(graph, "test")
    shapes: list[list[int | str]] = [["N", 4], ["R", 320], ["R", 80, 4]]
    rows, wide, parts = (ir.Value(name=str(n), shape=ir.Shape(shape)) for n, shape in enumerate(shapes))
    inner = at.reshaped(op, at.reshaped(op, (k, 3), wide, rows), parts, wide)
    assert inner[2] == 3
    for coordinate in inner[:2]:
        assert isinstance(coordinate, ir.Value)
        add_output(graph, coordinate)
    found = run_model(ir.Model(graph, ir_version=9), {"k": np.array([0, 79, 80, 401])})
    assert [found[str(c.name)].tolist() for c in inner[:2] if isinstance(c, ir.Value)] == [[0, 0, 1, 5], [0, 79, 0, 1]]


@pytest.mark.parametrize(("divisor", "quotient", "remainder"), [(2, "2k + 1", 1), (4, "k", 3), (12, "k / 3", None)])
def test_what_was_multiplied_is_divided_without_losing_the_rest(
    divisor: int, quotient: str, remainder: int | None
) -> None:
    net = Net()
    net.input("k", ["n"], TensorProto.INT64)
    graph = net.model([]).graph
    op = Ops(graph, "test")
    first, second = at.divide(op, at.add(op, 3, at.multiply(op, 4, graph.inputs[0])), divisor)
    assert remainder is None or second == remainder
    add_output(graph, op.Identity(op.Add(op.Mul(first, divisor), second)))
    add_output(graph, op.Identity(first))
    results = list(run_model(ir.Model(graph, ir_version=9), {"k": np.array([0, 1, 2, 3, 7])}).values())
    assert results[0].tolist() == [3, 7, 11, 15, 31]
    assert results[1].tolist() == [n // divisor for n in (3, 7, 11, 15, 31)], quotient
