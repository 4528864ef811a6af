"""Every trait of every row of the table of operators, proved by running the operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import defs, helper
from onnx.reference import ReferenceEvaluator

from boxcam.export.graphs.operators import OPERATORS, Copies, Mixes, Operator, mixed_axes, operator_of
from tests.export.graphs.operator_cases import CASES, Array, Case

_BY_NAME = {name: [case for case in CASES if case.operator == name] for name in OPERATORS}

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


# -- running


class Runner:
    """A case's node, to be run with other inputs."""

    def __init__(self, case: Case) -> None:
        self.case = case
        names = [f"x{i}" if x is not None else "" for i, x in enumerate(case.inputs)]
        outputs = [f"y{i}" for i in range(case.outputs)]
        node = helper.make_node(case.operator, names, outputs, **case.attributes)
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in zip(names, case.inputs, strict=True)
            if x is not None
        ]
        self._wanted = "y0" if case.sequence else f"y{case.output}"
        graph = helper.make_graph([node], "one", given, [onnx.ValueInfoProto(name=self._wanted)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=10)
        if case.reference:
            self._run = ReferenceEvaluator(model).run
            return
        inferred = onnx.shape_inference.infer_shapes(model)
        del model.graph.output[:]
        model.graph.output.extend(inferred.graph.output)
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 4, 1

        def run(names: list[str], feeds: dict[str, Array]) -> Any:
            if self._session is None or "seed" in case.attributes:  # random numbers begin anew with a session
                self._session = onnxruntime.InferenceSession(
                    model.SerializeToString(), options, ["CPUExecutionProvider"]
                )
            return self._session.run(names, feeds)

        self._session: Any = None
        self._run = run

    def __call__(self, changed: dict[int, Array] | None = None) -> Array:
        """The output that is looked at, with some inputs replaced."""
        inputs = {**dict(enumerate(self.case.inputs)), **(changed or {})}
        with np.errstate(all="ignore"):
            (found,) = self._run([self._wanted], {f"x{i}": np.asarray(x) for i, x in inputs.items() if x is not None})
        return np.asarray(found[self.case.output] if self.case.sequence else found)

    @property
    def floats(self) -> list[int]:
        """The numbers of its inputs of floating-point numbers, but for sizes."""
        inputs = enumerate(self.case.inputs)
        return [i for i, x in inputs if x is not None and x.dtype.kind == "f" and i not in self.case.fixed]


@cache
def _run(case: Case) -> Runner:
    return Runner(case)


@cache
def _node(case: Case) -> ir.Node:
    """The node as the table sees it: what its first input holds is not known, what the others hold is."""
    values: list[ir.Value | None] = []
    for number, x in enumerate(case.inputs):
        if x is None:
            values.append(None)
            continue
        value = ir.Value(name=f"x{number}", shape=ir.Shape(x.shape))
        value.const_value = ir.tensor(x) if number else None
        values.append(value)
    attributes = {
        a.name: ir.from_proto(a) for a in helper.make_node(case.operator, [], [], **case.attributes).attribute
    }
    node = ir.Node("", case.operator, values, list(attributes.values()), num_outputs=case.outputs)
    node.outputs[0 if case.sequence else case.output].shape = ir.Shape(_run(case)().shape)
    ir.Graph([], [], nodes=[node], opset_imports={"": case.opset})
    return node


# -- what an operator is seen to do


def _others(x: Array, position: tuple[int, ...]) -> Iterable[Any]:
    """Numbers to put in place of one, from the same array, so that the operator takes them."""
    if x.dtype == bool:
        return [not x[position]]
    if x.size == 1 and x.dtype.kind == "f":
        return [x[position] * 1.5]
    finite = x[np.isfinite(x)] if x.dtype.kind == "f" else x
    return [finite.max(), finite.min(), np.sort(finite.reshape(-1))[finite.size // 2], *x[~np.isfinite(x)][:1]]


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


@cache
def _seen(case: Case, number: int) -> list[tuple[tuple[int, ...], Array]]:
    """Of each element of an input, its place, and which elements of the output change with it."""
    run, x = _run(case), case.inputs[number]
    assert x is not None
    before, found = run(), []
    for position in np.ndindex(x.shape):
        changes = np.zeros(before.shape, bool)
        for other in _others(x, position):
            moved = x.copy()
            moved[position] = other
            after = run({number: moved})
            if after.shape != before.shape:
                changes[...] = True
            else:
                changes |= ~((after == before) | ((after != after) & (before != before)))
        found.append((position, changes))
    return found


def _axes_that_differ(case: Case, inputs: Iterable[int]) -> set[int]:
    """The axes along which elements of the output change that are not at the place of the changed element."""
    return {
        axis
        for number in inputs
        for position, changes in _seen(case, number)
        for place in np.argwhere(changes)
        for axis, (a, b) in enumerate(zip(position, place, strict=True))
        if a != b
    }


def _stays_at_its_place(case: Case, number: int) -> bool:
    """Whether an element of an input only changes elements of the output at its own place, once broadcast."""
    x, y = case.inputs[number], _run(case)()
    assert x is not None
    try:
        if np.broadcast_shapes(x.shape, y.shape) != y.shape:
            return False
    except ValueError:
        return False
    for position, changes in _seen(case, number):
        alone = np.zeros(x.shape, bool)
        alone[position] = True
        if (changes & ~np.broadcast_to(alone, y.shape)).any():
            return False
    return True


@cache
def _is_the_same_everywhere(case: Case) -> bool | None:
    """Whether elements that change places do so in the output; None if inputs are broadcast, which tells nothing."""
    run, y = _run(case), _run(case)()
    whole = [i for i, x in enumerate(case.inputs) if x is not None and x.shape == y.shape]
    if any(x is not None and x.size != 1 for i, x in enumerate(case.inputs) if i not in whole):
        return None
    order = np.random.default_rng(3).permutation(y.size)
    shuffled = {i: case.inputs[i].reshape(-1)[order].reshape(y.shape) for i in whole}  # type: ignore[union-attr]
    after = run(shuffled)
    return after.shape == y.shape and bool(np.allclose(after, y.reshape(-1)[order].reshape(y.shape), equal_nan=True))


@cache
def _is_elementwise(case: Case) -> bool:
    """Whether no element of the output sees another place than its own, and all are computed alike."""
    present = [i for i, x in enumerate(case.inputs) if x is not None]
    shapes = [case.inputs[i].shape for i in present]  # type: ignore[union-attr]
    try:
        broadcast = np.broadcast_shapes(*shapes) == _run(case)().shape
    except ValueError:
        return False
    inside = broadcast and all(_stays_at_its_place(case, i) for i in present)
    return bool(present) and inside and _is_the_same_everywhere(case) is not False


@cache
def _slopes(case: Case) -> set[int]:
    """Inputs that the output changes with if all of their elements are moved a little."""
    run = _run(case)
    before, found = run(), set()
    declared = OPERATORS[case.operator].differentiable(len(case.inputs))
    for number in {*run.floats, *declared}:
        x = case.inputs[number]
        if x is None:
            continue
        signs = np.where(np.random.default_rng(number).random(x.shape) < 0.5, -1, 1)
        moved = x + (case.step * signs).astype(x.dtype) if x.dtype.kind == "f" else x + signs.astype(x.dtype)
        if not _same(run({number: moved}), before):
            found.add(number)
    return found


@cache
def _copying(case: Case) -> Copies:
    """How the output is made of copies of the inputs that a gradient flows through, for any numbers in them."""
    run, rng = _run(case), np.random.default_rng(5)
    moving = [
        i for i in OPERATORS[case.operator].differentiable(len(case.inputs)) if i in run.floats and i not in case.held
    ]
    if not moving or (run() != run()).any():
        return Copies.NONE
    sizes = [case.inputs[i].size for i in moving]  # type: ignore[union-attr]
    total = sum(sizes)

    def fill(numbers: Array) -> Array:
        parts = np.split(numbers, np.cumsum(sizes)[:-1])
        shaped = {
            i: part.reshape(case.inputs[i].shape).astype(np.float32)  # type: ignore[union-attr]
            for i, part in zip(moving, parts, strict=True)
        }
        return run(shaped).reshape(-1).astype(np.float64)

    numbers = np.arange(1, total + 1) + 1000.0  # what is none of them fills up
    which = fill(numbers) - 1001
    constant = (which < 0) | (which >= total)
    if constant.all() or not np.isclose(which, np.round(which), atol=1e-3)[~constant].all():
        return Copies.NONE
    place = np.where(constant, 0, np.round(which)).astype(int)
    constants = fill(numbers)
    for _ in range(3):
        values = (rng.standard_normal(total) * 9).astype(np.float32)
        if not np.array_equal(fill(values), np.where(constant, constants, values[place])):
            return Copies.NONE
    if not constant.any() and len(moving) == 1 and place.size == total:
        if (place == np.arange(total)).all():
            return Copies.IN_ORDER
        if (np.sort(place) == np.arange(total)).all():
            return Copies.PERMUTED
    return Copies.SELECTED


@cache
def _weighs(case: Case) -> bool:
    """Whether it is a sum of products of its first two inputs: linear in both, but for what is added to it."""
    run = _run(case)
    if run.floats[:2] != [0, 1] or run().dtype.kind != "f":
        return False
    first, second = case.inputs[:2]
    assert first is not None
    assert second is not None
    nothing = run({0: first * 0, 1: second * 0})
    if nothing.shape != run().shape:
        return False
    alone = run({0: first * 0}), run({1: second * 0})
    both, more = run() - nothing, (run({0: first * 3}) - nothing, run({1: second * 3}) - nothing)
    added = all(np.allclose(one, nothing, atol=1e-5) for one in alone)
    return added and bool(np.abs(both).max() > 1e-3) and all(np.allclose(m, both * 3, atol=1e-4) for m in more)


@cache
def _samples(case: Case) -> bool:
    """Whether another input is coordinates in the first: they matter, but not in a first input that is one number."""
    run, first = _run(case), case.inputs[0]
    assert first is not None
    if not np.allclose(run({0: first * 2}), run() * 2, atol=1e-5):
        return False
    for number in run.floats[1:]:
        x = case.inputs[number]
        assert x is not None
        moved = x + np.random.default_rng(1).uniform(0.01, 0.3, x.shape).astype(np.float32)
        if case.operator == "MaxRoiPool":  # the image's number, and corners that are rounded
            moved = x + _CORNERS
        flat = [np.full_like(first, number) for number in (1.7, -1.7)]
        indifferent = all(np.allclose(run({0: f}), run({0: f, number: moved}), atol=1e-5) for f in flat)
        if indifferent and not np.allclose(run(), run({number: moved}), atol=1e-5):
            return True
    return False


_CORNERS = np.array([0, 1, 1, 0, 0], np.float32)
_PROBE = np.array([-9, -6, -4, -2.5, -1, -0.3, -0.01, 0.01, 0.3, 1, 2.5, 4, 6, 9], np.float32)


@cache
def _sweeps(case: Case) -> tuple[bool, bool] | None:
    """Of a function of one number: whether it rectifies, and whether it never falls. None of any other."""
    run, y = _run(case), _run(case)()
    whole = [i for i in run.floats if case.inputs[i].shape == y.shape]  # type: ignore[union-attr]
    others = [x for i, x in enumerate(case.inputs) if x is not None and i not in whole]
    if whole != [0] or any(x.size != 1 for x in others) or y.dtype.kind != "f":
        return None
    model_case = dataclasses.replace(case, inputs=(_PROBE, *case.inputs[1:]))
    found = Runner(model_case)()
    below, above = found[: len(_PROBE) // 2][::-1], found[len(_PROBE) // 2 :]
    rectifies = (below <= 0).all() and (above >= 0).all() and (above[-3:] > 0).all()
    rectifies = rectifies and (-below < above / 2)[-3:].all()
    return bool(rectifies), bool((np.diff(found) >= 0).all())


def _is_probability(case: Case) -> bool:
    """Whether any numbers, and large ones, give numbers from 0 to 1."""
    run = _run(case)
    x = case.inputs[0]
    assert x is not None
    wide = np.random.default_rng(2).standard_normal(x.shape).astype(np.float32) * 30
    found = run({0: wide})
    return bool(found.dtype.kind == "f" and (found >= 0).all() and (found <= 1).all())


# -- the proofs: each gives what is wrong with a row, or nothing


def wrong(name: str, operator: Operator) -> list[str]:
    """The traits of a row that running its cases disproves."""
    cases = _BY_NAME.get(name, [])
    return [trait for trait, holds in _PROOFS.items() if not holds(operator, cases)] if cases else ["no case"]


def _mixes(operator: Operator, cases: list[Case]) -> bool:
    """Whether a row names the axes that are seen to be mixed; "any" only where no other name holds."""
    if operator.mixes is Mixes.ANY:
        others = [mixes for mixes in Mixes if mixes is not Mixes.ANY]
        return not any(_mixes(dataclasses.replace(operator, mixes=mixes), cases) for mixes in others)
    if operator.mixes is Mixes.SHAPES:
        return not any(changes.any() for case in cases for i in _present(case) for _, changes in _seen(case, i))
    if operator.elementwise:
        shuffled = any(_is_the_same_everywhere(case) for case in cases)
        return shuffled and all(_is_elementwise(case) for case in cases)
    if any(case.inputs == () or _is_elementwise(case) for case in cases):
        return False
    if operator.keeps_places:
        return all(_keeps_places(case, operator.mixes is Mixes.CHANNEL_PARAMETERS) for case in cases)
    if operator.mixes is Mixes.PRODUCT and not all(map(_weighs, cases)):
        return False
    said = [_said(_node(case), operator) for case in cases]
    seen = [_mixed(case, operator) for case in cases]
    return None not in said and said == seen and any(said)


def _present(case: Case) -> list[int]:
    return [i for i, x in enumerate(case.inputs) if x is not None]


def _keeps_places(case: Case, by_channel: bool) -> bool:
    """Whether an element of the output sees the one at its own place of the first input, all rows being alike.

    Args:
        case: the case.
        by_channel: whether every number of the other inputs belongs to one channel.
    """
    run, first = _run(case), case.inputs[0]
    assert first is not None
    y = run()
    if y.shape != first.shape or _axes_that_differ(case, [0]) or len(first) == 1:
        return False
    if not np.allclose(run({0: first[::-1].copy()}), y[::-1]):
        return False
    parameters = [case.inputs[i].shape for i in _present(case)[1:]]  # type: ignore[union-attr]
    if not by_channel or parameters != [first.shape[1:2]] * 4:
        return not by_channel and parameters != [first.shape[1:2]] * 4
    others = ((i, *seen) for i in _present(case)[1:] for seen in _seen(case, i))
    return all(place[1] == position[0] for _, position, changes in others for place in np.argwhere(changes))


def _mixed(case: Case, operator: Operator) -> set[int] | None:
    """The axes that are seen to be mixed; None if they cannot be compared."""
    moving = operator.differentiable(len(case.inputs)) if operator.moves else (0,)
    y = _run(case)()
    if any(np.ndim(case.inputs[i]) != y.ndim for i in moving):  # type: ignore[arg-type]
        return None
    return _axes_that_differ(case, moving)


def _said(node: ir.Node, operator: Operator) -> set[int] | None:
    """The axes that a row says a node mixes, whatever the table holds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPERATORS, node.op_type, operator)  # type: ignore[arg-type]
        found = mixed_axes(node)
    return None if found is None else set(found)


def _inputs(operator: Operator, cases: list[Case]) -> bool:
    for case in cases:
        present = {i for i in operator.differentiable(len(case.inputs)) if case.inputs[i] is not None}
        if _slopes(case) != present | set(case.held) or present & set(case.held):
            return False
    present = {i for case in cases for i in _present(case)}
    return present >= set(operator.inputs or ()) and max(present, default=-1) < _arity(cases[0].operator)


def _arity(name: str) -> int:
    return int(defs.get_schema(name).max_input)


def _zero(operator: Operator, cases: list[Case]) -> bool:
    return bool(operator.zero) == all(_slopes(case) <= set(case.held) for case in cases)


def _copies(operator: Operator, cases: list[Case]) -> bool:
    order = list(Copies)
    seen = {_copying(case) for case in cases}
    widest = Copies.NONE if Copies.NONE in seen else max(seen, key=order.index)
    return operator.copies is widest


def _weighing(operator: Operator, cases: list[Case]) -> bool:
    return operator.weighs == any(_weighs(case) and not _is_elementwise(case) for case in cases)


def _rectifier(operator: Operator, cases: list[Case]) -> bool:
    if operator.zero or operator.moves or not all(map(_is_elementwise, cases)):
        return not operator.rectifier
    seen = [found for case in cases if (found := _sweeps(case)) is not None]
    some = any(rectifies for rectifies, _ in seen)
    always = all(rectifies and rises for rectifies, rises in seen)
    return operator.rectifier == ("rising" if some and always else "dipping" if some else "")


def _probability(operator: Operator, cases: list[Case]) -> bool:
    single = [case for case in cases if _run(case).floats == [0] and not operator.zero and not case.sequence]
    return operator.probability == (bool(single) and all(_is_probability(case) for case in single))


def _sampling(operator: Operator, cases: list[Case]) -> bool:
    more = [case for case in cases if len(_run(case).floats) > 1 and 0 in _run(case).floats and not operator.zero]
    return operator.samples == any(_samples(case) for case in more if _run(case)().dtype.kind == "f")


_PROOFS = {
    "mixes": _mixes,
    "inputs": _inputs,
    "zero": _zero,
    "copies": _copies,
    "weighs": _weighing,
    "rectifier": _rectifier,
    "probability": _probability,
    "samples": _sampling,
}


@pytest.mark.parametrize("name", OPERATORS)
def test_running_the_operator_proves_its_row(name: str) -> None:
    assert wrong(name, OPERATORS[name]) == []


def test_every_row_has_a_case_and_every_trait_a_proof() -> None:
    assert {case.operator for case in CASES} == set(OPERATORS)
    assert set(_PROOFS) == {column.name for column in dataclasses.fields(Operator)}
    assert wrong("Loop", OPERATORS["Relu"]) == ["no case"]


def _planted(name: str, operator: Operator) -> Iterable[tuple[str, Operator]]:
    """The row with one wrong trait."""
    present = sorted({i for case in _BY_NAME[name] for i in _present(case)})
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
