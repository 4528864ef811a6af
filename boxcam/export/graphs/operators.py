"""The table of operators: what each ONNX operator does by nature, whatever boxcam does with it.

One row for each operator of the standard domain.  Whoever wants to know whether an operator works element by element,
through which inputs a gradient flows, or along which axes it mixes, asks here: no other file keeps a list of operators
for that.  How many inputs there are and where an axis is written comes from `onnx.defs`.  Every trait of every row is
proved by running the operator (``tests/export/graphs/test_operators.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import onnx_ir as ir
from onnx import defs

from boxcam.export.graphs.query import STANDARD, attribute_of, constant_array, static_shape


class Mixes(Enum):
    """The axes along which an element of the output sees elements of the inputs other than the one at its own place."""

    NONE = "none: element by element, the same everywhere; inputs broadcast to each other"
    PARAMETERS = "none: element by element of the first input; the others are parameters, which do not broadcast to it"
    CHANNEL_PARAMETERS = "as PARAMETERS, each of a channel: axis 1 of the first input"
    AXIS = "the axis that `axis` names"
    SOFTMAX = "the axis that `axis` names; before opset 13, all after it too"
    TAIL = "the axis that `axis` names, and all after it"
    AXES = "those that `axes` names"
    PRODUCT = "the last one of the first input; and the last but one of the second"
    CHANNELS = "axis 1"
    SPACE = "all from axis 2 on"
    WINDOW = "those from axis 2 on that a window slides over; axis 1 too if the window weighs"
    IMAGE = "all but axis 0"
    REGIONS = "all but axis 1"
    RESIZED = "those whose length changes"
    ANY = "which ones follows from shapes, indices or an equation"
    SHAPES = "none: no element of any input is read, shapes at most"


class Copies(Enum):
    """Whether elements of the output are copies of elements of the inputs, whatever numbers these are."""

    NONE = "they are computed"
    IN_ORDER = "the same numbers in the same order, seen in another shape or type"
    PERMUTED = "the same numbers, each once, in another order"
    SELECTED = "copies of some; or constants that fill up"


@dataclass(frozen=True)
class Operator:
    """One row: the nature of an operator.

    Attributes:
        mixes: along which axes.
        inputs: the numbers of those that a gradient flows through, where it is not all of them: not indices, sizes,
            conditions or types; nor what is held as it is, such as proposals, bounds, and scales of rounding.
        copies: whether it only moves numbers.
        zero: why its gradient is zero wherever it exists; empty where it is not.
        weighs: whether it sums products of elements of its first input and of its second, most often weights.
        rectifier: whether it is an activation that is positive only where its input is, and goes less deep elsewhere:
            ``rising`` if it never falls, so that the output tells where it is active, or ``dipping`` if it may.
        probability: whether it makes numbers from 0 to 1 of any others.
        samples: whether it reads its first input at coordinates that another input gives.
    """

    mixes: Mixes
    inputs: tuple[int, ...] | None = None
    copies: Copies = Copies.NONE
    zero: str = ""
    weighs: bool = False
    rectifier: Literal["", "rising", "dipping"] = ""
    probability: bool = False
    samples: bool = False

    @property
    def elementwise(self) -> bool:
        """Whether it works element by element, with inputs that broadcast to each other."""
        return self.mixes is Mixes.NONE

    @property
    def rounds(self) -> bool:
        """Whether it makes numbers of numbers in steps."""
        return self.zero == _STEPS

    @property
    def keeps_places(self) -> bool:
        """Whether an element of the output sees none of its first input but the one at its own place."""
        return self.mixes in (Mixes.NONE, Mixes.PARAMETERS, Mixes.CHANNEL_PARAMETERS)

    @property
    def channels_first(self) -> bool:
        """Whether axis 1 of its first input is channels, by definition."""
        return self.mixes in _CHANNELS_FIRST

    @property
    def retiles(self) -> bool:
        """Whether its output covers the same area as its first input, in cells of another size."""
        resized = self.mixes is Mixes.RESIZED and not self.moves
        return resized or (self.mixes is Mixes.IMAGE and self.copies is Copies.PERMUTED)

    @property
    def moves(self) -> bool:
        """Whether it only moves numbers: it selects them, or lays them out anew."""
        return self.copies is not Copies.NONE

    def differentiable(self, count: int) -> tuple[int, ...]:
        """The numbers of those of its inputs that a gradient flows through.

        Args:
            count: how many inputs a node has.
        """
        if self.zero:
            return ()
        return tuple(range(count)) if self.inputs is None else tuple(i for i in self.inputs if i < count)


_CHANNELS_FIRST = (
    Mixes.CHANNEL_PARAMETERS,
    Mixes.CHANNELS,
    Mixes.SPACE,
    Mixes.WINDOW,
    Mixes.IMAGE,
    Mixes.REGIONS,
)


def _zero(why: str, mixes: Mixes) -> Operator:
    return Operator(mixes, zero=why)


_FIRST = (0,)
_TRUTH, _STEPS, _INTEGERS = "truth values", "constant between its steps", "integers"
_INDICES, _SIZES, _INDEPENDENT = "indices", "made from shapes", "independent of its inputs"
_ELEMENTWISE = Operator(Mixes.NONE)
_REDUCTION = Operator(Mixes.AXES, _FIRST)

OPERATORS: Mapping[str, Operator] = {
    "Abs": _ELEMENTWISE,
    "Acos": _ELEMENTWISE,
    "Acosh": _ELEMENTWISE,
    "Add": _ELEMENTWISE,
    "AffineGrid": Operator(Mixes.ANY, _FIRST),
    "And": _zero(_TRUTH, Mixes.NONE),
    "ArgMax": _zero(_INDICES, Mixes.AXIS),
    "ArgMin": _zero(_INDICES, Mixes.AXIS),
    "Asin": _ELEMENTWISE,
    "Asinh": _ELEMENTWISE,
    "Atan": _ELEMENTWISE,
    "Atanh": _ELEMENTWISE,
    "Attention": Operator(Mixes.ANY),
    "AveragePool": Operator(Mixes.WINDOW),
    "BatchNormalization": Operator(Mixes.CHANNEL_PARAMETERS),
    "Bernoulli": _zero(_INDEPENDENT, Mixes.ANY),
    "BitShift": _zero(_INTEGERS, Mixes.NONE),
    "BitwiseAnd": _zero(_INTEGERS, Mixes.NONE),
    "BitwiseNot": _zero(_INTEGERS, Mixes.NONE),
    "BitwiseOr": _zero(_INTEGERS, Mixes.NONE),
    "BitwiseXor": _zero(_INTEGERS, Mixes.NONE),
    "Cast": Operator(Mixes.NONE, copies=Copies.IN_ORDER),
    "CastLike": Operator(Mixes.PARAMETERS, _FIRST, Copies.IN_ORDER),
    "Ceil": _zero(_STEPS, Mixes.NONE),
    "Celu": Operator(Mixes.NONE, rectifier="rising"),
    "CenterCropPad": Operator(Mixes.RESIZED, _FIRST, Copies.SELECTED),
    "Clip": Operator(Mixes.NONE, _FIRST),
    "Col2Im": Operator(Mixes.IMAGE, _FIRST),
    "Compress": Operator(Mixes.AXIS, _FIRST, Copies.SELECTED),
    "Concat": Operator(Mixes.AXIS, copies=Copies.SELECTED),
    "Constant": _zero(_INDEPENDENT, Mixes.SHAPES),
    "ConstantOfShape": _zero(_SIZES, Mixes.ANY),
    "Conv": Operator(Mixes.WINDOW, weighs=True),
    "ConvTranspose": Operator(Mixes.WINDOW, weighs=True),
    "Cos": _ELEMENTWISE,
    "Cosh": _ELEMENTWISE,
    "CumProd": Operator(Mixes.AXIS, _FIRST),
    "CumSum": Operator(Mixes.AXIS, _FIRST),
    "DFT": Operator(Mixes.ANY, _FIRST),
    "DeformConv": Operator(Mixes.WINDOW, weighs=True, samples=True),
    "DepthToSpace": Operator(Mixes.IMAGE, copies=Copies.PERMUTED),
    "DequantizeLinear": Operator(Mixes.PARAMETERS, _FIRST),
    "Det": Operator(Mixes.ANY),
    "Div": _ELEMENTWISE,
    "Dropout": Operator(Mixes.NONE, _FIRST, Copies.IN_ORDER),
    "Einsum": Operator(Mixes.ANY, weighs=True),
    "Elu": Operator(Mixes.NONE, rectifier="rising"),
    "Equal": _zero(_TRUTH, Mixes.NONE),
    "Erf": _ELEMENTWISE,
    "Exp": _ELEMENTWISE,
    "Expand": Operator(Mixes.ANY, _FIRST, Copies.SELECTED),
    "EyeLike": _zero(_SIZES, Mixes.SHAPES),
    "Flatten": Operator(Mixes.ANY, copies=Copies.IN_ORDER),
    "Floor": _zero(_STEPS, Mixes.NONE),
    "Gather": Operator(Mixes.AXIS, _FIRST, Copies.SELECTED),
    "GatherElements": Operator(Mixes.AXIS, _FIRST, Copies.SELECTED),
    "GatherND": Operator(Mixes.ANY, _FIRST, Copies.SELECTED),
    "Gelu": Operator(Mixes.NONE, rectifier="dipping"),
    "Gemm": Operator(Mixes.PRODUCT, weighs=True),
    "GlobalAveragePool": Operator(Mixes.SPACE),
    "GlobalLpPool": Operator(Mixes.SPACE),
    "GlobalMaxPool": Operator(Mixes.SPACE),
    "Greater": _zero(_TRUTH, Mixes.NONE),
    "GreaterOrEqual": _zero(_TRUTH, Mixes.NONE),
    "GridSample": Operator(Mixes.SPACE, samples=True),
    "GroupNormalization": Operator(Mixes.IMAGE),
    "HardSigmoid": Operator(Mixes.NONE, probability=True),
    "HardSwish": Operator(Mixes.NONE, rectifier="dipping"),
    "Hardmax": _zero("a selection: constant wherever it does not jump", Mixes.SOFTMAX),
    "Identity": Operator(Mixes.NONE, copies=Copies.IN_ORDER),
    "InstanceNormalization": Operator(Mixes.SPACE),
    "IsInf": _zero(_TRUTH, Mixes.NONE),
    "IsNaN": _zero(_TRUTH, Mixes.NONE),
    "LRN": Operator(Mixes.CHANNELS),
    "LayerNormalization": Operator(Mixes.TAIL),
    "LeakyRelu": Operator(Mixes.NONE, rectifier="rising"),
    "Less": _zero(_TRUTH, Mixes.NONE),
    "LessOrEqual": _zero(_TRUTH, Mixes.NONE),
    "Log": _ELEMENTWISE,
    "LogSoftmax": Operator(Mixes.SOFTMAX),
    "LpNormalization": Operator(Mixes.AXIS),
    "LpPool": Operator(Mixes.WINDOW),
    "MatMul": Operator(Mixes.PRODUCT, weighs=True),
    "Max": _ELEMENTWISE,
    "MaxPool": Operator(Mixes.WINDOW),
    "MaxRoiPool": Operator(Mixes.REGIONS, _FIRST, samples=True),
    "Mean": _ELEMENTWISE,
    "MeanVarianceNormalization": Operator(Mixes.AXES),
    "Min": _ELEMENTWISE,
    "Mish": Operator(Mixes.NONE, rectifier="dipping"),
    "Mod": _ELEMENTWISE,
    "Mul": _ELEMENTWISE,
    "Multinomial": _zero(_INDEPENDENT, Mixes.CHANNELS),
    "Neg": _ELEMENTWISE,
    "NonMaxSuppression": _zero(_INDICES, Mixes.ANY),
    "NonZero": _zero(_INDICES, Mixes.ANY),
    "Not": _zero(_TRUTH, Mixes.NONE),
    "OneHot": _zero("made from indices", Mixes.ANY),
    "Or": _zero(_TRUTH, Mixes.NONE),
    "PRelu": Operator(Mixes.NONE, rectifier="dipping"),
    "Pad": Operator(Mixes.AXES, _FIRST, Copies.SELECTED),
    "Pow": _ELEMENTWISE,
    "QuantizeLinear": Operator(Mixes.PARAMETERS, _FIRST),
    "RMSNormalization": Operator(Mixes.TAIL),
    "RandomNormal": _zero(_INDEPENDENT, Mixes.SHAPES),
    "RandomNormalLike": _zero(_INDEPENDENT, Mixes.SHAPES),
    "RandomUniform": _zero(_INDEPENDENT, Mixes.SHAPES),
    "RandomUniformLike": _zero(_INDEPENDENT, Mixes.SHAPES),
    "Range": _zero(_SIZES, Mixes.ANY),
    "Reciprocal": _ELEMENTWISE,
    "ReduceL1": _REDUCTION,
    "ReduceL2": _REDUCTION,
    "ReduceLogSum": _REDUCTION,
    "ReduceLogSumExp": _REDUCTION,
    "ReduceMax": _REDUCTION,
    "ReduceMean": _REDUCTION,
    "ReduceMin": _REDUCTION,
    "ReduceProd": _REDUCTION,
    "ReduceSum": _REDUCTION,
    "ReduceSumSquare": _REDUCTION,
    "Relu": Operator(Mixes.NONE, rectifier="rising"),
    "Reshape": Operator(Mixes.ANY, _FIRST, Copies.IN_ORDER),
    "Resize": Operator(Mixes.RESIZED, _FIRST),
    "ReverseSequence": Operator(Mixes.ANY, _FIRST, Copies.PERMUTED),
    "RoiAlign": Operator(Mixes.REGIONS, _FIRST, samples=True),
    "RotaryEmbedding": Operator(Mixes.ANY, (0, 1, 2)),
    "Round": _zero(_STEPS, Mixes.NONE),
    "STFT": Operator(Mixes.ANY, (0, 2)),
    "ScatterElements": Operator(Mixes.AXIS, (0, 2), Copies.SELECTED),
    "ScatterND": Operator(Mixes.ANY, (0, 2), Copies.SELECTED),
    "Selu": Operator(Mixes.NONE, rectifier="rising"),
    "Shape": _zero(_SIZES, Mixes.SHAPES),
    "Shrink": _ELEMENTWISE,
    "Sigmoid": Operator(Mixes.NONE, probability=True),
    "Sign": _zero(_STEPS, Mixes.NONE),
    "Sin": _ELEMENTWISE,
    "Sinh": _ELEMENTWISE,
    "Size": _zero(_SIZES, Mixes.SHAPES),
    "Slice": Operator(Mixes.AXES, _FIRST, Copies.SELECTED),
    "Softmax": Operator(Mixes.SOFTMAX, probability=True),
    "Softplus": _ELEMENTWISE,
    "Softsign": _ELEMENTWISE,
    "SpaceToDepth": Operator(Mixes.IMAGE, copies=Copies.PERMUTED),
    "Split": Operator(Mixes.AXIS, _FIRST, Copies.SELECTED),
    "SplitToSequence": Operator(Mixes.AXIS, _FIRST, Copies.SELECTED),
    "Sqrt": _ELEMENTWISE,
    "Squeeze": Operator(Mixes.ANY, _FIRST, Copies.IN_ORDER),
    "Sub": _ELEMENTWISE,
    "Sum": _ELEMENTWISE,
    "SwiGLU": _ELEMENTWISE,
    "Swish": Operator(Mixes.NONE, rectifier="dipping"),
    "Tan": _ELEMENTWISE,
    "Tanh": _ELEMENTWISE,
    "TensorScatter": Operator(Mixes.AXIS, (0, 1), Copies.SELECTED),
    "ThresholdedRelu": Operator(Mixes.NONE, rectifier="rising"),
    "Tile": Operator(Mixes.RESIZED, _FIRST, Copies.SELECTED),
    "TopK": Operator(Mixes.AXIS, _FIRST),
    "Transpose": Operator(Mixes.ANY, _FIRST, Copies.PERMUTED),
    "Trilu": Operator(Mixes.ANY, _FIRST, Copies.SELECTED),
    "Unsqueeze": Operator(Mixes.ANY, _FIRST, Copies.IN_ORDER),
    "Upsample": Operator(Mixes.RESIZED, _FIRST),
    "Where": Operator(Mixes.NONE, (1, 2), Copies.SELECTED),
    "Xor": _zero(_TRUTH, Mixes.NONE),
}

UNKNOWN = Operator(Mixes.ANY)
"""An operator without a row, or of another domain: nothing is taken for granted."""


def operator_of(node: ir.Node) -> Operator:
    """The nature of a node's operator; `UNKNOWN` if it has no row or is not standard."""
    return OPERATORS.get(node.op_type, UNKNOWN) if node.domain in STANDARD else UNKNOWN


