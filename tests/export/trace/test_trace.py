"""Every selection operator, run by ONNX Runtime; where a score came from is found again by its value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from boxcam.bundle import Outputs
from boxcam.errors import TraceError
from boxcam.export.graphs.extract import add_output
from boxcam.export.graphs.run import record_ranks, run_model
from boxcam.export.trace.trace import trace
from boxcam.export.trace.tracer import SELECTION as _RULES
from tests.export.export_graphs import Arrays, Net, Shape, branch

SCORES = "scores"
Build = Callable[..., str]


@dataclass(frozen=True)
class Case:
    """A way from class scores (one tensor per level) to the reported scores."""

    build: Build
    shapes: tuple[tuple[int, ...], ...]
    activation: str = "Sigmoid"
    error: float = 1e-6  # of the scores
    axis: int = -1
    dynamic: bool = False
    column: int | None = None
    feeds: tuple[Arrays, ...] = ({},)


@dataclass
class Cases:
    all: dict[str, Case] = field(default_factory=dict)

    def __call__(self, *shapes: tuple[int, ...], **options: object) -> Callable[[Build], Build]:
        def put(build: Build) -> Build:
            assert build.__name__ not in self.all
            self.all[build.__name__] = Case(build, shapes, **options)  # type: ignore[arg-type]
            return build

        return put


case = Cases()


def distinct(shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray]:
    """Logits of which no two are equal, in [-3, 3]."""
    count = sum(int(np.prod(shape)) for shape in shapes)
    values = np.random.default_rng(count).permutation(np.linspace(-3, 3, count)).astype(np.float32)
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(values, ends[:-1]), shapes, strict=True)]


def level(net: Net, number: int, shape: Shape, activation: str, axis: int) -> str:
    """An input, the logits made of it, their activation."""
    logits = net.node("Add", [net.input(f"x{number}", shape), np.float32(0.25)], name=f"logits{number}")[0]
    if activation == "Identity":
        return logits
    return net.Sigmoid(logits) if activation == "Sigmoid" else net.Softmax(logits, axis=axis)


def activated(logits: np.ndarray, activation: str, axis: int) -> np.ndarray:
    exact = logits.astype(np.float64)
    if activation == "Sigmoid":
        return 1 / (1 + np.exp(-exact))
    if activation == "Softmax":
        return np.exp(exact) / np.exp(exact).sum(axis, keepdims=True)
    return exact


def built(case: Case) -> ir.Model:
    net = Net()
    shapes = [tuple(f"d{n}_{a}" for a in range(len(s))) if case.dynamic else s for n, s in enumerate(case.shapes)]
    scores = [level(net, n, shape, case.activation, case.axis) for n, shape in enumerate(shapes)]
    net.node("Identity", [case.build(net, *scores)], name=SCORES)
    return net.model([SCORES])


def run_traced(model: ir.Model, feeds: Arrays, column: int | None = None) -> tuple[Arrays, tuple[str, ...]]:
    """Outputs of the traced graph, the logits among them; names of the logits as origin numbers them."""
    record_ranks(model, feeds)
    before = run_model(model, feeds)
    found = trace(model.graph, Outputs("boxes", SCORES, "labels", score_column=column))
    for value in found.logits:
        add_output(model.graph, value)
    results = run_model(model, feeds)
    np.testing.assert_array_equal(results[SCORES], before[SCORES])
    return results, tuple(str(value.name) for value in found.logits)


def reported(results: Arrays, column: int | None) -> np.ndarray:
    scores = results[SCORES]
    return (scores if column is None else scores[..., column]).reshape(-1)


def check(case: Case, feeds: Arrays) -> None:
    logits = distinct(case.shapes)
    inputs = {f"x{n}": values - np.float32(0.25) for n, values in enumerate(logits)}
    results, names = run_traced(built(case), {**inputs, **feeds}, case.column)
    scores = reported(results, case.column)
    origin, logit = results["origin"], results["logit"]
    assert origin.shape == (len(scores), 1 + max(results[name].ndim for name in names))
    assert logit.shape == scores.shape
    levels = [int(name.removeprefix("logits")) for name in names]  # the number in origin → the level
    for score, row, value in zip(scores, origin, logit, strict=True):
        if score == 0:  # no activation gives it: a filler
            assert (row[0], value) == (-1, 0)
            continue
        # Where is a score nearest to this one? Nothing but values is used.
        candidates = [
            (abs(float(s) - float(score)), n, position)
            for n, values in enumerate(logits)
            for position, s in np.ndenumerate(activated(values, case.activation, case.axis))
        ]
        (error, n, position), (next_error, *_) = sorted(candidates, key=lambda c: c[0])[:2]
        assert error < case.error < next_error, "the case does not tell its logits apart"
        assert levels[row[0]] == n
        assert tuple(row[1 : 1 + len(position)]) == position
        assert not row[1 + len(position) :].any()
        assert value == results[names[row[0]]][position]


# Rounding -------------------------------------------------------------------------------------------------------


@case((1, 12), error=0.5 / 255 + 1e-6)
def rounded_to_integers(net: Net, s: str) -> str:
    pair = np.float32(1 / 255), np.uint8(0)
    chosen = net.node("TopK", [net.DequantizeLinear(net.QuantizeLinear(s, *pair), *pair), np.array([5])], 2)[0]
    return net.DequantizeLinear(net.QuantizeLinear(chosen, *pair), *pair)


# Shapes ---------------------------------------------------------------------------------------------------------


@case((1, 3, 4))
def reshape_to_static(net: Net, s: str) -> str:
    return net.Reshape(net.Transpose(net.Reshape(s, np.array([2, 3, 2])), perm=[2, 0, 1]), np.array([1, 12]))


@case((1, 3, 4))
def reshape_with_zero_and_rest(net: Net, s: str) -> str:
    return net.Reshape(s, np.array([0, -1]))


@case((2, 3, 4), dynamic=True)
def reshape_of_dynamic_sizes(net: Net, s: str) -> str:
    rows = net.Transpose(net.Reshape(s, np.array([0, -1])), perm=[1, 0])
    return net.Reshape(rows, np.array([1, -1]))


@case((2, 3, 4), dynamic=True)
def reshape_to_a_computed_shape(net: Net, s: str) -> str:
    last = net.Slice(net.Shape(s), np.array([2]), np.array([3]))
    wide = net.Reshape(s, net.Concat(last, np.array([-1]), axis=0))
    return net.Reshape(net.Transpose(wide, perm=[1, 0]), np.array([-1]))


@case((2, 3, 4))
def flatten_at_each_axis(net: Net, s: str) -> str:
    two = net.Transpose(net.Flatten(s, axis=2), perm=[1, 0])
    return net.Flatten(net.Transpose(net.Flatten(two, axis=-1), perm=[1, 0]), axis=0)


@case((1, 5, 1))
def squeeze_given_axes(net: Net, s: str) -> str:
    return net.Squeeze(s, np.array([-1]))


@case((1, 5, 1))
def squeeze_all(net: Net, s: str) -> str:
    return net.Squeeze(s)


@case((5, 3))
def unsqueeze_between_and_from_the_end(net: Net, s: str) -> str:
    return net.Reshape(
        net.Transpose(net.Unsqueeze(s, np.array([-1, 0, 2])), perm=[4, 3, 2, 1, 0]), net.constant(np.array([1, -1]))
    )


@case((3, 4))
def transpose_without_perm(net: Net, s: str) -> str:
    return net.Flatten(net.Transpose(s), axis=0)


@case((2, 3, 4))
def transpose_that_is_not_its_own_inverse(net: Net, s: str) -> str:
    return net.Flatten(net.Transpose(s, perm=[1, 2, 0]), axis=0)


@case((6,))
def same_place(net: Net, s: str) -> str:
    double = net.Cast(net.Identity(s), to=TensorProto.DOUBLE)
    return net.Dropout(net.Cast(double, to=TensorProto.FLOAT))


# Joining and taking apart ---------------------------------------------------------------------------------------


@case((1, 3), (1, 5), (1, 2))
def concat_of_levels(net: Net, *levels: str) -> str:
    return net.Concat(*levels, axis=-1)


@case((1, 3, 2), (1, 4, 2), (1, 2, 2), dynamic=True)
def concat_of_levels_of_dynamic_sizes(net: Net, *levels: str) -> str:
    return net.Reshape(net.Concat(*levels, axis=1), np.array([1, -1]))


@case((1, 2, 3), (1, 2, 3))
def concat_of_other_axis(net: Net, a: str, b: str) -> str:
    return net.Gather(net.Gather(net.Concat(a, b, axis=0), np.array(1), axis=0), np.array(1), axis=0)


@case((7,), (4,))
def concat_with_an_empty_input(net: Net, a: str, b: str) -> str:
    none = net.Gather(a, net.Reshape(net.NonZero(net.Greater(a, np.float32(2))), np.array([-1])))
    some = net.Gather(b, net.Reshape(net.NonZero(net.Greater(b, np.float32(0.5))), np.array([-1])))
    return net.Concat(none, some, none, axis=0)


@case((1, 6), (3,), column=4)
def concat_of_boxes_and_scores_and_a_filler(net: Net, a: str, unused: str) -> str:
    """What mmdeploy exports: columns x1 y1 x2 y2 score, then one row of zeros for an image without detections."""
    boxes = net.constant(np.random.default_rng(0).random((1, 6, 4)))
    dets = net.Concat(boxes, net.Unsqueeze(a, np.array([2])), axis=2)
    chosen = net.Reshape(net.NonZero(net.Greater(net.Squeeze(a, np.array([0])), np.float32(0.4))), np.array([-1]))
    return net.Concat(net.Gather(dets, chosen, axis=1), np.zeros((1, 1, 5)), axis=1)


@case((10,))
def slice_from_a_negative_start(net: Net, s: str) -> str:
    return net.Slice(s, np.array([-7]), np.array([-2]))


@case((10,))
def slice_from_before_the_first(net: Net, s: str) -> str:
    return net.Slice(s, np.array([-100]), np.array([4]))


@case((4, 9))
def slice_with_steps(net: Net, s: str) -> str:
    ends = np.array([2**63 - 1, 2**63 - 1])
    return net.Flatten(net.Slice(s, np.array([1, 2]), ends, np.array([-2, 1]), np.array([2, 3])), axis=0)


@case((10,))
def slice_backwards(net: Net, s: str) -> str:
    return net.Slice(s, np.array([2**63 - 1]), np.array([-(2**63)]), np.array([0]), np.array([-3]))


@case((10,))
def slice_backwards_from_within(net: Net, s: str) -> str:
    return net.Slice(s, np.array([-3]), np.array([1]), np.array([0]), np.array([-2]))


@case((10,), dynamic=True)
def slice_of_dynamic_sizes(net: Net, s: str) -> str:
    tail = net.Slice(s, np.array([-8]), np.array([2**63 - 1]))
    back = net.Slice(tail, np.array([2**63 - 1]), np.array([-(2**63)]), np.array([0]), np.array([-1]))
    return net.Slice(back, np.array([-100]), np.array([-1]))


@case((3, 10), feeds=({"start": np.array([3], np.int32)}, {"start": np.array([-4], np.int32)}))
def slice_from_a_small_integer(net: Net, s: str) -> str:
    start = net.input("start", [1], TensorProto.INT32)
    return net.Flatten(net.Slice(s, start, net.constant(np.array([99], np.int32)), np.array([1], np.int32)), axis=0)


@case((10,), feeds=({"start": np.array([3])}, {"start": np.array([-4])}, {"start": np.array([-40])}))
def slice_from_a_computed_start(net: Net, s: str) -> str:
    return net.Slice(s, net.input("start", [1], TensorProto.INT64), np.array([2**63 - 1]))


@case((3, 5), feeds=({"start": np.array([1, 2])}, {"start": np.array([-1, -5])}))
def slice_from_a_computed_start_of_a_fixed_axis(net: Net, s: str) -> str:
    ends = net.Add(net.input("start", [2], TensorProto.INT64), np.array([1, 2]))
    ends = net.Where(np.array([True, False]), net.Where(net.Equal(ends, np.array(0)), np.array(99), ends), np.array(99))
    return net.Slice(s, "start", ends, np.array([0, 1]))


@case((2, 9))
def split_given_sizes(net: Net, s: str) -> str:
    a, b, c = net.node("Split", [s, np.array([2, 3, 4])], outputs=3, axis=-1)
    return net.Flatten(net.Concat(c, a, axis=1), axis=0) if b else ""


@case((10, 2))
def split_unevenly(net: Net, s: str) -> str:
    parts = net.node("Split", [s], outputs=4, num_outputs=4)
    return net.Flatten(net.Concat(parts[3], parts[1], axis=0), axis=0)


@case((9, 2), dynamic=True)
def split_of_dynamic_size(net: Net, s: str) -> str:
    parts = net.node("Split", [s], outputs=2, num_outputs=2)
    return net.Flatten(net.Concat(parts[1], parts[0], axis=0), axis=0)


# Picking --------------------------------------------------------------------------------------------------------


@case((2, 5, 3))
def gather_along_each_axis(net: Net, s: str) -> str:
    rows = net.Gather(s, np.array([4, 0, -1, 2]), axis=1)
    return net.Flatten(net.Gather(rows, np.array([-1, 1]), axis=-1), axis=0)


@case((2, 5))
def gather_a_scalar_index(net: Net, s: str) -> str:
    return net.Gather(s, np.array(-1), axis=0)


@case((5, 2))
def gather_by_indices_of_two_axes(net: Net, s: str) -> str:
    return net.Flatten(net.Gather(s, np.array([[0, 3, 1], [-1, 2, 0]]), axis=0), axis=0)


@case((5, 4), feeds=({"i": np.array([[3, -2]])}, {"i": np.zeros((1, 0), np.int64)}))
def gather_by_computed_indices(net: Net, s: str) -> str:
    picked = net.Gather(s, net.input("i", [1, "n"], TensorProto.INT64), axis=1)
    return net.Reshape(net.Transpose(picked, perm=[1, 2, 0]), np.array([1, -1]))


@case((3, 5), feeds=({"i": np.array(1)}, {"i": np.array(-1)}))
def gather_by_a_computed_scalar(net: Net, s: str) -> str:
    return net.Gather(s, net.input("i", [], TensorProto.INT64), axis=0)


@case((3, 5), feeds=({"i": np.array([1])}, {"i": np.array([-3])}))
def gather_by_one_computed_index(net: Net, s: str) -> str:
    return net.Gather(s, net.input("i", [1], TensorProto.INT64), axis=0)


@case((4,), feeds=({"i": np.array([3, -2, 0], np.int32)}, {"i": np.array([1], np.int32)}))
def gather_by_small_integers(net: Net, s: str) -> str:
    return net.Gather(s, net.input("i", ["n"], TensorProto.INT32))


@case((3, 4), feeds=({"i": np.array([[0, -1, 2, 1], [1, 1, 0, -3]])},))
def gather_elements(net: Net, s: str) -> str:
    return net.Flatten(net.GatherElements(s, net.input("i", [2, 4], TensorProto.INT64), axis=0), axis=0)


@case((3, 4))
def gather_elements_by_constants(net: Net, s: str) -> str:
    return net.Flatten(net.GatherElements(s, np.array([[0, -1], [2, 1], [3, 3]]), axis=-1), axis=0)


@case((3, 4, 2), feeds=({"i": np.array([[2, -1], [0, 1], [-3, 0]])}, {"i": np.zeros((0, 2), np.int64)}))
def gather_nd(net: Net, s: str) -> str:
    return net.Reshape(net.GatherND(s, net.input("i", ["n", 2], TensorProto.INT64)), np.array([-1]))


@case((2, 4, 3))
def gather_nd_with_batches(net: Net, s: str) -> str:
    return net.Flatten(net.GatherND(s, np.array([[[3], [-2]], [[0], [1]]]), batch_dims=1), axis=0)


@case((2, 4, 3), feeds=({"i": np.array([[1, 3]])}, {"i": np.array([[-1, 0]])}))
def gather_nd_by_one_computed_index(net: Net, s: str) -> str:
    return net.GatherND(s, net.input("i", [1, 2], TensorProto.INT64))


@case((1, 4, 6))
def top_k(net: Net, s: str) -> str:
    best, _ = net.node("TopK", [s, np.array([3])], outputs=2, axis=-1)
    worst, _ = net.node("TopK", [best, np.array([2])], outputs=2, axis=1, largest=0)
    return net.Reshape(worst, np.array([1, -1]))


@case((1, 7, 3))
def reduce_max_of_classes(net: Net, s: str) -> str:
    return net.ReduceMax(s, np.array([-1]), keepdims=0)


@case((1, 7, 3))
def reduce_max_that_keeps_its_axis(net: Net, s: str) -> str:
    return net.Squeeze(net.Transpose(net.ReduceMax(s, np.array([1]), keepdims=1), perm=[0, 2, 1]), np.array([2]))


@case((1, 7, 3))
def reduce_min(net: Net, s: str) -> str:
    return net.ReduceMin(s, np.array([2]), keepdims=0)


@case((5, 3), feeds=({"keep": np.array([True, False, False, True, True])}, {"keep": np.zeros(5, bool)}))
def compress_rows(net: Net, s: str) -> str:
    return net.Flatten(net.Compress(s, net.input("keep", [5], TensorProto.BOOL), axis=0), axis=0)


@case((2, 3), dynamic=True)
def compress_of_all_axes(net: Net, s: str) -> str:
    return net.Compress(s, np.array([False, True, True, False, True]))


@case((2, 3))
def pad_with_zeros_and_cut(net: Net, s: str) -> str:
    return net.Flatten(net.Pad(s, np.array([1, -1, 0, 2])), axis=0)


@case((2, 3), dynamic=True)
def pad_one_axis(net: Net, s: str) -> str:
    return net.Reshape(net.Pad(s, np.array([2, 1]), np.float32(0), np.array([-1])), np.array([-1]))


@case((2, 3))
def pad_that_moves_and_keeps_the_size(net: Net, s: str) -> str:
    return net.Flatten(net.Pad(s, np.array([-1, 1, 1, -1])), axis=0)


AMOUNTS = (
    {"amounts": np.array([0, 0, 0, 0])},
    {"amounts": np.array([0, 1, 0, -1])},
    {"amounts": np.array([1, -2, -1, 2])},
)


@case((3, 4), feeds=AMOUNTS)
def pad_by_amounts_that_are_computed(net: Net, s: str) -> str:
    return net.Reshape(net.Pad(s, net.input("amounts", [4], TensorProto.INT64)), np.array([12]))


# Level assembly -------------------------------------------------------------------------------------------------


@case((7, 2), (7, 2))
def scatter_nd_of_rows(net: Net, a: str, b: str) -> str:
    upper = net.Greater(net.Gather(b, np.array(1), axis=1), np.float32(0.5))
    chosen = net.Transpose(net.NonZero(upper), perm=[1, 0])
    moved = net.ScatterND(a, chosen, net.GatherND(b, chosen))
    return net.Flatten(moved, axis=0)


@case((7, 2), (7, 2))
def scatter_nd_of_nothing(net: Net, a: str, b: str) -> str:
    chosen = net.Transpose(net.NonZero(net.Greater(net.Gather(b, np.array(1), axis=1), np.float32(5))), perm=[1, 0])
    return net.Flatten(net.ScatterND(a, chosen, net.GatherND(b, chosen)), axis=0)


@case((3, 4), (2, 2))
def scatter_nd_of_elements(net: Net, a: str, b: str) -> str:
    return net.Flatten(net.ScatterND(a, np.array([[[0, 3], [2, 0]], [[1, 1], [-1, -1]]]), b), axis=0)


@case((6,))
def scatter_nd_into_zeros(net: Net, a: str) -> str:
    zeros = net.ConstantOfShape(np.array([8]))
    return net.ScatterND(zeros, np.array([[6], [1], [3], [0], [7], [2]]), a)


@case((3, 4), (3, 4))
def scatter_elements(net: Net, a: str, b: str) -> str:
    order = net.constant(np.array([[3, 0], [1, 2], [-4, 1]]))
    updates = net.Slice(b, np.array([1]), np.array([3]), np.array([1]))
    return net.Flatten(net.ScatterElements(a, order, updates, axis=1), axis=0)


@case((5, 3), (2, 2))
def scatter_elements_into_a_part(net: Net, a: str, b: str) -> str:
    return net.Flatten(net.ScatterElements(a, np.array([[4, 1], [0, 3]]), b, axis=0), axis=0)


@case((3, 5), (2, 2), dynamic=True, feeds=({"i": np.array([[4, 1], [-5, 3]], np.int32)},))
def scatter_elements_by_small_integers(net: Net, a: str, b: str) -> str:
    written = net.ScatterElements(a, net.input("i", ["m", "n"], TensorProto.INT32), b, axis=1)
    return net.Reshape(written, np.array([-1]))


@case((5, 2), (5, 2))
def scatter_elements_of_nothing(net: Net, a: str, b: str) -> str:
    rows = net.Transpose(net.NonZero(net.Greater(net.Gather(b, np.array(0), axis=1), np.float32(5))), perm=[1, 0])
    indices = net.Expand(rows, np.array([1, 2]))
    return net.Flatten(net.ScatterElements(a, indices, net.GatherND(b, rows), axis=0), axis=0)


@case((6,), (3,))
def scatter_elements_of_one_axis(net: Net, a: str, b: str) -> str:
    return net.ScatterElements(a, np.array([5, 0, 2]), b)


# Choosing -------------------------------------------------------------------------------------------------------


@case((2, 5), (2, 5))
def where_by_value(net: Net, a: str, b: str) -> str:
    return net.Flatten(net.Where(net.Greater(a, b), a, b), axis=0)


@case((2, 5))
def where_filler(net: Net, a: str) -> str:
    return net.Flatten(net.Where(net.Greater(a, np.float32(0.5)), a, np.float32(0)), axis=0)


@case((4, 1), (3,))
def where_of_broadcast_sides(net: Net, a: str, b: str) -> str:
    mask = net.constant(np.arange(12).reshape(4, 3) % 2 == 0)
    return net.Flatten(net.Where(mask, a, b), axis=0)


@case((5,), (5,), feeds=({"flag": np.array(True)}, {"flag": np.array(False)}))
def where_by_a_computed_flag(net: Net, a: str, b: str) -> str:
    return net.Where(net.input("flag", [], TensorProto.BOOL), a, b)


@case((5, 1), (1, 3), dynamic=True)
def where_of_sides_of_dynamic_sizes(net: Net, a: str, b: str) -> str:
    return net.Reshape(net.Where(net.Greater(a, np.float32(0.5)), a, b), np.array([-1]))


@case((3, 1))
def expand_an_axis_and_a_rank(net: Net, s: str) -> str:
    return net.Flatten(net.Expand(s, np.array([2, 1, 4])), axis=0)


@case((2,), feeds=({"n": np.array([4])},))
def expand_one_score_to_all(net: Net, s: str) -> str:
    return net.Expand(net.Slice(s, np.array([1]), np.array([2])), net.input("n", [1], TensorProto.INT64))


@case((3,), feeds=({"n": np.array([4]), "i": np.array([2])}, {"n": np.array([0]), "i": np.array([0])}))
def expand_one_computed_score_to_all(net: Net, s: str) -> str:
    one = net.Gather(s, net.input("i", [1], TensorProto.INT64))
    return net.Expand(one, net.input("n", [1], TensorProto.INT64))


@case((2, 3))
def tile(net: Net, s: str) -> str:
    return net.Flatten(net.Tile(s, np.array([2, 3])), axis=0)


@case((2, 3), dynamic=True)
def tile_of_dynamic_size(net: Net, s: str) -> str:
    return net.Reshape(net.Tile(s, np.array([3, 2])), np.array([-1]))


TAKEN = ({"flag": np.array(True)}, {"flag": np.array(False)})


@case((6,), (6,), feeds=TAKEN)
def if_of_two_levels(net: Net, a: str, b: str) -> str:
    flag = net.input("flag", [], TensorProto.BOOL)
    order = net.constant(np.array([5, 1, 3, 0]))
    return net.If(
        flag,
        then_branch=branch(lambda inner: inner.Gather(a, order), net),
        else_branch=branch(lambda inner: inner.Slice(b, inner.constant(np.array([2])), np.array([6])), net),
    )


@case((6,), feeds=TAKEN)
def if_of_a_constant(net: Net, a: str) -> str:
    flag = net.input("flag", [], TensorProto.BOOL)
    chosen = net.If(
        flag,
        then_branch=branch(lambda inner: inner.Reshape(a, np.array([2, 3])), net),
        else_branch=branch(lambda inner: inner.Identity(np.zeros((2, 3), np.float32)), net),
    )
    return net.Reshape(net.Transpose(chosen, perm=[1, 0]), np.array([-1]))


@case((6,), (4,), feeds=TAKEN)
def if_inside_a_concat(net: Net, a: str, b: str) -> str:
    flag = net.input("flag", [], TensorProto.BOOL)
    chosen = net.If(
        flag,
        then_branch=branch(lambda inner: inner.Identity(a), net),
        else_branch=branch(lambda inner: inner.Concat(b, b, axis=0), net),
    )
    return net.Concat(b, chosen, axis=0)


# The whole way ----------------------------------------------------------------------------------------------------


def suppressed(net: Net, classes: str, boxes: np.ndarray) -> str:
    """NonMaxSuppression of [1, C, N], and the scores of what it leaves: [1, n]."""
    kept = net.NonMaxSuppression(boxes, classes, np.array([20]), np.float32([0.5]), np.float32([0.3]))
    batch, label, box = (net.Gather(kept, np.array([c]), axis=1) for c in range(3))
    flat = net.Reshape(classes, np.array([-1]))
    number = net.Add(net.Mul(net.Add(net.Mul(batch, np.array(3)), label), np.array(8)), box)
    return net.Unsqueeze(net.Gather(flat, net.Squeeze(number, np.array([1]))), np.array([0]))


BOXES = np.array([[[x, 0, x + 4, 4] for x in (0, 1, 10, 20, 21, 30, 40, 41)]], np.float32)


@case((1, 8, 3))
def non_max_suppression_of_sigmoids(net: Net, s: str) -> str:
    return suppressed(net, net.Transpose(s, perm=[0, 2, 1]), BOXES)


@case((1, 8, 4), activation="Softmax")
def non_max_suppression_of_softmax_without_background(net: Net, s: str) -> str:
    classes = net.Slice(s, np.array([0]), np.array([3]), np.array([2]))
    return suppressed(net, net.Transpose(classes, perm=[0, 2, 1]), BOXES)


@case((4, 5), activation="Softmax", axis=0)
def softmax_of_the_first_axis(net: Net, s: str) -> str:
    return net.ReduceMax(s, np.array([0]), keepdims=0)


@case((1, 6, 3), activation="Identity")
def no_activation(net: Net, s: str) -> str:
    return net.ReduceMax(s, np.array([2]), keepdims=0)


@case((1, 3, 2, 2), (1, 3, 2, 1))
def maps_of_two_levels_to_detections(net: Net, *levels: str) -> str:
    """[1, C, H, W] per level → rows → the best 6 → NonMaxSuppression → by score, as dense heads export it."""
    rows = [net.Reshape(net.Transpose(s, perm=[0, 2, 3, 1]), np.array([1, -1, 3])) for s in levels]
    joined = net.Concat(*rows, axis=1)
    best = net.ReduceMax(joined, np.array([-1]), keepdims=0)
    _, order = net.node("TopK", [best, np.array([5])], outputs=2)
    taken = net.Gather(joined, net.Squeeze(order, np.array([0])), axis=1)
    classes = net.Transpose(taken, perm=[0, 2, 1])
    kept = net.NonMaxSuppression(BOXES[:, :5], classes, np.array([20]), np.float32([0.5]), np.float32([0.2]))
    where = net.Gather(kept, np.array([0, 2, 1]), axis=1)
    scores = net.GatherND(taken, where)
    count = net.Min(net.Shape(scores), np.array([4]))
    return net.node("TopK", [scores, count], outputs=2)[0]


NAMES = list(case.all)


@pytest.mark.parametrize("name", NAMES)
def test_origin_names_the_logit_that_made_each_score(name: str) -> None:
    for feeds in case.all[name].feeds:
        check(case.all[name], feeds)


def operators(name: str) -> set[str]:
    return {node.op_type for node in built(case.all[name]).graph.all_nodes()}


COVERED = set().union(*(operators(name) for name in NAMES))


@pytest.mark.parametrize("operator", _RULES)
def test_every_rule_has_a_case(operator: str) -> None:
    assert operator in COVERED


def test_rounding_that_cannot_be_followed_is_refused() -> None:
    net = Net()
    scales, zeros = np.float32([0.1, 0.2, 0.3, 0.4]), np.zeros(4, np.uint8)
    integers = net.QuantizeLinear(level(net, 0, (1, 4), "Sigmoid", -1), scales, zeros, axis=1)
    refused(net, net.DequantizeLinear(integers, scales, zeros, axis=1), "a scale per channel.* without its scores")


# Told by hand -----------------------------------------------------------------------------------------------------


def test_boxes_of_equal_class_and_score_are_told_apart() -> None:
    net = Net()
    scores = level(net, 0, (1, 6, 2), "Sigmoid", -1)
    best = net.ReduceMax(scores, np.array([-1]), keepdims=0)
    _, order = net.node("TopK", [best, np.array([3])], outputs=2)
    net.node("ReduceMax", [net.Gather(scores, net.Squeeze(order, np.array([0])), axis=1), np.array([2])], name=SCORES)
    net.nodes[-1].attribute.append(helper.make_attribute("keepdims", 0))
    x = np.full((1, 6, 2), -2, np.float32)
    x[0, 4, 1] = x[0, 1, 1] = 1.5  # the same class and score at two places
    x[0, 3, 0] = 0.5
    results, _ = run_traced(net.model([SCORES]), {"x0": x})
    assert sorted(results["origin"][:2].tolist()) == [[0, 0, 1, 1], [0, 0, 4, 1]]
    assert results["origin"][2].tolist() == [0, 0, 3, 0]
    np.testing.assert_allclose(results["logit"], [1.75, 1.75, 0.75])


def test_no_detection_gives_no_origin() -> None:
    """No box passes the threshold: every output has K = 0, through each operator that mmdeploy's selection has."""
    net = Net()
    levels = [level(net, n, (1, 4, 3), "Sigmoid", -1) for n in range(2)]
    joined = net.Concat(*levels, axis=1)
    kept = net.NonMaxSuppression(
        BOXES, net.Transpose(joined, perm=[0, 2, 1]), np.array([9]), np.float32([0.5]), np.float32([0.999])
    )
    scores = net.GatherND(joined, net.Gather(kept, np.array([0, 2, 1]), axis=1))
    net.node("Unsqueeze", [scores, np.array([0])], name=SCORES)
    results, _ = run_traced(net.model([SCORES]), {f"x{n}": np.zeros((1, 4, 3), np.float32) for n in range(2)})
    assert results[SCORES].shape == (1, 0)
    assert results["origin"].shape == (0, 4)
    assert results["logit"].shape == (0,)


