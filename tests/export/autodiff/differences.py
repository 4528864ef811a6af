"""Gradient rules against central finite differences, in float64, with ONNX's own reference implementation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from boxcam.export.autodiff.vjp import SEED, vjp
from tests.export.export_graphs import Net

_STEP = 1e-6
LIMIT = 1e-6


@dataclass(frozen=True)
class Case:
    """One node: the first inputs are differentiated by, the others are constants (None: left out).

    Attributes:
        moving: values of the inputs to differentiate by (float64 arrays), and of inputs that are fed but not
            differentiated by (arrays of integers or booleans).
        order: positions of ``moving`` among the node's inputs; the first ones by default.
        output: which output is differentiated.
    """

    operator: str
    moving: tuple[np.ndarray, ...]
    constants: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 18
    outputs: int = 1
    output: int = 0
    order: tuple[int, ...] | None = None
    name: str = ""

    def __str__(self) -> str:
        shapes = [list(a.shape) for a in self.moving]
        constants = [np.shape(c) for c in self.constants]
        return self.name or f"{self.operator}-{shapes}-{constants}-{self.attributes}-{self.opset}-{self.output}"


def build(case: Case) -> tuple[onnx.ModelProto, dict[str, np.ndarray], str]:
    """The case as a model in float64, what to feed it with, and the name of its output."""
    net = Net(case.opset)
    kinds = {"f": TensorProto.DOUBLE, "i": TensorProto.INT64, "b": TensorProto.BOOL}
    names = [net.input(f"x{i}", a.shape, kinds[a.dtype.kind]) for i, a in enumerate(case.moving)]
    rest = [c if c is None else net.constant(np.asarray(c), keep=True) for c in case.constants]
    places = case.order or range(len(names))
    given: list[Any] = [None] * (len(names) + len(rest))
    for place, name in zip(places, names, strict=True):
        given[place] = name
    free = [i for i in range(len(given)) if i not in places]
    for place, name in zip(free, rest, strict=True):
        given[place] = name
    results = net.node(case.operator, given, case.outputs, **case.attributes)
    feeds = dict(zip(names, case.moving, strict=True))
    model = onnx.helper.make_model(
        net.graph({results[case.output]: TensorProto.DOUBLE}), opset_imports=[onnx.helper.make_opsetid("", case.opset)]
    )
    model.ir_version = 10
    shape = ReferenceEvaluator(model).run(None, feeds)[0].shape
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(results[case.output], TensorProto.DOUBLE, shape))
    return model, feeds, results[case.output]


def errors(case: Case, seed: int = 0) -> float:
    """How far the rule's gradient is from finite differences: largest difference, relative to the largest value."""
    model, feeds, output = build(case)
    rng = np.random.default_rng(seed)
    forward = ReferenceEvaluator(model)
    shape = forward.run(None, feeds)[0].shape
    arrived = rng.standard_normal((3, *shape))  # three boxes at once
    wanted = [name for name, value in feeds.items() if value.dtype.kind == "f"]
    gradients = run_vjp(model, output, wanted, feeds, arrived)
    worst = 0.0
    for name, gradient in zip(wanted, gradients, strict=True):
        numeric = np.zeros_like(gradient)
        assert gradient.shape == (3, *feeds[name].shape), (gradient.shape, feeds[name].shape)
        for position in np.ndindex(feeds[name].shape):
            sides = []
            for step in (_STEP, -_STEP):
                moved = feeds[name].copy()
                moved[position] += step
                sides.append(forward.run(None, {**feeds, name: moved})[0])
            slope = (sides[0] - sides[1]) / (2 * _STEP)
            numeric[(slice(None), *position)] = (arrived * slope).reshape(3, -1).sum(1)
        worst = max(worst, float(np.abs(gradient - numeric).max() / max(np.abs(numeric).max(), 1e-3)))
    return worst


def run_vjp(
    model: onnx.ModelProto, output: str, wanted: Sequence[str], feeds: dict[str, np.ndarray], arrived: np.ndarray
) -> list[np.ndarray]:
    """The gradient graph of a model, run on what arrives at its output; forward values come from the model itself."""
    gradient = vjp(ir.from_proto(onnx.shape_inference.infer_shapes(model)), output, wanted, np.float64)
    proto = ir.to_proto(gradient)
    onnx.checker.check_model(proto, full_check=True)
    needed = [value.name for value in proto.graph.input if value.name != SEED]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in needed if name not in feeds)
    inner = [name for name in needed if name not in feeds]
    values = dict(zip(inner, ReferenceEvaluator(probe).run(None, feeds) if inner else [], strict=True))
    given = {name: feeds.get(name, values.get(name)) for name in needed}
    if any(value.name == SEED for value in proto.graph.input):
        given[SEED] = arrived
    return list(ReferenceEvaluator(proto).run(None, given))