def mixed_axes(node: ir.Node) -> frozenset[int] | None:
    """The axes of a node's first input along which elements of the output see more than those at their own place.

    What is selected or laid out along an axis is not at its own place either: a Slice mixes the axes that it slices.

    Returns:
        None if they are not known before the model runs.
    """
    mixes, rank = operator_of(node).mixes, _rank(node)
    if operator_of(node).keeps_places or mixes is Mixes.SHAPES:
        return frozenset()
    if rank is None or mixes is Mixes.ANY or attribute_of(node, "transA", 0):
        return None
    if mixes in (Mixes.AXIS, Mixes.SOFTMAX, Mixes.TAIL):
        return _along(node, rank, mixes is Mixes.TAIL or (mixes is Mixes.SOFTMAX and _opset(node) < 13))
    if mixes is Mixes.AXES:
        axes = _written(node, "axes")
        return frozenset(int(axis) % rank for axis in axes) if axes else None
    if mixes is Mixes.WINDOW:
        samples = operator_of(node).samples  # offsets move even a window of one cell
        window = frozenset(axis for axis in range(2, rank) if samples or _slides(node, axis, rank))
        return window | {1} if operator_of(node).weighs else window
    if mixes is Mixes.RESIZED:
        return _resized(node)
    fixed: dict[Mixes, Iterable[int]] = {
        Mixes.PRODUCT: [rank - 1],
        Mixes.CHANNELS: [1],
        Mixes.SPACE: range(2, rank),
        Mixes.IMAGE: range(1, rank),
        Mixes.REGIONS: (axis for axis in range(rank) if axis != 1),
    }
    return frozenset(fixed[mixes])


