"""One node or more for each row of the table of operators, to be run: what its traits are proved by.

Small, and of numbers that are nothing special: no two equal, none at a kink, outputs not of the inputs' size by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Case:
    """One node.

    Attributes:
        operator: its name.
        inputs: their values; None: left out.
        attributes: of the node.
        opset: of the graph.
        outputs: how many it has.
        output: which of them is looked at; of a sequence of tensors, which of these.
        held: inputs with a slope that is not followed, as they are held: proposals, bounds, what fills up.
        step: how far inputs are moved to see whether there is a slope: far, where numbers are rounded.
        reference: whether ONNX's reference implementation runs it, and not ONNX Runtime: random numbers are the same
            in every run there.
        sequence: whether the output is a sequence of tensors.
        fixed: floating-point inputs that are sizes, which cannot be moved a little.
    """

    operator: str
    inputs: tuple[Array | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 18
    outputs: int = 1
    output: int = 0
    held: tuple[int, ...] = ()
    step: float = 1e-3
    reference: bool = False
    sequence: bool = False
    fixed: tuple[int, ...] = ()

    def __str__(self) -> str:
        shapes = "-".join("x".join(map(str, a.shape)) for a in self.inputs if a is not None)
        return f"{self.operator}-{shapes}-{self.opset}"


_rng = np.random.default_rng(7)


def _r(*shape: int) -> Array:
    return _rng.standard_normal(shape).astype(np.float32)


def _u(*shape: int, low: float = 0.1, high: float = 0.9) -> Array:
    return _rng.uniform(low, high, shape).astype(np.float32)


def _i(numbers: Any, dtype: Any = np.int64) -> Array:
    return np.array(numbers, dtype)


def _f(number: Any) -> Array:
    return np.array(number, np.float32)


def _b(*shape: int) -> Array:
    return np.asarray(_rng.permutation(np.arange(int(np.prod(shape))) % 2).reshape(shape) == 1)


_INTEGERS = _i([[5, 2, 6], [3, 7, 1]], np.uint8), _i([[1, 2, 3], [2, 1, 4]], np.uint8)
_IMAGE = _r(2, 2, 4, 4)
_ROIS = _f([[0.2, 0.3, 2.6, 2.9], [0.1, 1.2, 2.8, 2.3], [0.7, 0.4, 2.2, 2.1]])

_UNARY = {
    **dict.fromkeys(
        ("Abs", "Asinh", "Atan", "Ceil", "Celu", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish",
         "Identity", "LeakyRelu", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign",
         "Sin", "Sinh", "Softplus", "Softsign", "Tan", "Tanh", "ThresholdedRelu"),
        _r(2, 3, 4),
    ),
    "Acos": _u(2, 3, 4), "Acosh": 1 + _u(2, 3, 4), "Asin": _u(2, 3, 4), "Atanh": _u(2, 3, 4), "Cosh": _r(2, 3, 4),
    "Log": _u(2, 3, 4), "Sqrt": _u(2, 3, 4),
}  # fmt: skip

_ELEMENTWISE = [
    *[Case(name, (x,)) for name, x in _UNARY.items()],
    Case("Gelu", (_r(2, 3, 4),), opset=20),
    Case("Swish", (_r(2, 3, 4),), opset=24, reference=True),
    Case("IsInf", (np.where(_b(2, 3), np.inf, _r(2, 3)).astype(np.float32),)),
    Case("IsNaN", (np.where(_b(2, 3), np.nan, _r(2, 3)).astype(np.float32),)),
    *[
        Case(name, (left, right))
        for name in ("Add", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum")
        for left, right in ((_r(2, 3, 4), _r(2, 3, 4)), (_r(2, 3, 1), _r(3, 4)))
    ],
    Case("Pow", (_u(2, 3), _r(2, 3))),
    Case("Pow", (_u(2, 3), _r(3))),
    Case("Mod", (_r(2, 3) * 5, _u(2, 3)), {"fmod": 1}),
    Case("PRelu", (_r(2, 3, 4), _f([0.25]))),
    Case("PRelu", (_r(2, 3, 4), _f([-0.5]))),
    Case("PRelu", (_r(2, 3, 4), _u(3, 1))),
    Case("SwiGLU", (_r(2, 3), _r(2, 3)), opset=28, reference=True),
    Case("Where", (_b(2, 3), _r(2, 3), _r(2, 3))),
    Case("Where", (_b(3), _r(2, 1), _r(2, 3))),
    Case("Clip", (_r(3, 4), _f(-0.7), _f(0.6)), held=(1, 2)),
    Case("Clip", (_r(3, 4),)),
    Case("Cast", (_r(2, 3),), {"to": 11}),
    Case("CastLike", (_r(2, 3), np.zeros(4))),
    Case("Dropout", (_r(2, 3), _f(0.3)), outputs=2),
    Case("Equal", _INTEGERS),
    *[
        Case(name, (left, right))
        for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
        for left, right in ((_r(2, 3), _r(2, 3)), (_r(2, 1), _r(3)))
    ],
    *[Case(name, (_b(2, 4), _b(2, 4))) for name in ("And", "Or", "Xor")],
    Case("Not", (_b(2, 3),)),
    Case("BitShift", _INTEGERS, {"direction": "LEFT"}),
    *[Case(name, _INTEGERS) for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")],
    Case("BitwiseNot", _INTEGERS[:1]),
]

_PARAMETERS = [
    Case("BatchNormalization", (_r(2, 3, 2, 2), _u(3), _r(3), _r(3), _u(3))),
    Case("QuantizeLinear", (_r(2, 3, 2) * 9, _f([0.1, 0.2, 0.3]), _i([1, 2, 3], np.int8)), held=(1,), step=1.0),
    Case("DequantizeLinear", (_i(_rng.permutation(12).reshape(2, 3, 2), np.int8), _f([0.1, 0.2, 0.3])), held=(1,)),
]

_ALONG_AN_AXIS = [
    Case("ArgMax", (_r(3, 4, 2),), {"axis": 1}),
    Case("ArgMin", (_r(3, 4),), opset=11),
    Case("Softmax", (_r(2, 3, 4),), {"axis": 1}),
    Case("Softmax", (_r(2, 3, 4),)),
    Case("Softmax", (_r(2, 3, 4),), opset=11),
    Case("LogSoftmax", (_r(2, 3, 4),), {"axis": -2}),
    Case("LogSoftmax", (_r(2, 3, 2, 2),), {"axis": 2}, opset=11),
    Case("Hardmax", (_r(2, 3, 4),), {"axis": 1}),
    Case("Hardmax", (_r(2, 3, 4),), opset=11),
    Case("LpNormalization", (_r(2, 3, 4),), {"axis": 1}),
    Case("CumSum", (_r(2, 3, 4), _i(1))),
    Case("CumProd", (_r(2, 3, 4), _i(1)), opset=26, reference=True),
    Case("TopK", (_r(2, 5), _i([3])), {"axis": 1}, outputs=2),
    Case("Concat", (_r(2, 2), _r(2, 3)), {"axis": 1}),
    Case("Concat", (_r(1, 3), _r(2, 3)), {"axis": 0}),
    Case("Gather", (_r(3, 4), _i([2, 0])), {"axis": 1}),
    Case("Gather", (_r(3, 4), _i([2, 0]))),
    Case("GatherElements", (_r(3, 4), _i([[2, 1, 0, 1], [0, 2, 1, 1]]))),
    Case("Split", (_r(2, 5), _i([2, 3])), {"axis": 1}, outputs=2, output=1),
    Case("SplitToSequence", (_r(2, 5), _i([2, 3])), {"axis": 1}, output=1, sequence=True),
    Case("Compress", (_r(3, 4), _i([0, 1, 1], bool)), {"axis": 0}),
    Case("ScatterElements", (_r(3, 4), _i([[1, 2]]), _r(1, 2)), {"axis": 1}),
    Case("TensorScatter", (_r(2, 4, 3), _r(2, 1, 3), _i([1, 2])), {"axis": 1}, opset=24, reference=True),
    Case("LayerNormalization", (_r(2, 3, 4), _u(4), _r(4))),
    Case("LayerNormalization", (_r(2, 3, 4), _u(3, 4)), {"axis": 1}),
    Case("RMSNormalization", (_r(2, 3, 4), _u(4)), opset=23, reference=True),
    Case("RMSNormalization", (_r(2, 3, 4), _u(3, 4)), {"axis": 1}, opset=23, reference=True),
]

_REDUCTIONS = [
    Case(name, (_u(2, 3, 4), _i([1])))
    for name in ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
                 "ReduceProd", "ReduceSum", "ReduceSumSquare")
]  # fmt: skip

_ALONG_AXES = [
    *_REDUCTIONS,
    Case("ReduceSum", (_r(2, 3, 4), _i([0, -1]))),
    Case("ReduceMean", (_r(2, 3, 4),), {"axes": [1, 2]}, opset=13),
    Case("MeanVarianceNormalization", (_r(2, 2, 2, 2),)),
    Case("MeanVarianceNormalization", (_r(2, 2, 2, 2),), {"axes": [2, 3]}),
    Case("Slice", (_r(3, 4), _i([1]), _i([3]), _i([1]))),
    Case("Pad", (_r(3, 4), _i([1, 0]), _f(0.5), _i([0])), held=(2,)),
    Case("Pad", (_r(3, 4), _i([1, 2]), None, _i([1])), {"mode": "reflect"}),
]

_PRODUCTS = [
    Case("MatMul", (_r(2, 3), _r(3, 4))),
    Case("MatMul", (_r(2, 2, 3), _r(3, 2))),
    Case("Gemm", (_r(2, 3), _r(3, 4), _r(4))),
    Case("Gemm", (_r(2, 3), _r(4, 3)), {"transB": 1}),
    Case("Einsum", (_r(2, 3), _r(4, 3)), {"equation": "ij,kj->ki"}),
    Case("Einsum", (_r(3, 3), _r(3, 3)), {"equation": "ij,jk->ik"}),
]

_MAPS = [
    Case("LRN", (_r(2, 3, 2, 2),), {"size": 3}),
    Case("GlobalAveragePool", (_r(2, 2, 2, 3),)),
    Case("GlobalLpPool", (_r(2, 2, 2, 3),)),
    Case("GlobalMaxPool", (_r(2, 2, 2, 3),)),
    Case("InstanceNormalization", (_r(2, 2, 2, 3), _u(2), _r(2))),
    Case("GridSample", (_r(1, 2, 3, 3), _u(1, 2, 2, 2, low=-0.5, high=0.2)), opset=20),
    Case("AveragePool", (_IMAGE,), {"kernel_shape": [2, 2]}),
    Case("AveragePool", (_IMAGE,), {"kernel_shape": [1, 3], "pads": [0, 1, 0, 1]}),
    Case("LpPool", (_IMAGE,), {"kernel_shape": [2, 2]}),
    Case("MaxPool", (_IMAGE,), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    Case("MaxPool", (_IMAGE,), {"kernel_shape": [1, 1], "strides": [2, 1]}),
    Case("Conv", (_IMAGE, _r(3, 2, 3, 3), _r(3)), {"pads": [1, 1, 1, 1]}),
    Case("Conv", (_IMAGE, _r(3, 2, 1, 1))),
    Case("Conv", (_IMAGE, _r(3, 2, 1, 3)), {"kernel_shape": [1, 3]}),
    Case("ConvTranspose", (_r(2, 2, 2, 2), _r(2, 3, 2, 2)), {"strides": [2, 2]}),
    Case("DeformConv", (_r(1, 2, 6, 6), _r(3, 2, 2, 2), _u(1, 8, 2, 2, high=0.5)), {"strides": [3, 3]}, opset=19),
    Case("DeformConv", (_r(1, 2, 4, 4), _r(3, 2, 1, 1), _u(1, 2, 4, 4, low=0.2, high=0.8)), opset=19),
    Case("GroupNormalization", (_r(2, 4, 2, 2), _u(4), _r(4)), {"num_groups": 1}, opset=21),
    Case("DepthToSpace", (_r(2, 4, 2, 2),), {"blocksize": 2}),
    Case("SpaceToDepth", (_r(2, 2, 4, 4),), {"blocksize": 2}),
    Case("Col2Im", (_r(1, 4, 4), _i([5]), _i([2]))),
    Case("RoiAlign", (_r(2, 2, 4, 4), _ROIS, _i([0, 1, 0])), {"output_height": 2, "output_width": 2}, held=(1,)),
    Case("MaxRoiPool", (_r(1, 2, 4, 4), _f([[0, 0, 0, 2, 2], [0, 1, 1, 3, 3]])), {"pooled_shape": [2, 2]}),
    Case("Resize", (_r(1, 2, 2, 2), None, _f([1, 1, 2, 1])), {"mode": "nearest"}, fixed=(2,)),
    Case("Resize", (_r(1, 2, 2, 3), None, None, _i([1, 2, 4, 6])), {"mode": "linear"}),
    Case("Upsample", (_r(1, 2, 2, 2), _f([1, 1, 2, 2])), {"mode": "linear"}, opset=9, fixed=(1,)),
]

_RESIZED = [
    Case("Tile", (_r(2, 3), _i([1, 2]))),
    Case("CenterCropPad", (_r(4, 3), _i([2, 5])), reference=True),
    Case("CenterCropPad", (_r(2, 3, 4), _i([2, 3, 6])), reference=True),
]

_ANY_AXES = [
    Case("AffineGrid", (_r(1, 2, 3), _i([1, 1, 2, 2])), opset=20),
    Case("Attention", (_r(1, 2, 3, 4), _r(1, 2, 3, 4), _r(1, 2, 3, 4)), opset=23, reference=True),
    Case("DFT", (_r(2, 3, 2, 1), None, _i(1)), opset=20, reference=True),
    Case("Det", (_r(2, 2, 2),)),
    Case("Expand", (_r(2, 1), _i([2, 3]))),
    Case("Expand", (_r(2, 1), _i([3, 2, 1]))),
    Case("Flatten", (_r(2, 3, 2),), {"axis": 2}),
    Case("GatherND", (_r(2, 3), _i([[1, 2], [0, 1]]))),
    Case("Reshape", (_r(2, 6), _i([3, 4]))),
    Case("Reshape", (_r(2, 6), _i([2, 3, 2]))),
    Case("ReverseSequence", (_r(3, 2), _i([3, 2])), {"time_axis": 0, "batch_axis": 1}),
    Case("ReverseSequence", (_r(2, 3), _i([3, 2])), {"time_axis": 1, "batch_axis": 0}),
    Case("RotaryEmbedding", (_r(1, 2, 2, 4), _r(5, 2), _r(5, 2), _i([[1, 3]])), opset=23, reference=True),
    Case("STFT", (_r(1, 8, 1), _i(2), _r(4)), opset=17, reference=True),
    Case("ScatterND", (_r(3, 2), _i([[1], [2]]), _r(2, 2))),
    Case("ScatterND", (_r(3, 2), _i([[1, 0], [2, 1]]), _r(2))),
    Case("Squeeze", (_r(2, 1, 3), _i([1]))),
    Case("Transpose", (_r(2, 3, 4),), {"perm": [0, 2, 1]}),
    Case("Transpose", (_r(3, 3),), {"perm": [1, 0]}),
    Case("Trilu", (_r(3, 3),)),
    Case("Unsqueeze", (_r(2, 3), _i([1]))),
]

_WITHOUT_GRADIENT = [
    Case("Bernoulli", (_u(4, 3),), {"seed": 1.0}),
    Case("Constant", (), {"value_floats": [1.0, 2.0]}),
    Case("ConstantOfShape", (_i([2, 3]),)),
    Case("EyeLike", (_r(2, 3),)),
    Case("Multinomial", (_r(2, 3),), {"sample_size": 4, "seed": 1.0}),
    Case(
        "NonMaxSuppression",
        (_f([[[0, 0, 1, 1], [0, 0, 1, 1.1], [2, 2, 3, 3]]]), _f([[[0.9, 0.8, 0.7]]]), _i([3]), _f([0.5])),
    ),
    Case("NonZero", (_i([[0, 2, 1], [4, 0, 0]]),)),
    Case("OneHot", (_i([1, 0, 2]), _i(4), _f([0.1, 0.9])), held=(2,)),
    Case("RandomNormal", (), {"shape": [2, 3], "seed": 1.0}, reference=True),
    Case("RandomNormalLike", (_r(2, 3),), {"seed": 1.0}, reference=True),
    Case("RandomUniform", (), {"shape": [2, 3], "seed": 1.0}, reference=True),
    Case("RandomUniformLike", (_r(2, 3),), {"seed": 1.0}, reference=True),
    Case("Range", (_f(0.2), _f(3.1), _f(0.5)), held=(0, 2)),
    Case("Shape", (_r(2, 3),)),
    Case("Size", (_r(2, 3),)),
]

CASES = [
    *_ELEMENTWISE,
    *_PARAMETERS,
    *_ALONG_AN_AXIS,
    *_ALONG_AXES,
    *_PRODUCTS,
    *_MAPS,
    *_RESIZED,
    *_ANY_AXES,
    *_WITHOUT_GRADIENT,
]
