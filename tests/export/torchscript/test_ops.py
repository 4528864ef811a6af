"""Every operator in torch: its values against ONNX Runtime's, its gradient against finite differences."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto
from onnx_ir.passes import common as passes

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.graphs.query import constant_array
from boxcam.export.graphs.run import run_model
from boxcam.export.torchscript.ops import TORCH_OPS, Constants, Inputs, Operator
from tests.export.export_graphs import Net

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


@dataclass(frozen=True)
class Case:
    """One node: the first inputs are fed, the rest are constants (None: left out)."""

    operator: str
    inputs: tuple[np.ndarray, ...]
    constants: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 18
    outputs: int = 1
    gradient: bool = True

    def __str__(self) -> str:
        shapes = [list(a.shape) for a in self.inputs]
        return f"{self.operator}-{shapes}-{[np.shape(c) for c in self.constants]}-{self.attributes}-{self.opset}"


_rng = np.random.default_rng(0)


def spread(*shape: int, low: float = -3.0, high: float = 3.0) -> np.ndarray:
    """Numbers no two of which are nearer than the steps of the finite differences, and none of which is a bound."""
    count = int(np.prod(shape))
    grid = np.linspace(low, high, 2 * count + 1)[1::2] + 0.0123 * (high - low) / (2 * count + 1)
    return _rng.permutation(grid).reshape(shape).astype(np.float32)


def plus(*shape: int) -> np.ndarray:
    return spread(*shape, low=0.2, high=3.0)


def ints(*values: Any) -> np.ndarray:
    return np.array(values[0] if len(values) == 1 and isinstance(values[0], list) else values, np.int64)


def flags(*shape: int) -> np.ndarray:
    return _rng.random(shape) < 0.5


A, B = spread(2, 3, 4), spread(3, 1)
CASES: list[Case] = []


def case(operator: str, *inputs: np.ndarray, constants: Sequence[Any] = (), **options: Any) -> None:
    own = {name: options.pop(name) for name in ("opset", "outputs", "gradient") if name in options}
    CASES.append(Case(operator, inputs, tuple(constants), options, **own))


for _name in ("Abs", "Elu", "Erf", "Exp", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish", "Neg"):
    case(_name, A)
for _name in ("Relu", "Sigmoid", "Softplus", "Tanh", "Softmax", "LogSoftmax"):
    case(_name, A)
for _name in ("Log", "Reciprocal", "Sqrt"):
    case(_name, plus(2, 3, 4))
for _name in ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"):
    case(_name, A, B)
    case(_name, A, constants=[np.float32(0.7)])
for _name in ("Max", "Min", "Sum", "Mean"):
    case(_name, A, B, spread(4))
    case(_name, A)
for _name in ("Add", "Sub", "Mul", "Max", "Min"):
    case(_name, ints(5, -7, 2), ints(-3), gradient=False)
case("Div", A, plus(3, 1))
case("Div", ints(7, -7, 9, -1), ints(2, 2, -4, 3), gradient=False)
case("Pow", plus(2, 3), spread(3))
case("Pow", A, constants=[np.float32(2)])
case("Mod", ints(7, -7, 7, -7), ints(3, 3, -3, -3), gradient=False)
case("Mod", ints(7, -7, 7, -7), ints(3, 3, -3, -3), fmod=1, gradient=False)
for _name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
    case(_name, ints([[1, 2, 3], [3, 2, 1]]), ints(2, 2, 1), gradient=False)
for _name in ("And", "Or"):
    case(_name, flags(4, 3), flags(3), gradient=False)
case("Not", flags(5), gradient=False)
case("Clip", A, constants=[np.float32(-1), np.float32(1.5)])
case("Clip", A, constants=[np.float32(-1)])
case("Clip", A, constants=[None, np.float32(1.5)])
case("Clip", A)
case("Clip", ints(-5, 0, 9), constants=[np.int64(-1), np.int64(4)], gradient=False)
case("LeakyRelu", A, alpha=0.3)
case("Elu", A, alpha=0.5)
case("Gelu", A, opset=20)
case("Gelu", A, opset=20, approximate="tanh")
case("HardSigmoid", A, alpha=0.5, beta=0.3)
case("PRelu", A, plus(3, 1))
case("PRelu", A, constants=[spread(1)])
case("Cast", A, to=int(FLOAT))
case("Cast", A, to=int(INT64), gradient=False)
case("Cast", ints(0, 3, -2), to=int(FLOAT), gradient=False)
case("Cast", ints(0, 3, -2), to=int(BOOL), gradient=False)
case("Cast", flags(5), to=int(FLOAT), gradient=False)
case("Cast", flags(5), to=int(TensorProto.INT32), gradient=False)
case("Reshape", A, constants=[ints(4, -1)])
case("Reshape", A, constants=[ints(0, 2, -1)])
case("Reshape", A, ints(4, -1))
case("Reshape", A, ints(0, 0, 2, 2))
case("Reshape", np.zeros((0, 3), np.float32), ints(3, 0), allowzero=1, gradient=False)
case("Reshape", np.zeros((0, 3), np.float32), constants=[ints(3, 0)], allowzero=1, gradient=False)
for _axis in (0, 1, 2, 3, -1):
    case("Flatten", A, axis=_axis)
case("Squeeze", spread(1, 3, 1, 2), constants=[ints(0, -2)])
case("Squeeze", spread(1, 3, 1, 2))
case("Squeeze", spread(1, 3, 1, 2), axes=[2], opset=11)
case("Unsqueeze", A, constants=[ints(-1, 0, 2)])
case("Unsqueeze", A, axes=[1, 4], opset=11)
case("Transpose", A)
case("Transpose", A, perm=[1, 2, 0])
case("Concat", A, spread(2, 1, 4), axis=1)
case("Concat", A, constants=[spread(2, 3, 2)], axis=-1)
case("Split", spread(7, 2), constants=[ints(4, 3)], outputs=2)
case("Split", spread(2, 7), outputs=3, num_outputs=3, axis=-1)
case("Split", spread(2, 6), outputs=2, split=[2, 4], axis=1, opset=11)
case("Split", spread(4, 2), outputs=2, opset=13)
case("Slice", spread(5, 6), constants=[ints(1), ints(4)])
case("Slice", spread(5, 6), constants=[ints(-4, 0), ints(2**63 - 1, -1), ints(1, 0), ints(2, 1)])
case("Slice", spread(5, 6), constants=[ints(-99), ints(99), ints(-1), ints(3)])
case("Gather", A, constants=[ints(2, -1, 0)], axis=1)
case("Gather", A, constants=[ints([[1, 0], [0, 1]])])
case("Gather", A, constants=[np.array(-1)], axis=-1)
case("Gather", A, ints(2, 0, 2, 1), axis=2)
case("GatherElements", A, constants=[ints([[[0, 2, 1, 0]], [[1, 1, 0, 2]]])], axis=1)
case("GatherElements", A, constants=[ints([[[0, -1, 1, 0]], [[-3, 1, 0, 2]]])], axis=-2)
case("GatherND", A, constants=[ints([[1, 2], [0, -1]])])
case("GatherND", A, ints([[[1, 2, 3]], [[0, 1, 0]]]))
case("ScatterND", A, constants=[ints([[-1]]), spread(1, 3, 4)])
case("ScatterND", A, constants=[ints([[1, -1], [0, 0], [1, 0]]), spread(3, 4)])
case("ScatterElements", A, constants=[ints([[[2, 0, 1, 1]]]), spread(1, 1, 4)], axis=1)
case("ScatterElements", A, constants=[ints([[[-1, 0]]]), spread(1, 1, 2)], axis=-1)
case("Expand", spread(3, 1), constants=[ints(2, 1, 4)])
case("Expand", A, constants=[ints(1, 1)])
case("Tile", spread(2, 3), constants=[ints(2, 3)])
case("Pad", spread(2, 3, 2), constants=[ints(0, 1, 2, 0, 3, 0)])
case("Pad", spread(2, 3), constants=[ints(0, -1, 1, 2), np.float32(1.5)])
case("Shape", A, gradient=False)
case("Shape", A, start=1, end=-1, gradient=False)
case("NonZero", ints([[0, 3, 0], [1, 0, 2]]), gradient=False)
for _keep in (0, 1):
    case("ArgMax", ints([[1, 5, 5], [7, 7, 2]]), axis=-1, keepdims=_keep, gradient=False)
    case("ArgMax", ints([[1, 5, 5], [7, 7, 2]]), axis=1, keepdims=_keep, select_last_index=1, gradient=False)
for _name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2"):
    case(_name, A, constants=[ints(-1, 0)])
    case(_name, A, constants=[ints(1)], keepdims=0)
    case(_name, A, keepdims=0)
    case(_name, A, noop_with_empty_axes=1) if _name != "ReduceL2" else None
for _name in ("ReduceMean", "ReduceMax", "ReduceL2"):
    case(_name, A, axes=[1], keepdims=0, opset=13)
case("Softmax", A, axis=1)
case("LogSoftmax", A, axis=0)
case("MatMul", spread(2, 3), spread(3, 4))
case("MatMul", spread(2, 3, 4), spread(4, 2))
case("Gemm", spread(2, 3), spread(3, 4), spread(4))
case("Gemm", spread(3, 2), spread(4, 3), spread(2, 1), transA=1, transB=1, alpha=0.5, beta=2.0)
case("Gemm", spread(2, 3), spread(3, 4))
case("Conv", spread(1, 2, 5, 6), spread(3, 2, 3, 3), spread(3), pads=[1, 1, 1, 1])
case("Conv", spread(2, 4, 5, 6), spread(4, 2, 3, 2), group=2, strides=[2, 1], pads=[0, 1, 2, 0])
case("Conv", spread(1, 2, 7, 7), spread(1, 2, 3, 3), auto_pad="SAME_LOWER", strides=[2, 3])
case("Conv", spread(1, 2, 6, 5), spread(1, 2, 4, 3), strides=[2, 2], auto_pad="SAME_UPPER")
case("Conv", spread(1, 2, 6, 5), spread(1, 2, 3, 3), auto_pad="VALID")
case("Conv", spread(1, 2, 7, 7), spread(1, 2, 3, 3), dilations=[2, 3])
case("Conv", spread(1, 2, 7), spread(3, 2, 3), pads=[1, 2])
case("ConvTranspose", spread(1, 2, 3, 4), spread(2, 3, 3, 2), spread(3), strides=[2, 3], pads=[1, 0, 1, 0])
case("ConvTranspose", spread(1, 4, 3, 3), spread(4, 1, 3, 3), group=2, strides=[2, 2], output_padding=[1, 0])
case("ConvTranspose", spread(1, 2, 3, 4), spread(2, 1, 2, 2), dilations=[2, 1])
case("MaxPool", spread(1, 2, 5, 6), kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
case("MaxPool", spread(1, 1, 6, 7), kernel_shape=[2, 2], dilations=[2, 3])
case("MaxPool", spread(1, 1, 5, 6), kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
case("MaxPool", spread(1, 1, 5, 6), kernel_shape=[2, 2])
case("AveragePool", spread(1, 2, 5, 6), kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
case("AveragePool", spread(1, 2, 5, 6), kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
case("GlobalAveragePool", spread(2, 3, 4, 5))
case("BatchNormalization", spread(2, 3, 2, 2), constants=[spread(3), spread(3), spread(3), plus(3)], epsilon=0.01)
case("InstanceNormalization", spread(2, 3, 4, 2), constants=[spread(3), spread(3)], epsilon=0.01)
case("LayerNormalization", spread(2, 3, 4), constants=[spread(4), spread(4)])
case("LayerNormalization", spread(2, 3, 4), constants=[spread(3, 4)], axis=1, epsilon=0.1)
MODES = [("half_pixel", "linear"), ("pytorch_half_pixel", "linear"), ("asymmetric", "linear")]
for _how, _mode in [*MODES, ("align_corners", "linear")]:
    case(
        "Resize",
        spread(1, 2, 3, 5),
        constants=[None, None, ints(1, 2, 7, 4)],
        mode=_mode,
        coordinate_transformation_mode=_how,
    )
    case(
        "Resize",
        spread(1, 2, 3, 5),
        constants=[None, np.float32([1, 1, 2.5, 0.7])],
        mode=_mode,
        coordinate_transformation_mode=_how,
    )
for _nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
    for _how in ("asymmetric", "half_pixel"):
        case(
            "Resize",
            spread(1, 2, 3, 5),
            constants=[None, np.float32([1, 1, 2, 1.6])],
            mode="nearest",
            coordinate_transformation_mode=_how,
            nearest_mode=_nearest,
        )
case("Resize", spread(1, 1, 3, 3), constants=[None, None, ints(1, 1, 1, 1)], mode="linear",
     coordinate_transformation_mode="pytorch_half_pixel")  # fmt: skip
ROIS = np.float32([[0.3, 0.8, 4.6, 3.9], [-1, 2, 9, 7], [1, 1, 1.2, 1.1]])
GRID = spread(1, 4, 5, 2, low=-1.3, high=1.3)
for _mode, _opset in (("bilinear", 16), ("linear", 20), ("cubic", 20)):
    for _padding, _align in (("zeros", 0), ("border", 1), ("reflection", 0)):
        case("GridSample", spread(1, 2, 6, 7), GRID, opset=_opset, mode=_mode, padding_mode=_padding,
             align_corners=_align)  # fmt: skip
case("GridSample", spread(1, 2, 6, 7), constants=[GRID], opset=16, mode="nearest")
case("GridSample", spread(1, 2, 6, 7), GRID, opset=20)
for _opset, _options in ((16, {}), (10, {}), (16, {"coordinate_transformation_mode": "output_half_pixel"})):
    for _ratio in (0, 2):
        case("RoiAlign", spread(1, 2, 6, 7), constants=[ROIS, ints(0, 0, 0)], opset=_opset, output_height=2,
             output_width=3, sampling_ratio=_ratio, spatial_scale=0.9, **_options)  # fmt: skip


def prepared(case: Case) -> tuple[ir.Model, ir.Node, dict[str, np.ndarray]]:
    net = Net(case.opset)
    feeds = {}
    for n, array in enumerate(case.inputs):
        kind = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64, np.dtype(bool): BOOL}[array.dtype]
        feeds[net.input(f"x{n}", array.shape, kind)] = array
    names = net.node(case.operator, [*feeds, *case.constants], outputs=case.outputs, **case.attributes)
    proto = net.proto(dict.fromkeys(names, FLOAT))
    for value in proto.graph.output:
        value.ClearField("type")
    model = ir.from_proto(proto)
    return model, next(iter(model.graph)), feeds


def truth(model: ir.Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What ONNX Runtime gives, outputs in their order."""
    passes.ShapeInferencePass()(model)
    return list(run_model(model, feeds).values())