def test_levels_are_numbered_once_each() -> None:
    net = Net()
    a, b = (level(net, n, (1, 3), "Sigmoid", -1) for n in range(2))
    net.node("Concat", [b, a, b, a], name=SCORES, axis=1)
    x = {"x0": np.float32([[1, 2, 3]]), "x1": np.float32([[4, 5, 6]])}
    results, names = run_traced(net.model([SCORES]), x)
    assert names == ("logits1", "logits0")
    assert results["origin"].tolist() == [[n, 0, i] for n in (0, 1, 0, 1) for i in range(3)]
    np.testing.assert_allclose(results["logit"], np.float32([4, 5, 6, 1, 2, 3] * 2) + 0.25)


def test_the_activation_of_each_tensor_of_logits_is_recorded() -> None:
    net = Net()
    a, b, c = (level(net, n, (1, 3), kind, -1) for n, kind in enumerate(("Softmax", "Sigmoid", "Identity")))
    net.node("Concat", [a, b, c], name=SCORES, axis=1)
    found = trace(net.model([SCORES]).graph, Outputs("boxes", SCORES, "labels"))
    assert found.activations == ("Softmax", "Sigmoid", "Identity")
    assert [value.name for value in found.logits] == ["logits0", "logits1", "logits2"]


# Refused ----------------------------------------------------------------------------------------------------------


