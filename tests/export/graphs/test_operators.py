"""Every trait of every row of the table of operators, proved by running the operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import defs

from boxcam.export.graphs.operators import OPERATORS, Copies, Mixes, Operator, mixed_axes, operator_of
from tests.export.graphs.operator_cases import CASES, Array, Case
from tests.export.graphs.operator_proofs import BY_NAME, PROOFS, given, wrong
from tests.export.graphs.operator_runs import Runner

_WITHOUT_A_ROW = {
    "runs other graphs, of which nothing can be said": ("If", "Loop", "Scan", "SequenceMap"),
    "sequences, optional values and text": (
        "ConcatFromSequence", "ImageDecoder", "Optional", "OptionalGetElement", "OptionalHasElement", "RegexFullMatch",
        "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
        "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer",
    ),
    "computes in integers throughout: such a model is refused": (
        "ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul",
    ),
    "recurrent, with a state, or of signals": (
        "BlackmanWindow", "CausalConvWithState", "GRU", "HammingWindow", "HannWindow", "LSTM", "LinearAttention",
        "MelWeightMatrix", "RNN",
    ),
    "losses": ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
    "has no gradient rule, and nobody asks for its traits": ("BitCast", "MaxUnpool", "Scatter", "Unique"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_running_the_operator_proves_its_row(name: str) -> None:
    assert wrong(name, OPERATORS[name]) == []


def test_every_row_has_a_case_and_every_trait_a_proof() -> None:
    assert {case.operator for case in CASES} == set(OPERATORS)
    assert set(PROOFS) == {column.name for column in dataclasses.fields(Operator)}
    assert wrong("Loop", OPERATORS["Relu"]) == ["no case"]


def _planted(name: str, operator: Operator) -> Iterable[tuple[str, Operator]]:
    """The row with one wrong trait."""
    present = sorted({i for case in BY_NAME[name] for i in given(case)})
    right = operator.differentiable(len(present))
    other: dict[str, list[Any]] = {
        "mixes": [Mixes.NONE if operator.mixes is Mixes.ANY else Mixes.ANY, Mixes.SHAPES, Mixes.AXIS],
        "inputs": [] if operator.zero else [tuple(sorted({*right} ^ {i})) for i in (*present, len(present))],
        "copies": [copies for copies in Copies if copies is not operator.copies],
        "zero": ["" if operator.zero else "never"],
        "weighs": [not operator.weighs],
        "rectifier": [kind for kind in ("", "rising", "dipping") if kind != operator.rectifier],
        "probability": [not operator.probability],
        "samples": [not operator.samples],
    }
    for trait, values in other.items():
        for value in values:
            if value is not getattr(operator, trait):
                yield trait, dataclasses.replace(operator, **{trait: value})


@pytest.mark.parametrize("name", OPERATORS)
def test_a_wrong_trait_is_found(name: str) -> None:
    missed = [row for trait, row in _planted(name, OPERATORS[name]) if not wrong(name, row)]
    assert missed == []


def test_every_operator_of_onnx_has_a_row_or_a_reason_to_have_none() -> None:
    standard = {schema.name for schema in defs.get_all_schemas_with_history() if schema.domain == ""}
    without = {name for names in _WITHOUT_A_ROW.values() for name in names}
    assert set(OPERATORS) - standard == set(), "no operators of ONNX"
    assert set(OPERATORS) & without == set()
    assert standard - set(OPERATORS) - without == set(), "give them a row in graphs/operators.py, or a reason here"


def test_what_is_resized_covers_the_same_area() -> None:
    """The place of a cell in the picture, as its value, is the place of the new cell within the size of an old one."""
    found = {name for name, operator in OPERATORS.items() if operator.retiles}
    assert found == {"DepthToSpace", "Resize", "SpaceToDepth", "Upsample"}
    for name, attributes, more, shape in (
        ("Resize", {"mode": "linear"}, (None, np.array([1, 1, 2, 2], np.float32)), (1, 1, 4, 6)),
        ("Upsample", {"mode": "nearest"}, (np.array([1, 1, 2, 2], np.float32),), (1, 1, 4, 6)),
        ("DepthToSpace", {"blocksize": 2}, (), (1, 4, 4, 6)),
        ("SpaceToDepth", {"blocksize": 2}, (), (1, 1, 4, 6)),
    ):
        for axis in (2, 3):
            ramp = np.broadcast_to(_centers(shape[axis]).reshape([-1] + [1] * (3 - axis)), shape)
            case = Case(name, (ramp.astype(np.float32), *more), attributes, opset=9 if name == "Upsample" else 13)
            y = Runner(case)()
            expected = np.broadcast_to(_centers(y.shape[axis]).reshape([-1] + [1] * (3 - axis)), y.shape)
            assert y.shape != shape
            assert np.abs(y - expected).max() <= 1 / min(shape[axis], y.shape[axis]) / 2


def _centers(count: int) -> Array:
    return (np.arange(count) + 0.5) / count


def test_axis_1_is_channels_where_maps_are_read() -> None:
    found = {name for name, operator in OPERATORS.items() if operator.channels_first}
    assert found >= {"BatchNormalization", "Conv", "DeformConv", "GridSample", "LRN", "MaxPool", "RoiAlign"}
    assert not found & {"LayerNormalization", "MatMul", "Relu", "Resize", "Softmax", "Transpose"}


def node(operator: str, *inputs: Any, opset: int = 18, **attributes: Any) -> ir.Node:
    """A node: inputs are shapes of values, or constants as arrays."""
    values = [
        ir.Value(shape=ir.Shape(one))
        if isinstance(one, tuple)
        else ir.Value(const_value=ir.tensor(one), shape=ir.Shape(one.shape))
        for one in inputs
    ]
    made = ir.node(operator, values, attributes)
    ir.Graph([], [], nodes=[made], opset_imports={"": opset})
    return made


@pytest.mark.parametrize(
    ("made", "axes"),
    [
        (node("Relu", ()), set()),
        (node("Conv", (1, 2, 4, 4), np.ones((3, 2, 1, 1), np.float32)), {1}),
        (node("Conv", (1, 2, 4, 4), np.ones((3, 2, 3, 3), np.float32)), {1, 2, 3}),
        (node("Conv", (1, 2, 4, 4), np.ones((3, 2, 1, 1), np.float32), strides=[2, 1]), {1, 2}),
        (node("MaxPool", ("n", 2, 4, 4), kernel_shape=[1, 3]), {3}),
        (node("Softmax", ("n", 3, 4)), {2}),
        (node("Softmax", ("n", 3, 4), opset=11), {1, 2}),
        (node("Gemm", (2, 3), (3, 4)), {1}),
        (node("Gemm", (3, 2), (3, 4), transA=1), None),
        (node("ReduceSum", (2, 3), np.array([-1])), {1}),
        (node("ReduceSum", (2, 3), (1,)), None),
        (node("ReduceSum", (2, 3)), None),
        (node("Pad", (2, 3), np.array([0, 0, 1, 1]), opset=13), None),
        (node("Reshape", (2, 3), np.array([3, 2])), None),
        (node("Loop", (2, 3)), None),
        (node("Softmax", (2, 3), opset=18), {1}),
    ],
    ids=lambda value: value.op_type if isinstance(value, ir.Node) else str(value),
)
def test_which_axes_a_node_mixes(made: ir.Node, axes: set[int] | None) -> None:
    assert mixed_axes(made) == axes


def test_nothing_is_taken_for_granted_of_others() -> None:
    made = node("Relu", (2, 3))
    made.domain = "com.microsoft"
    assert operator_of(made).elementwise is False
    assert operator_of(node("Loop", (2,))).differentiable(3) == (0, 1, 2)