def _rank(node: ir.Node) -> int | None:
    first = node.inputs[0] if node.inputs else None
    shape = None if first is None else static_shape(first)
    return None if shape is None else len(shape)


def _opset(node: ir.Node) -> int:
    """The opset of the graph that a node is in; 1 if that is not known."""
    imports: Mapping[str, int] = {} if node.graph is None else node.graph.opset_imports
    return imports.get("", imports.get("ai.onnx", 1))


def _along(node: ir.Node, rank: int, tail: bool) -> frozenset[int] | None:
    """The axis that a node works along, and all behind it if ``tail``."""
    written = _written(node, "axis")
    if written is None:
        return None
    axis = int(written) % rank
    return frozenset(range(axis, rank) if tail else [axis])


def _written(node: ir.Node, name: str) -> Any:
    """``axis`` or ``axes`` of a node: an attribute, its default, or a constant input; None if it is not known."""
    if name in node.attributes:
        return attribute_of(node, name)
    if not defs.has(node.op_type, _opset(node), ""):
        return None
    schema = defs.get_schema(node.op_type, _opset(node), "")
    if name in schema.attributes:
        default = schema.attributes[name].default_value
        return list(default.ints) or (default.i if default.HasField("i") else None)
    names = [formal.name for formal in schema.inputs][: len(node.inputs)]
    constant = constant_array(node.inputs[names.index(name)]) if name in names else None
    if constant is None:
        return None
    return constant.reshape(-1).tolist() if name == "axes" else int(constant.reshape(()))


def _slides(node: ir.Node, axis: int, rank: int) -> bool:
    """Whether a window is more than one cell along an axis, or is moved: by strides or padding."""
    place, window = axis - 2, attribute_of(node, "kernel_shape")
    if window is None and len(node.inputs) > 1 and node.inputs[1] is not None:
        window = (static_shape(node.inputs[1]) or [])[2:]
    pads = list(attribute_of(node, "pads") or [0] * 2 * (rank - 2))
    strides = attribute_of(node, "strides") or [1] * (rank - 2)
    return not window or window[place] != 1 or strides[place] != 1 or pads[place] != 0


def _resized(node: ir.Node) -> frozenset[int] | None:
    shapes = [None if value is None else static_shape(value) for value in (node.inputs[0], node.outputs[0])]
    before, after = shapes
    if before is None or after is None or len(before) != len(after):
        return None
    return frozenset(
        axis for axis, (old, new) in enumerate(zip(before, after, strict=True)) if old is None or old != new
    )