def refused(net: Net, scores: str, message: str, column: int | None = None) -> None:
    net.node("Identity", [scores], name=SCORES)
    with pytest.raises(TraceError, match=message):
        trace(net.model([SCORES]).graph, Outputs("boxes", SCORES, "labels", score_column=column))


def test_a_product_of_equal_factors_is_refused_and_named() -> None:
    net = Net()
    a, b = (level(net, n, (1, 4), "Sigmoid", -1) for n in range(2))
    product = net.node("Mul", [a, b], name="product")[0]
    refused(net, product, r"computed by Mul \(node_product\).*cannot be told apart.*single class.*targets=.score")


def test_a_product_with_the_square_of_an_objectness_is_refused() -> None:
    net = Net()
    a, b = level(net, 0, (1, 4), "Sigmoid", -1), level(net, 1, (1, 4), "Sigmoid", -1)
    refused(net, net.Pow(a, b), "computed by Pow .* from two computed values.*targets=.score")


def test_a_mean_of_probabilities_is_refused() -> None:
    net = Net()
    a, b = (level(net, n, (1, 4), "Sigmoid", -1) for n in range(2))
    refused(net, net.Div(net.Add(a, b), np.float32(2)), "computed by Add .*after the class.*targets=.score")


def test_another_function_of_a_probability_is_refused() -> None:
    net = Net()
    refused(net, net.Exp(level(net, 0, (1, 4), "Sigmoid", -1)), "computed by Exp .*after the class.*targets=.score")


