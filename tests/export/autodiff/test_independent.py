"""Along axes that a rule calls independent, it gives for a part of the gradient what it gives for all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from boxcam.export.autodiff import engine
from boxcam.export.autodiff.block import UNIFORM, Block, Boxes, Start, Support, Window
from boxcam.export.autodiff.engine import Tape
from boxcam.export.autodiff.rule import OPSET, RULES
from boxcam.export.autodiff.vjp import finished
from boxcam.export.graphs.dependency import gradient_reaches
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import all_values, opset_of, static_shape
from boxcam.registry import Registry
from tests.export.autodiff.cases import CASES
from tests.export.autodiff.differences import Case, build, evaluator, run_vjp, with_forward_values

_BOXES, _SIZE = 3, 2
Parts = Mapping[int, str]
"""What is stored of some axes: ``window`` or ``uniform``."""


def _partial(model: ir.Model, output: str, wanted: list[str], parts: Parts) -> ir.Model:
    """The gradient graph for ``seed``, which holds parts of some axes; windows begin at ``start.a``."""
    values = {str(value.name): value for value in all_values(model.graph)}
    target, sources = values[output], [values[name] for name in wanted]
    seed, starts = _input("seed", ir.DataType.DOUBLE, 1 + len(target.shape)), {}
    supports: list[Support] = [None] * len(target.shape)
    for a, kind in parts.items():
        if kind == "window":
            starts[a] = _input(f"start.{a}", ir.DataType.INT64, 1)
        supports[a] = Window(Start(starts[a]), _SIZE) if kind == "window" else UNIFORM
    graph = ir.Graph([seed, *starts.values()], [], nodes=[], opset_imports={"": OPSET}, name="gradient")
    op = Ops(graph, "gradient", real=np.float64)
    tape = Tape(op, opset_of(model), {}, gradient_reaches(model.graph, sources))
    found = tape.backward({target: Block(seed, tuple(supports), Boxes(seed))}, sources)
    assert tape.barriers == {} or UNIFORM in supports  # what is uniform may meet values that are not
    for number, source in enumerate(sources):
        if source in found:
            (block,) = found[source]
            result = op.Identity(tape.widened(block, range(len(block.axes)), source).value)
            result.name, result.dtype = f"gradient.{number}", ir.DataType.DOUBLE
            result.shape = ir.Shape([None] * (1 + len(source.shape)))
            graph.outputs.append(result)
    return finished(graph)


def _input(name: str, kind: ir.DataType, rank: int) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(kind), shape=ir.Shape([None] * rank))


def _choices(case: Case) -> Iterator[Parts]:
    """Windows of each independent axis and of two; uniform axes for rules of operators that broadcast."""
    model, _, output = build(case)
    inferred = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    (node,) = inferred.graph
    shape = static_shape(next(v for v in all_values(inferred.graph) if v.name == output))
    assert shape is not None
    tape = Tape(Ops(ir.Graph([], [], nodes=[], opset_imports={"": OPSET}), "none"), case.opset, {}, set())
    wanted = [i for i, v in enumerate(node.inputs) if v in inferred.graph.inputs and v.dtype is ir.DataType.DOUBLE]
    rule = RULES[case.operator]
    independent = sorted(set(rule.independent(tape.site(node, tape.whole, wanted))))
    long = [a for a in independent if (shape[a] or 0) > _SIZE]
    yield from ({a: "window"} for a in long)
    if len(long) > 1:
        yield dict.fromkeys(long[:2], "window")
    if rule.broadcasts:
        yield from ({a: "uniform"} for a in independent)
        yield from ({a: "window", b: "uniform"} for a in long[:1] for b in independent if b != a)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case}"[:150])
def test_a_part_of_the_gradient_is_carried_as_the_whole(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOCAL", Registry("no local rule"))  # it is the plain rules that are tested
    model, feeds, output = build(case)
    shape = evaluator(model).run(None, feeds)[0].shape
    wanted = [name for name, value in feeds.items() if value.dtype.kind == "f"]
    rng = np.random.default_rng(0)
    for parts in _choices(case):
        starts = {f"start.{a}": rng.integers(0, shape[a] - _SIZE + 1, _BOXES) for a in parts if parts[a] == "window"}
        sizes = {"window": _SIZE, "uniform": 1}
        seed = rng.standard_normal((_BOXES, *(sizes[parts[a]] if a in parts else n for a, n in enumerate(shape))))
        whole = run_vjp(model, output, wanted, feeds, _placed(seed, parts, starts, shape))
        inferred = ir.from_proto(onnx.shape_inference.infer_shapes(model))
        graph = ir.to_proto(_partial(inferred, output, wanted, parts))
        fed = with_forward_values(graph, model, {**feeds, **starts, "seed": seed})
        numbers = [int(value.name.removeprefix("gradient.")) for value in graph.graph.output]
        found = evaluator(graph).run(None, fed) if numbers else []
        for number, expected in enumerate(whole):
            ours = found[numbers.index(number)] if number in numbers else np.zeros_like(expected)
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12, err_msg=str(parts))


def _placed(seed: np.ndarray, parts: Parts, starts: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """All of the gradient that the parts stand for."""
    placed = np.zeros((_BOXES, *shape))
    for m in range(_BOXES):
        at = [slice(None)] * len(shape)
        for a, kind in parts.items():
            if kind == "window":
                start = int(starts[f"start.{a}"][m])
                at[a] = slice(start, start + _SIZE)
        placed[(m, *at)] = seed[m]  # uniform axes are repeated
    return placed
