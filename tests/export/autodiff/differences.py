"""Gradient rules against central finite differences, in float64, with ONNX's own reference implementation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from boxcam.export.autodiff.forward import SHAPE
from boxcam.export.autodiff.vjp import SEED, vjp
from tests.export.autodiff import reference
from tests.export.export_graphs import Net

_STEP = 1e-6
LIMIT = 1e-6


# -- forward passes in place of those of the reference implementation


class QuantizeLinear(OpRun):
    """Without rounding, which is what a straight-through gradient is the gradient of."""

    def _run(self, x, scale, zero=None, axis=1, **_):  # type: ignore[no-untyped-def]
        limits = np.iinfo(np.uint8 if zero is None else zero.dtype)
        zero = np.zeros(scale.shape) if zero is None else zero.astype(float)
        scale, zero = (_by_axis(x, v, axis) for v in (scale, zero))
        return (np.clip(x / scale + zero, limits.min, limits.max),)


class DequantizeLinear(OpRun):
    """Of numbers that were not rounded."""

    def _run(self, x, scale, zero=0.0, axis=1, **_):  # type: ignore[no-untyped-def]
        scale, zero = (_by_axis(x, np.asarray(v, float), axis) for v in (scale, zero))
        return ((x - zero) * scale,)


def _by_axis(x: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    return values.reshape([-1] + [1] * (x.ndim - 1 - axis % x.ndim)) if values.size > 1 else values.reshape(())


class Erf(OpRun):
    """In double precision: the reference rounds to single."""

    def _run(self, x):  # type: ignore[no-untyped-def]
        return (_erf(x),)


class Gelu(OpRun):
    """In double precision: the reference rounds to single."""

    def _run(self, x, approximate="none"):  # type: ignore[no-untyped-def]
        if approximate == "tanh":
            return (x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),)
        return (x / 2 * (1 + _erf(x / np.sqrt(2))),)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.vectorize(math.erf, otypes=[float])(x))


class Pad(OpRun):
    """With negative pads too, which cut off: the reference refuses them."""

    def _run(self, x, pads, value=None, axes=None, mode="constant"):  # type: ignore[no-untyped-def]
        axes = range(x.ndim) if axes is None else axes
        widths = np.zeros((x.ndim, 2), int)
        for axis, *pair in zip(axes, pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True):
            widths[axis] = pair
        cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, widths, strict=True))
        more = {"constant_values": 0 if value is None else value} if mode == "constant" else {}
        return (np.pad(x[cut], np.maximum(widths, 0), mode, **more),)


class GatherElements(OpRun):
    """With indices that are shorter than the data along other axes: the reference refuses them."""

    def _run(self, x, index, axis=0):  # type: ignore[no-untyped-def]
        return (x[_places(index, axis)],)


_REDUCTIONS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


class ScatterElements(OpRun):
    """With indices that are shorter than the data along other axes: the reference refuses them."""

    def _run(self, x, index, updates, axis=0, reduction="none"):  # type: ignore[no-untyped-def]
        result = x.copy()
        if reduction == "none":
            result[_places(index, axis)] = updates
        else:
            _REDUCTIONS[reduction].at(result, _places(index, axis), updates)
        return (result,)


def _places(index: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    places = list(np.indices(index.shape))
    places[axis] = index
    return tuple(places)


FORWARD = [DequantizeLinear, Erf, GatherElements, Gelu, Pad, QuantizeLinear, ScatterElements, *reference.FORWARD]


def evaluator(model: onnx.ModelProto) -> ReferenceEvaluator:
    """ONNX's reference implementation, with some operators replaced."""
    return ReferenceEvaluator(model, new_ops=FORWARD)