def test_constant_scores_are_refused() -> None:
    net = Net()
    net.input("x", (1, 4))
    refused(net, net.Reshape(net.constant(np.ones((2, 2))), np.array([1, 4])), "constant")


def test_scores_without_logits_are_refused() -> None:
    net = Net()
    refused(net, net.Reshape(net.input("x", (2, 2)), np.array([1, 4])), "input 'x' without passing a logit")


def test_an_activated_input_is_no_logit() -> None:
    net = Net()
    refused(net, net.Sigmoid(net.input("x", (1, 4))), "input 'x' without passing a logit")


def test_adding_up_what_is_scattered_is_refused() -> None:
    net = Net()
    a = level(net, 0, (4,), "Sigmoid", -1)
    updates = net.Slice(a, np.array([0]), np.array([1]))
    refused(net, net.ScatterND(a, np.array([[1]]), updates, reduction="add"), "ScatterND .* adds up")


def test_the_maximum_of_two_axes_is_refused() -> None:
    net = Net()
    a = level(net, 0, (4, 3, 2), "Sigmoid", -1)
    refused(net, net.ReduceMax(a, np.array([1, 2]), keepdims=0), "maximum over several axes")


def test_computed_steps_are_refused() -> None:
    net = Net()
    steps = net.input("steps", [1], TensorProto.INT64)
    a = level(net, 0, (4,), "Sigmoid", -1)
    refused(net, net.Slice(a, np.array([0]), np.array([4]), np.array([0]), steps), "computes its axes or steps")