def computed(node: ir.Node, operator: Operator, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    arrays = [constant_array(value) for value in node.inputs]
    given: list[torch.Tensor | None] = []
    rest = iter(inputs)
    for value, array in zip(node.inputs, arrays, strict=True):
        if value is None:
            given.append(None)
        elif array is None:
            given.append(next(rest))
        else:
            constant = torch.from_numpy(np.array(array))
            double = inputs[0].dtype == torch.float64 and constant.is_floating_point()
            given.append(constant.double() if double else constant)
    if node.op_type == "Cast":
        given.append(torch.ones((), dtype=inputs[0].dtype if inputs[0].is_floating_point() else torch.float32))
    found = operator(node, given, arrays)
    return list(found) if isinstance(found, tuple) else [found]


def assert_values(case: Case, operator: Operator) -> None:
    model, node, feeds = prepared(case)
    expected = truth(model, feeds)
    found = computed(node, operator, [torch.from_numpy(array.copy()) for array in feeds.values()])
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.numpy().dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours.numpy(), theirs, atol=3e-6, rtol=1e-5)


def assert_gradient(case: Case, operator: Operator, at: Sequence[torch.Tensor] | None = None) -> None:
    """Along a random direction: autograd against central differences, in float64."""
    _, node, feeds = prepared(case)
    generator = torch.Generator().manual_seed(3)
    inputs = [torch.from_numpy(array.copy()) for array in feeds.values()] if at is None else list(at)
    inputs = [x.double().requires_grad_(True) if x.is_floating_point() else x for x in inputs]
    moving = [x for x in inputs if x.requires_grad]
    way = [torch.randn(x.shape, generator=generator, dtype=torch.float64) for x in moving]
    outputs = computed(node, operator, inputs)
    weight = [torch.randn(y.shape, generator=generator, dtype=torch.float64) for y in outputs]

    def total(sign: float) -> torch.Tensor:
        steps = iter(way)
        moved = [x.detach() + sign * 1e-6 * next(steps) if x.requires_grad else x for x in inputs]
        results = computed(node, operator, moved)
        return sum(((y * w).sum() for y, w in zip(results, weight, strict=True)), torch.zeros(()).double())

    gradients = torch.autograd.grad(outputs, moving, weight, allow_unused=False)
    along = sum(float((g * d).sum()) for g, d in zip(gradients, way, strict=True))
    difference = float(total(1) - total(-1)) / 2e-6
    assert abs(difference) > 1e-3, "the direction tells nothing"
    assert along == pytest.approx(difference, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_are_those_of_onnx_runtime(case: Case) -> None:
    assert_values(case, TORCH_OPS[case.operator])


@pytest.mark.parametrize("case", [case for case in CASES if case.gradient], ids=str)
def test_gradients_are_those_of_finite_differences(case: Case) -> None:
    assert_gradient(case, TORCH_OPS[case.operator])


def test_a_computed_shape_is_computed_anew_by_a_trace() -> None:
    _, node, _ = prepared(Case("Reshape", (A, ints(4, 0))))

    def reshaped(x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
        return computed(node, TORCH_OPS["Reshape"], [x, shape])[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(reshaped, (torch.zeros(2, 6), torch.tensor([4, -1])))
    assert traced(torch.zeros(6, 4), torch.tensor([0, 4])).shape == (6, 4)
    assert traced(torch.zeros(6, 4), torch.tensor([-1, 2])).shape == (12, 2)


WHERE = Case("Where", (flags(2, 3, 1), A, B))


def test_where_chooses_values_and_gradients() -> None:
    assert_values(WHERE, TORCH_OPS["Where"])
    assert_gradient(WHERE, TORCH_OPS["Where"])


@pytest.mark.parametrize("operator", TORCH_OPS)
def test_every_operator_has_a_case(operator: str) -> None:
    assert any(case.operator == operator for case in [*CASES, WHERE])


# The checker checks -------------------------------------------------------------------------------------------------


def test_a_wrong_value_is_found() -> None:
    def wrong(node: ir.Node, x: Inputs, constants: Constants) -> torch.Tensor:
        return torch.tanh(x[0]) * 1.001

    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_values(Case("Tanh", (A,)), wrong)


def test_a_wrong_gradient_is_found() -> None:
    def wrong(node: ir.Node, x: Inputs, constants: Constants) -> torch.Tensor:
        return torch.tanh(x[0]).detach() + 0.999 * (x[0] - x[0].detach())

    assert_values(Case("Tanh", (A,)), wrong)
    with pytest.raises(AssertionError):
        assert_gradient(Case("Tanh", (A,)), wrong)


# Where an operator has a kink ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "at"),
    [
        (Case("Clip", (A,), (np.float32(0), np.float32(6))), [0.0, 6.0]),
        (Case("Relu", (A,)), [0.0]),
        (Case("HardSigmoid", (A,), (), {"alpha": 0.25, "beta": 0.5}), [-2.0, 2.0]),
    ],
    ids=str,
)
def test_the_gradient_is_zero_at_a_bound(case: Case, at: list[float]) -> None:
    _, node, _ = prepared(case)
    x = torch.tensor(at, requires_grad=True)
    (y,) = computed(node, TORCH_OPS[case.operator], [x])
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0] * len(at)


# Refused ------------------------------------------------------------------------------------------------------------


REFUSED: dict[str, tuple[Case, str]] = {
    "negative step": (Case("Slice", (A,), (ints(3), ints(-9), ints(1), ints(-1))), "negative step"),
    "batch dims": (Case("GatherND", (A,), (ints([[1], [0]]),), {"batch_dims": 1}), "batch_dims"),
    "adding scatter": (Case("ScatterND", (A,), (ints([[1]]), spread(1, 3, 4)), {"reduction": "add"}), "reduction"),
    "adding scatter of elements": (
        Case("ScatterElements", (A,), (ints([[[1]]]), spread(1, 1, 1)), {"reduction": "add"}),
        "reduction",
    ),
    "reflecting pad": (Case("Pad", (A,), (ints(0, 1, 0, 0, 1, 0),), {"mode": "reflect"}), "mode 'reflect'"),
    "pad of axes": (Case("Pad", (A,), (ints(1, 1), np.float32(0), ints(1))), "axes"),
    "cast to half": (Case("Cast", (A,), (), {"to": int(TensorProto.FLOAT16)}), "to FLOAT16"),
    "transpose with output_shape": (
        Case("ConvTranspose", (spread(1, 1, 3, 3), spread(1, 1, 2, 2)), (), {"output_shape": [4, 4]}),
        "explicit pads",
    ),
    "transpose with asymmetric pads": (
        Case("ConvTranspose", (spread(1, 1, 3, 3), spread(1, 1, 2, 2)), (), {"pads": [1, 0, 0, 0]}),
        "asymmetric",
    ),
    "ceil mode": (Case("MaxPool", (spread(1, 1, 5, 5),), (), {"kernel_shape": [2, 2], "ceil_mode": 1}), "ceil_mode"),
    "pool of one axis": (Case("AveragePool", (spread(1, 1, 5),), (), {"kernel_shape": [2]}), "2-D"),
    "cubic resize": (
        Case("Resize", (spread(1, 1, 3, 3),), (None, None, ints(1, 1, 5, 5)), {"mode": "cubic"}),
        "'cubic', 'half_pixel'",
    ),
    "resize by a box": (
        Case(
            "Resize",
            (spread(1, 1, 3, 3),),
            (np.float32([0, 0, 0, 0, 1, 1, 1, 1]), None, ints(1, 1, 5, 5)),
            {"coordinate_transformation_mode": "tf_crop_and_resize"},
        ),
        "tf_crop_and_resize",
    ),
    "resize of some axes": (
        Case("Resize", (spread(1, 1, 3, 3),), (None, None, ints(5, 5)), {"mode": "nearest", "axes": [2, 3]}),
        "axes",
    ),
    "maximum of samples": (
        Case(
            "RoiAlign",
            (spread(1, 1, 6, 6),),
            (ROIS, ints(0, 0, 0)),
            {"mode": "max", "output_height": 2, "output_width": 2},
        ),
        "only 'avg' on one image",
    ),
    "two images": (Case("RoiAlign", (spread(2, 1, 6, 6),), (ROIS, ints(0, 1, 0))), "only 'avg' on one image"),
    "shape that is computed": (Case("Expand", (B, ints(2, 3, 4))), "computes its input 1"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_implemented_is_refused_and_named(kind: str) -> None:
    case, message = REFUSED[kind]
    _, node, feeds = prepared(case)
    inputs = [torch.from_numpy(array.copy()) for array in feeds.values()]
    with pytest.raises(UnsupportedOperatorError, match=message) as raised:
        computed(node, TORCH_OPS[case.operator], inputs)
    assert f"{case.operator} ({node.name})" in str(raised.value)