@dataclass(frozen=True)
class Case:
    """One node: the first inputs are differentiated by, the others are constants (None: left out).

    Attributes:
        moving: values of the inputs to differentiate by (float64 arrays), and of inputs that are fed but not
            differentiated by (arrays of integers or booleans).
        order: positions of ``moving`` among the node's inputs; the first ones by default.
        output: which output is differentiated.
        type: of that output.
        dynamic: axes of the first input whose length only a run tells.
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
    type: int = TensorProto.DOUBLE
    dynamic: tuple[int, ...] = ()

    def __str__(self) -> str:
        shapes = [list(a.shape) for a in self.moving]
        constants = [np.shape(c) for c in self.constants]
        return self.name or f"{self.operator}-{shapes}-{constants}-{self.attributes}-{self.opset}-{self.output}"


def build(case: Case) -> tuple[onnx.ModelProto, dict[str, np.ndarray], str]:
    """The case as a model in float64, what to feed it with, and the name of its output."""
    net = Net(case.opset)
    kinds = {"f": TensorProto.DOUBLE, "i": TensorProto.INT64, "b": TensorProto.BOOL}
    dims: list[list[int | str]] = [list(a.shape) for a in case.moving]
    for axis in case.dynamic:
        dims[0][axis] = f"d{axis}"
    names = [net.input(f"x{i}", dims[i], kinds[a.dtype.kind]) for i, a in enumerate(case.moving)]
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
        net.graph({results[case.output]: case.type}), opset_imports=[onnx.helper.make_opsetid("", case.opset)]
    )
    model.ir_version = 10
    shape = evaluator(model).run(None, feeds)[0].shape
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(results[case.output], case.type, shape))
    return model, feeds, results[case.output]


def errors(case: Case, seed: int = 0) -> float:
    """How far the rule's gradient is from finite differences: largest difference, relative to the largest value."""
    model, feeds, output = build(case)
    rng = np.random.default_rng(seed)
    forward = evaluator(model)
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
                moved = np.array(feeds[name])
                moved[position] += step
                sides.append(forward.run(None, {**feeds, name: moved})[0])
            slope = (sides[0] - sides[1]) / (2 * _STEP)
            numeric[(slice(None), *position)] = (arrived * slope).reshape(3, -1).sum(1)
        worst = max(worst, float(np.abs(gradient - numeric).max() / max(np.abs(numeric).max(), 1e-3)))
    return worst


def runtime_error(case: Case, seed: int = 0) -> float:
    """How far the gradient graph in single precision, run by ONNX Runtime, is from the one in double precision.

    Forward values are those of the reference, so that it does not matter which operators ONNX Runtime has forwards.
    """
    model, feeds, output = build(case)
    shape = evaluator(model).run(None, feeds)[0].shape
    arrived = np.random.default_rng(seed).standard_normal((3, *shape))
    wanted = [name for name, value in feeds.items() if value.dtype.kind == "f"]
    exact = run_vjp(model, output, wanted, feeds, arrived)
    single = run_vjp(model, output, wanted, feeds, arrived, np.float32)
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-3)) for a, b in zip(exact, single, strict=True))


def run_vjp(
    model: onnx.ModelProto,
    output: str,
    wanted: Sequence[str],
    feeds: dict[str, np.ndarray],
    arrived: np.ndarray,
    real: npt.DTypeLike = np.float64,
) -> list[np.ndarray]:
    """The gradient graph of a model, run on what arrives at its output.

    Forward values come from the model itself, by the reference implementation.  A graph in double precision is run by
    the reference implementation, too; one in single precision by ONNX Runtime.
    """
    double = np.dtype(real) == np.float64
    given_model = ir.from_proto(onnx.shape_inference.infer_shapes(model if double else single(model)))
    proto = ir.to_proto(vjp(given_model, output, wanted, real))
    onnx.checker.check_model(proto, full_check=True)
    given = with_forward_values(proto, model, {**feeds, SEED: arrived})
    if double:
        return list(evaluator(proto).run(None, given))
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    running = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return list(running.run(None, {name: _narrowed(np.asarray(value)) for name, value in given.items()}))


def with_forward_values(
    gradient: onnx.ModelProto, model: onnx.ModelProto, feeds: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What a gradient graph needs: what is fed, and values of the forward graph that are computed from it."""
    needed = [value.name for value in gradient.graph.input]
    shapes = [name for name in needed if name.endswith(SHAPE)]
    read = [*(name for name in needed if name not in shapes), *(name.removesuffix(SHAPE) for name in shapes)]
    inner = [name for name in dict.fromkeys(read) if name not in feeds]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    given = {value.name: feeds[value.name] for value in model.graph.input}
    found = {**feeds, **dict(zip(inner, evaluator(probe).run(None, given) if inner else [], strict=True))}
    found.update((name, np.array(found[name.removesuffix(SHAPE)].shape)) for name in shapes)
    return {name: found[name] for name in needed}


def _narrowed(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float64 else array


def single(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with all its doubles as floats."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for value in (*result.graph.input, *result.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for tensor in result.graph.initializer:
        narrow = _narrowed(onnx.numpy_helper.to_array(tensor))
        tensor.CopyFrom(onnx.numpy_helper.from_array(narrow, tensor.name))
    for node in result.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.DOUBLE:
                attribute.i = TensorProto.FLOAT
    return result