def test_scores_of_several_images_or_classes_are_refused() -> None:
    net = Net()
    refused(net, level(net, 0, (1, 4, 3), "Sigmoid", -1), r"have shape \[1, 4, 3\]")


def test_logits_inside_of_a_branch_are_refused() -> None:
    net = Net()
    x, flag = net.input("x", (1, 4)), net.input("flag", [], TensorProto.BOOL)
    chosen = net.If(
        flag,
        then_branch=branch(lambda inner: inner.Sigmoid(inner.Add(x, np.float32(1))), net),
        else_branch=branch(lambda inner: inner.Identity(np.zeros((1, 4), np.float32)), net),
    )
    refused(net, chosen, "inside an If")


# Any sequence ------------------------------------------------------------------------------------------------------


@dataclass
class Walk:
    """A random sequence of operators, written as ONNX and done by numpy on the logits' numbers (-1 for a filler)."""

    net: Net
    draw: st.DataObject
    value: str
    ids: np.ndarray
    scores: np.ndarray  # of each logit by its number; a filler's is 0, which is last

    def pick(self, low: int, high: int) -> int:
        return self.draw.draw(st.integers(low, high))

    def axis(self) -> tuple[int, int]:
        """An axis, and the same axis as it is written: from either end."""
        axis = self.pick(0, self.ids.ndim - 1)
        return axis, axis - self.pick(0, 1) * self.ids.ndim

    def to(self, value: str, ids: np.ndarray) -> None:
        self.value, self.ids = value, ids

    def indices(self, count: int, size: int) -> np.ndarray:
        return np.array([self.pick(-size, size - 1) for _ in range(count)], np.int64)

    def transpose(self) -> None:
        order = self.draw.draw(st.permutations(range(self.ids.ndim)))
        self.to(self.net.Transpose(self.value, perm=order), self.ids.transpose(order))

    def reshape(self) -> None:
        sizes = [size for size in range(1, 5) if self.ids.size % size == 0]
        shape = [self.draw.draw(st.sampled_from(sizes)), -1]
        self.to(self.net.Reshape(self.value, np.array(shape)), self.ids.reshape(shape))

    def unsqueeze(self) -> None:
        if self.ids.ndim < 4:
            axis = self.pick(0, self.ids.ndim)
            self.to(self.net.Unsqueeze(self.value, np.array([axis])), np.expand_dims(self.ids, axis))

    def flatten(self) -> None:
        axis = self.pick(0, self.ids.ndim)
        shape = (int(np.prod(self.ids.shape[:axis])), -1)
        self.to(self.net.Flatten(self.value, axis=axis), self.ids.reshape(shape))

    def slice(self) -> None:
        axis, written = self.axis()
        size = self.ids.shape[axis]
        start, step = self.pick(-size - 2, size - 1), self.pick(1, 2)
        if len(range(size)[start::step]) == 0:
            return
        ends = np.array([2**63 - 1])
        value = self.net.Slice(self.value, np.array([start]), ends, np.array([written]), np.array([step]))
        self.to(value, self.ids[(slice(None),) * axis + (slice(start, None, step),)])

    def reverse(self) -> None:
        axis, written = self.axis()
        limits = np.array([2**63 - 1]), np.array([-(2**63)])
        self.to(
            self.net.Slice(self.value, *limits, np.array([written]), np.array([-1])),
            np.flip(self.ids, axis),
        )

    def gather(self) -> None:
        axis, written = self.axis()
        indices = self.indices(self.pick(1, 4), self.ids.shape[axis])
        if self.pick(0, 1) and self.ids.ndim < 4:
            indices = indices[None]
        self.to(self.net.Gather(self.value, indices, axis=written), np.take(self.ids, indices, axis))

    def gather_elements(self) -> None:
        axis, written = self.axis()
        indices = self.indices(self.ids.size, self.ids.shape[axis]).reshape(self.ids.shape)
        value = self.net.GatherElements(self.value, indices, axis=written)
        self.to(value, np.take_along_axis(self.ids, indices % self.ids.shape[axis], axis))

    def gather_nd(self) -> None:
        indices = np.stack([self.indices(3, size) for size in self.ids.shape[:2]], 1)
        self.to(self.net.GatherND(self.value, indices), self.ids[tuple(indices.T)])

    def concat(self) -> None:
        axis, written = self.axis()
        if self.ids.size < 60:
            zeros, nothing = np.zeros(self.ids.shape, np.float32), np.full(self.ids.shape, -1)
            self.to(
                self.net.Concat(self.value, zeros, self.value, axis=written),
                np.concatenate([self.ids, nothing, self.ids], axis),
            )

    def split(self) -> None:
        axis, written = self.axis()
        size = self.ids.shape[axis]
        if size > 1:
            first = self.pick(1, size - 1)
            parts = self.net.node("Split", [self.value, np.array([first, size - first])], outputs=2, axis=written)
            number = self.pick(0, 1)
            self.to(parts[number], np.split(self.ids, [first], axis)[number])

    def reduce_max(self) -> None:
        axis, written = self.axis()
        keep = self.pick(0, 1) or self.ids.ndim == 1
        winner = self.scores[self.ids].argmax(axis)
        ids = np.take_along_axis(self.ids, np.expand_dims(winner, axis), axis)
        value = self.net.ReduceMax(self.value, np.array([written]), keepdims=int(keep))
        self.to(value, ids if keep else ids.squeeze(axis))

    def top_k(self) -> None:
        axis, written = self.axis()
        count = self.pick(1, self.ids.shape[axis])
        order = np.argsort(-self.scores[self.ids], axis, kind="stable").take(range(count), axis)
        self.to(
            self.net.node("TopK", [self.value, np.array([count])], outputs=2, axis=written)[0],
            np.take_along_axis(self.ids, order, axis),
        )

    def scatter_nd(self) -> None:
        rows = np.unique(self.indices(2, self.ids.shape[0]) % self.ids.shape[0])
        updates = self.net.Gather(self.value, rows[::-1].copy(), axis=0)
        ids = self.ids.copy()
        ids[rows] = self.ids[rows[::-1]]
        self.to(self.net.ScatterND(self.value, rows[:, None], updates), ids)

    def scatter_elements(self) -> None:
        axis, written = self.axis()
        size = self.ids.shape[axis]
        indices = np.broadcast_to(
            np.expand_dims(np.arange(size)[::-1], tuple(range(1, self.ids.ndim))),
            (size, *np.delete(self.ids.shape, axis)),
        )
        indices = np.moveaxis(indices, 0, axis)[(slice(0, 1),) * self.ids.ndim].copy()
        ids = self.ids.copy()
        np.put_along_axis(
            ids[(slice(0, 1),) * axis + (slice(None),) + (slice(0, 1),) * (ids.ndim - axis - 1)], indices, -1, axis
        )
        zeros = np.zeros(indices.shape, np.float32)
        self.to(self.net.ScatterElements(self.value, indices, zeros, axis=written), ids)

    def where(self) -> None:
        mask = np.array([self.pick(0, 1) for _ in range(self.ids.shape[-1])], bool)
        other, numbers = (self.value, self.ids) if self.pick(0, 1) else (np.float32(0), np.array(-1))
        value = self.net.Reshape(self.net.Where(mask, self.value, other), np.array(self.ids.shape))
        self.to(value, np.where(mask, self.ids, numbers))

    def expand(self) -> None:
        if self.ids.size <= 20 and self.ids.ndim < 4:
            self.to(
                self.net.Expand(self.value, np.array([2] + [1] * self.ids.ndim)),
                np.broadcast_to(self.ids, (2, *self.ids.shape)),
            )

    def tile(self) -> None:
        if self.ids.size <= 20:
            repeats = [2, *[1] * (self.ids.ndim - 1)]
            self.to(self.net.Tile(self.value, np.array(repeats)), np.tile(self.ids, repeats))


STEPS = [name for name, step in vars(Walk).items() if callable(step) and name[0] != "_"]
STEPS = [name for name in STEPS if name not in ("pick", "axis", "to", "indices")]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_any_sequence_of_operators_is_followed_back(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    open_sizes = data.draw(st.booleans())
    logits = distinct((shape,))[0]
    net = Net()
    start = level(net, 0, [f"d{a}" for a in range(len(shape))] if open_sizes else shape, "Sigmoid", -1)
    known = np.append(activated(logits, "Sigmoid", -1).reshape(-1), 0.0)
    walk = Walk(net, data, start, np.arange(logits.size).reshape(shape), known)
    for name in data.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=6)):
        getattr(walk, name)()
    net.node("Reshape", [walk.value, np.array([-1])], name=SCORES)
    ids = walk.ids.reshape(-1)
    model, feeds = net.model([SCORES]), {"x0": logits - np.float32(0.25)}
    if (ids < 0).all():
        assume(False)
    results, _ = run_traced(model, feeds)
    np.testing.assert_allclose(results[SCORES], known[ids], atol=1e-6)  # numpy did what the operators do
    expected = [[0, *np.unravel_index(i, shape)] if i >= 0 else [-1] + [0] * len(shape) for i in ids]
    assert results["origin"].tolist() == np.array(expected).tolist()
    np.testing.assert_array_equal(results["logit"], np.where(ids < 0, 0, results["logits0"].reshape(-1)[ids]))


def test_class_scores_that_share_a_tensor_with_boxes_are_not_looked_for_among_them() -> None:
    """A slice of [1, 6, 5], of which rows 2 to 5 are scores: its class is only known in a run, and is never 0 or 1."""
    net = Net()
    x = net.input("x", (1, 3, 1, 5))
    logits = net.node("Conv", [x, np.random.default_rng(0).normal(size=(4, 3, 1, 1))], name="logits")[0]
    flat = net.Sigmoid(net.Reshape(logits, np.array([1, 4, 5])))
    boxes = net.Sub(net.Reshape(net.Conv(x, np.ones((2, 3, 1, 1))), np.array([1, 2, 5])), np.float32(1))
    whole = net.Concat(boxes, flat, axis=1)
    scores = net.Slice(whole, np.array([2]), np.array([6]), np.array([1]))
    best, index = net.node("TopK", [net.Reshape(scores, np.array([-1])), np.array([3])], 2, name="scores")
    model = net.model({best: TensorProto.FLOAT, index: TensorProto.INT64})
    traced = trace(model.graph, Outputs("boxes", "scores", "labels"))
    assert [value.name for value in traced.logits] == ["logits"]
    feed = np.random.default_rng(1).normal(size=(1, 3, 1, 5)).astype(np.float32)
    found = run_model(model, {"x": feed})
    np.testing.assert_allclose(1 / (1 + np.exp(-found["logit"])), found["scores"], atol=1e-6)
    expected = np.stack([found[index] // 5, found[index] % 5])
    np.testing.assert_array_equal(found["origin"][:, [2, 4]].T, expected)


def test_rows_that_are_padded_by_a_computed_amount_are_fillers() -> None:
    net = Net()
    x = net.input("x", (1, 3, 1, 4))
    logits = net.node("Conv", [x, np.random.default_rng(0).normal(size=(1, 3, 1, 1))], name="logits")[0]
    flat = net.Reshape(net.Sigmoid(logits), np.array([-1]))
    kept = net.Compress(flat, net.Greater(flat, np.float32(0.5)), axis=0)
    missing = net.Sub(np.array([6]), net.Shape(kept))
    scores = net.node("Pad", [kept, net.Concat(np.array([0]), missing, axis=0)], name="scores")[0]
    model = net.model({scores: TensorProto.FLOAT})
    traced = trace(model.graph, Outputs("boxes", "scores", "labels"))
    feed = np.random.default_rng(2).normal(size=(1, 3, 1, 4)).astype(np.float32)
    add_output(model.graph, traced.logits[0])
    found = run_model(model, {"x": feed})
    chosen = np.flatnonzero(found["logits"].reshape(-1) > 0)
    assert 0 < len(chosen) < 4
    np.testing.assert_array_equal(found["origin"][:, 4][: len(chosen)], chosen)
    np.testing.assert_array_equal(found["origin"][:, 0], [0] * len(chosen) + [-1] * (6 - len(chosen)))
    np.testing.assert_array_equal(found["logit"][: len(chosen)], found["logits"].reshape(-1)[chosen])
