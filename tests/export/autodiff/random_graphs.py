"""Random small graphs of supported operators, evaluated as they are written.

Because every value is known when its node is written, a graph is smooth where it is by construction: what has a kink is
moved until no number is near it, what has ties gets something added that tells the numbers apart, and what grows is
scaled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto

from tests.export.autodiff.differences import evaluator
from tests.export.export_graphs import Net

_MARGIN = 1e-4  # of a kink or a tie; a hundred times the step of a difference

Draw = Callable[[st.SearchStrategy[Any]], Any]
Operand = str | np.ndarray | None


@dataclass
class Eager:
    """A graph in float64 whose values are known as it grows."""

    draw: Draw
    opset: int
    seed: int
    most: int = 200  # numbers of a value that is used again
    net: Net = field(init=False)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    pool: list[str] = field(default_factory=list)
    unused: dict[str, None] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.net = Net(self.opset)
        self.rng = np.random.default_rng(self.seed)

    def input(self, shape: Sequence[int]) -> str:
        name = self.net.input(f"x{len(self.inputs)}", shape, TensorProto.DOUBLE)
        self.values[name] = self.rng.standard_normal(shape)
        self.inputs.append(name)
        self.pool.append(name)
        self.unused[name] = None
        return name

    def __getattr__(self, kind: str) -> Callable[..., str]:
        if not kind[0].isupper():
            raise AttributeError(kind)
        return lambda *operands, **attributes: self.node(kind, operands, 1, **attributes)[0]

    def node(self, kind: str, operands: Sequence[Operand], outputs: int = 1, **attributes: Any) -> list[str]:
        """Write one node; arrays become constants."""
        names = [o if o is None or isinstance(o, str) else self.constant(o) for o in operands]
        found = self.net.node(kind, names, outputs, **attributes)
        alone = onnx.helper.make_graph(
            [self.net.nodes[-1]],
            "alone",
            [onnx.ValueInfoProto(name=n) for n in dict.fromkeys(names) if n],
            [onnx.ValueInfoProto(name=n) for n in found],
        )
        opsets = [onnx.helper.make_opsetid("", self.opset)]
        model = onnx.helper.make_model(alone, opset_imports=opsets, ir_version=10)
        results = evaluator(model).run(None, {n: self.values[n] for n in names if n})
        for name, result in zip(found, results, strict=True):
            self.values[name] = np.asarray(result)
            assert np.isfinite(self.values[name]).all(), f"{kind} leaves the finite numbers"
        for name in names:
            self.unused.pop(name or "", None)
        return found

    def constant(self, array: np.ndarray) -> str:
        name = self.net.constant(array, keep=True)
        self.values[name] = np.asarray(array)
        return name

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape)

    def add(self, name: str) -> None:
        """Take a value into the pool, scaled to a moderate size."""
        value = self.values[name]
        largest = float(np.abs(value).max(initial=0.0))
        if largest > 3 or 1e-3 < largest < 0.1:  # what is 0 but for rounding errors stays so
            name = self.Mul(name, np.array(1 / largest))
        self.unused[name] = None
        if value.size <= self.most:
            self.pool.append(name)

    def fits(self, one: Sequence[int], other: Sequence[int]) -> bool:
        """Whether two shapes broadcast to one that is not too large."""
        try:
            return math.prod(np.broadcast_shapes(tuple(one), tuple(other))) <= self.most
        except ValueError:
            return False

    # -- what is chosen

    def shape(self, name: str) -> tuple[int, ...]:
        return self.values[name].shape

    def one(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def yes(self) -> bool:
        return bool(self.draw(st.booleans()))

    def axis(self, name: str) -> int:
        """One of all axes, counted from either end."""
        rank = len(self.shape(name))
        return self.number(-rank, rank - 1)

    def some_axes(self, name: str) -> list[int]:
        rank = len(self.shape(name))
        return sorted(self.draw(st.sets(st.integers(0, rank - 1), min_size=1)))

    # -- away from kinks

    def clear(self, name: str, *points: float) -> str:
        """The value, moved so that no number is near some points."""
        value = self.values[name]
        bad = np.sort(np.concatenate([p - value.reshape(-1) for p in points]))
        edges = np.concatenate([[bad[0] - 1], bad, [bad[-1] + 1]])
        gaps = np.diff(edges) > 4 * _MARGIN
        middles = ((edges[1:] + edges[:-1]) / 2)[gaps]
        return self.Add(name, np.array(middles[np.abs(middles).argmin()]))

    def apart(self, name: str) -> str:
        """The value, and something added if its numbers are not all different."""
        while not _different(self.values[name]):
            name = self.Add(name, self.normal(*self.shape(name)))
        return name

    def positive(self, name: str) -> str:
        return self.Add(self.Mul(name, name), np.array(0.5))

    def partner(self, name: str) -> str | np.ndarray:
        """Something that broadcasts with a value: itself, another one, its mean over some axes, a constant."""
        shape = self.shape(name)
        fitting = [n for n in self.pool if self.fits(self.shape(n), shape)]
        kind = self.number(0, 2)
        if kind == 0:
            return str(self.one(fitting))
        if kind == 1 and shape:
            return self.ReduceMean(name, np.array(self.some_axes(name)), keepdims=1)
        kept = self.number(0, len(shape))
        return self.normal(*(n if self.yes() else 1 for n in shape[kept:]))


def _different(value: np.ndarray) -> bool:
    return value.size < 2 or float(np.diff(np.sort(value.reshape(-1))).min()) > 3 * _MARGIN / 100


Step = Callable[[Eager, str], "str | list[str] | None"]
STEPS: dict[str, Step] = {}
"""Ways in which a graph grows: from a value to one or more others, or to none where they do not fit."""


def step(function: Step) -> Step:
    STEPS[function.__name__] = function
    return function


_SMOOTH = ("Tanh", "Sigmoid", "Erf", "Softplus", "Neg", "Exp", "Sin", "Cos", "Atan", "Mish", "Identity", "Sinh")
_KINKED: dict[str, tuple[float, ...]] = {
    "Relu": (0,), "LeakyRelu": (0,), "Elu": (0,), "Selu": (0,), "Celu": (0,), "Abs": (0,), "HardSwish": (-3, 3),
    "HardSigmoid": (-2.5, 2.5), "ThresholdedRelu": (1,), "Softsign": (0,), "Shrink": (-0.5, 0.5),
}  # fmt: skip


@step
def smooth(g: Eager, x: str) -> str:
    return g.node(g.one(_SMOOTH), [x])[0]


@step
def kinked(g: Eager, x: str) -> str:
    kind = g.one([kind for kind in _KINKED if g.shape(x) or kind != "Softsign"])  # the reference's takes no scalar
    return g.node(kind, [g.clear(x, *_KINKED[kind])])[0]


@step
def clipped(g: Eager, x: str) -> str:
    low, high = g.one([(0.0, 6.0), (-0.5, 0.5), (0.0, None), (None, 0.3)])
    clear = g.clear(x, *(p for p in (low, high) if p is not None))
    return g.Clip(clear, *(None if p is None else np.array(p) for p in (low, high)))


@step
def of_positive(g: Eager, x: str) -> str:
    return g.node(g.one(["Sqrt", "Log", "Reciprocal"]), [g.positive(x)])[0]


@step
def power(g: Eager, x: str) -> str:
    base = g.positive(x)
    if g.yes():
        return g.Pow(base, np.array(g.one([0.5, 2.0, 3.0, -1.0, 1.0])))
    return g.Pow(base, g.Tanh(x))


@step
def joined(g: Eager, x: str) -> str:
    other = g.partner(x)
    pair = [x, other] if g.yes() else [other, x]
    kind = g.one(["Add", "Sub", "Mul", "Div", "Sum", "Mean"])
    if kind == "Div":
        last = pair[1] if isinstance(pair[1], str) else g.constant(pair[1])
        return g.Div(pair[0], g.positive(last))
    more = [x] if kind in ("Sum", "Mean") and g.yes() else []
    return g.node(kind, [*pair, *more])[0]


@step
def extreme(g: Eager, x: str) -> str:
    """Of a value and another that differs from it everywhere."""
    other = g.clear(g.Sub(g.Sin(x), x), 0.0)
    return g.node(g.one(["Max", "Min"]), [g.Add(other, x), x])[0]


@step
def chosen(g: Eager, x: str) -> str:
    condition = g.normal(*g.shape(x)[g.number(0, len(g.shape(x))) :]) > 0
    other = g.partner(x)
    return g.Where(condition, *([x, other] if g.yes() else [other, x]))


@step
def reduced(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    kinds = [
        "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceLogSum",
        "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare",
    ]  # fmt: skip
    kind, axes = g.one(kinds), g.some_axes(x)
    if kind in ("ReduceMax", "ReduceMin"):
        x = g.apart(x)
    elif kind == "ReduceL1":
        x = g.clear(x, 0.0)
    elif kind in ("ReduceLogSum", "ReduceL2"):
        x = g.positive(x)
    given = [] if g.number(0, 9) == 0 else [np.array([a - len(g.shape(x)) if g.yes() else a for a in axes])]
    return g.node(kind, [x, *given], keepdims=int(g.yes()))[0]


def window(g: Eager, x: str, largest: int = 3) -> dict[str, Any]:
    """Kernel, strides, dilations and pads that fit into a map."""
    space = g.shape(x)[2:]
    kernel = [g.number(1, largest) for _ in space]
    strides = [g.number(1, 3) for _ in space]
    dilations = [g.number(1, 2) for _ in space]
    low = [g.number(0, k - 1) for k in kernel]
    high = [g.number(0, k - 1) for k in kernel]
    for i, n in enumerate(space):
        if n + low[i] + high[i] < dilations[i] * (kernel[i] - 1) + 1:
            kernel[i], dilations[i], low[i], high[i] = 1, 1, 0, 0
    return {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": low + high}


def touching(given: dict[str, Any], space: Sequence[int]) -> dict[str, Any]:
    """The same, but undilated along an axis where a window would lie in the padding alone: it has no largest number."""
    dilations, pads = list(given["dilations"]), given["pads"]
    for i, n in enumerate(space):
        steps = [dilations[i] * k for k in range(given["kernel_shape"][i])]
        starts = range(-pads[i], n + pads[len(space) + i] - steps[-1], given["strides"][i])
        if not all(any(0 <= start + step < n for step in steps) for start in starts):
            dilations[i] = 1
    return {**given, "dilations": dilations}


def auto_pads(g: Eager, given: dict[str, Any]) -> dict[str, Any]:
    """Sometimes pads by a rule, where all agree on what they are: not for dilated kernels, nor for long strides."""
    plain = set(given["dilations"]) == {1} and all(
        s <= k for s, k in zip(given["strides"], given["kernel_shape"], strict=True)
    )
    if plain and g.number(0, 4) == 0:
        return {**{k: v for k, v in given.items() if k != "pads"}, "auto_pad": g.one(["SAME_UPPER", "SAME_LOWER"])}
    return given


def _is_map(g: Eager, x: str) -> bool:
    return len(g.shape(x)) in (3, 4)


@step
def convolved(g: Eager, x: str) -> str | None:
    if not _is_map(g, x):
        return None
    channels, spread = g.shape(x)[1], auto_pads(g, window(g, x))
    group = g.one([n for n in range(1, channels + 1) if channels % n == 0])
    out = group * g.number(1, 2)
    weight = g.normal(out, channels // group, *spread["kernel_shape"])
    return g.Conv(x, weight, *([g.normal(out)] if g.yes() else []), group=group, **spread)


@step
def transposed_convolution(g: Eager, x: str) -> str | None:
    if not _is_map(g, x):
        return None
    channels, spread = g.shape(x)[1], window(g, x)
    n = len(spread["strides"])
    for i, length in enumerate(g.shape(x)[2:]):  # something has to be left
        full = (length - 1) * spread["strides"][i] + spread["dilations"][i] * (spread["kernel_shape"][i] - 1) + 1
        if full <= spread["pads"][i] + spread["pads"][n + i]:
            spread["pads"][i] = spread["pads"][n + i] = 0
    more = [g.number(0, s - 1) for s in spread["strides"]]
    group = g.one([n for n in range(1, channels + 1) if channels % n == 0])
    weight = g.normal(channels, g.number(1, 2), *spread["kernel_shape"])
    return g.ConvTranspose(x, weight, group=group, output_padding=more, **spread)


@step
def pooled(g: Eager, x: str) -> str | None:
    if not _is_map(g, x):
        return None
    kind = g.one(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
    if kind.endswith("MaxPool"):
        x = g.apart(x)
    if kind.startswith("Global"):
        return g.node(kind, [x])[0]
    spread = window(g, x)
    if kind == "AveragePool":
        spread["dilations"] = [1] * len(spread["dilations"])  # the reference does not know them
        if g.opset < 19:
            spread.pop("dilations")
        spread["count_include_pad"] = int(g.yes())
    else:
        spread = touching(spread, g.shape(x)[2:])
    return g.node(kind, [x], **spread)[0]


@step
def resized(g: Eager, x: str) -> str | None:
    if not _is_map(g, x):
        return None
    mode = g.one(["nearest", "linear", "cubic"] if len(g.shape(x)) == 4 else ["nearest", "linear"])
    modes = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    extra = {"coordinate_transformation_mode": g.one(modes)}
    if mode == "nearest":
        extra["nearest_mode"] = g.one(["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"])
    # Of a single cubic cell that is placed as in PyTorch, ONNX Runtime and the reference think differently.
    smallest = 2 if mode == "cubic" else 1
    sizes = [*g.shape(x)[:2], *(g.number(smallest, max(2 * n, smallest)) for n in g.shape(x)[2:])]
    return g.Resize(x, None, None, np.array(sizes), mode=mode, **extra)


@step
def normalised(g: Eager, x: str) -> str | None:
    rank, shape = len(g.shape(x)), g.shape(x)
    if rank < 3 or min(shape[2:]) * math.prod(shape[2:]) < 4:
        return None
    x = g.apart(x)  # what is the same all over has no deviation
    channels = shape[1]
    kind = g.one(["Batch", "Instance", "Group", "Layer", "LpNormalization", "MeanVarianceNormalization"])
    if kind == "Batch":
        given = [g.normal(channels), g.normal(channels), g.normal(channels), 0.5 + g.normal(channels) ** 2]
        return g.BatchNormalization(x, *given)
    if kind == "Instance":
        return g.InstanceNormalization(x, g.normal(channels), g.normal(channels))
    if kind == "Group":
        groups = g.one([n for n in range(1, channels + 1) if channels % n == 0])
        count = channels if g.opset >= 21 else groups
        return g.GroupNormalization(x, g.normal(count), g.normal(count), num_groups=groups)
    if kind == "Layer":
        axis = g.number(1, rank - 2)
        given = [g.normal(*shape[axis:]) for _ in range(g.number(1, 2))]
        return g.LayerNormalization(x, *given, axis=axis - rank if g.yes() else axis)
    if kind == "LpNormalization":
        return g.LpNormalization(g.clear(x, 0.0), axis=g.axis(x), p=g.number(1, 2))
    return g.MeanVarianceNormalization(x, axes=g.one([[0, 2], [2], [1, 2]]))


@step
def softened(g: Eager, x: str) -> str | None:
    return g.node(g.one(["Softmax", "LogSoftmax"]), [x], axis=g.axis(x))[0] if g.shape(x) else None


@step
def reshaped(g: Eager, x: str) -> str:
    rest, dims = g.values[x].size, []
    while len(dims) < 3 and rest > 1:
        size = g.one([n for n in range(1, rest + 1) if rest % n == 0])
        dims.append(size)
        rest //= size
    dims.append(rest)
    shape = list(dims)
    if g.yes():
        shape[g.number(0, len(dims) - 1)] = -1
    elif g.shape(x) and dims[0] == g.shape(x)[0]:
        shape[0] = 0
    return g.Reshape(x, np.array(shape))


@step
def transposed(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    return g.Transpose(x, perm=g.draw(st.permutations(range(len(g.shape(x))))))


@step
def flattened(g: Eager, x: str) -> str:
    return g.Flatten(x, axis=g.number(0, len(g.shape(x))))


@step
def squeezed(g: Eager, x: str) -> str:
    single = [a for a, n in enumerate(g.shape(x)) if n == 1]
    if single and g.yes():
        return g.Squeeze(x, np.array([g.one(single)])) if g.yes() else g.Squeeze(x)
    rank = len(g.shape(x))
    return g.Unsqueeze(x, np.array([g.number(-rank - 1, rank)])) if rank < 5 else g.Identity(x)


@step
def repeated(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    if g.yes():
        return g.Tile(x, np.array([g.number(1, 2) for _ in g.shape(x)]))
    front = [2] if g.yes() else []
    return g.Expand(x, np.array([*front, *(g.number(2, 3) if n == 1 else 1 for n in g.shape(x))]))


@step
def concatenated(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)

    def others(n: str) -> list[int]:
        return [s for a, s in enumerate(g.shape(n)) if a != axis % len(g.shape(x))]

    rank = len(g.shape(x))
    fitting = [n for n in g.pool if len(g.shape(n)) == rank and others(n) == others(x)]
    parts: list[Any] = [x, *(g.one(fitting) for _ in range(g.number(0, 2)))]
    if g.yes():
        parts.insert(g.number(0, len(parts)), g.normal(*g.shape(x)))
    return g.Concat(*parts, axis=axis)


@step
def split(g: Eager, x: str) -> list[str] | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)
    length = g.shape(x)[axis]
    if length < 2:
        return None
    if g.yes():
        return g.node("Split", [x], 2, axis=axis, num_outputs=2)
    first = g.number(1, length - 1)
    return g.node("Split", [x, np.array([first, length - first])], 2, axis=axis)


@step
def sliced(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)
    length = g.shape(x)[axis]
    kind = g.number(0, 2)
    if kind == 0:  # backwards
        return g.Slice(x, np.array([-1]), np.array([-length - 1]), np.array([axis]), np.array([-g.number(1, 2)]))
    start = g.number(0, length - 1)
    stop = g.number(start + 1, length + 3)
    bounds = [start - length if g.yes() else start], [stop]
    return g.Slice(x, *map(np.array, bounds), np.array([axis]), np.array([g.number(1, 2) if kind == 1 else 1]))


@step
def padded(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    mode = g.one(["constant", "reflect", "edge"])
    low, high = [], []
    for n in g.shape(x):
        most = min(2, n - 1)
        before, after = g.number(0, most), g.number(0, most)
        if mode == "constant" and n > 2 and g.number(0, 5) == 0:
            before = -1
        low.append(before)
        high.append(after)
    return g.Pad(x, np.array(low + high), mode=mode)


@step
def blocks_to_channels(g: Eager, x: str) -> str | None:
    if len(g.shape(x)) != 4:
        return None
    _, c, h, w = g.shape(x)
    if c % 4 == 0:
        return g.DepthToSpace(x, blocksize=2, mode=g.one(["DCR", "CRD"]))
    return g.SpaceToDepth(x, blocksize=2) if h % 2 == w % 2 == 0 else None


@step
def triangular(g: Eager, x: str) -> str | None:
    return g.Trilu(x, np.array(g.number(-1, 1)), upper=int(g.yes())) if len(g.shape(x)) > 1 else None


@step
def gathered(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)
    length = g.shape(x)[axis]
    shape = g.one([(), (1,), (3,), (2, 2)])
    return g.Gather(x, g.rng.integers(-length, length, shape), axis=axis)


@step
def gathered_by_element(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)
    length, shape = g.shape(x)[axis], list(g.shape(x))
    shape[axis] = g.number(1, 3)
    return g.GatherElements(x, g.rng.integers(0, length, shape), axis=axis)


@step
def gathered_by_position(g: Eager, x: str) -> str | None:
    shape = g.shape(x)
    if len(shape) < 2:
        return None
    depth = g.number(1, len(shape))
    return g.GatherND(x, np.stack([g.rng.integers(0, n, 3) for n in shape[:depth]], -1))


@step
def scattered(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)
    length, shape = g.shape(x)[axis], list(g.shape(x))
    shape[axis] = count = g.number(1, length)
    order = np.argsort(g.normal(*g.shape(x)), axis=axis)
    index = np.take(order, range(count), axis=axis)
    updates = g.Slice(g.Cos(x), np.array([0]), np.array([count]), np.array([axis]))
    return g.ScatterElements(x, index, updates, axis=axis, reduction=g.one(["none", "add"]))


@step
def scattered_by_position(g: Eager, x: str) -> str | None:
    shape = g.shape(x)
    if not shape:
        return None
    rows = g.rng.permutation(shape[0])[: g.number(1, shape[0])]
    updates = g.Gather(g.Sin(x), rows[::-1].copy(), axis=0)
    return g.ScatterND(x, rows[:, None], updates, reduction=g.one(["none", "add"]))


@step
def largest(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    x, axis = g.apart(x), g.axis(x)
    count = g.number(1, g.shape(x)[axis])
    return g.node("TopK", [x, np.array([count])], 2, axis=axis, largest=int(g.yes()))[0]


@step
def accumulated(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    return g.CumSum(x, np.array(g.axis(x)), exclusive=int(g.yes()), reverse=int(g.yes()))


@step
def multiplied(g: Eager, x: str) -> str | None:
    shape = g.shape(x)
    if not shape:
        return None
    kind = g.number(0, 3)
    if kind == 0:
        return g.MatMul(x, g.normal(shape[-1], 2) if g.yes() else g.normal(shape[-1]))
    if kind == 1:
        return g.MatMul(g.normal(2, shape[-2]) if g.yes() else g.normal(shape[-2]), x) if len(shape) > 1 else None
    fitting = [
        n for n in g.pool
        if len(s := g.shape(n)) >= 1 and s[-2 if len(s) > 1 else -1] == shape[-1]
        and g.fits(s[:-2], shape[:-2])
    ]  # fmt: skip
    if kind == 2 and fitting:
        return g.MatMul(x, g.one(fitting))
    if len(shape) < 2:
        return None
    flipped = g.Transpose(x, perm=[*range(len(shape) - 2), len(shape) - 1, len(shape) - 2])
    return g.MatMul(x, flipped) if g.yes() else g.MatMul(flipped, g.Tanh(x))


@step
def linear(g: Eager, x: str) -> str | None:
    if len(g.shape(x)) != 2:
        return None
    flip_a, flip_b = int(g.yes()), int(g.yes())
    inner, rows = g.shape(x)[0 if flip_a else 1], g.shape(x)[1 if flip_a else 0]
    weight = g.normal(2, inner) if flip_b else g.normal(inner, 2)
    bias = g.one([(), (2,), (1, 2), (rows, 1), (rows, 2)])
    return g.Gemm(x, weight, g.normal(*bias), transA=flip_a, transB=flip_b, alpha=0.5, beta=2.0)


@step
def summed_by_index(g: Eager, x: str) -> str | None:
    rank = len(g.shape(x))
    if rank == 2:
        return g.Einsum(x, g.Sin(x), equation=g.one(["ij,kj->ik", "ij,ij->i", "ij,ij", "ij,ik->kj", "ij,kl->jl"]))
    return g.Einsum(x, g.normal(g.shape(x)[-1], 2), equation="...i,ij->...j") if rank > 2 else None


@step
def cast_and_dropped(g: Eager, x: str) -> str:
    return g.Dropout(x) if g.yes() else g.Cast(x, to=TensorProto.DOUBLE)


_SHAPES = [(1, 2, 4, 5), (2, 4, 3, 3), (1, 3, 6), (2, 3), (1, 4, 4, 2), (5,), (2, 1, 3, 1), (1, 1, 2, 2)]


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph with one output, a vector that all of it flows into."""

    model: onnx.ModelProto
    output: str
    feeds: dict[str, np.ndarray]
    steps: tuple[str, ...]

    def __repr__(self) -> str:
        shapes = {name: value.shape for name, value in self.feeds.items()}
        nodes = "\n".join(f"  {' '.join(n.output)} = {n.op_type}({', '.join(n.input)})" for n in self.model.graph.node)
        return f"{self.steps} of {shapes}:\n{nodes}\n"


@st.composite
def graphs(draw: Draw, most: int = 10) -> Graph:
    """Random graphs: each step begins at any value that there is, most often at the newest."""
    g = Eager(draw, draw(st.sampled_from([18, 21])), draw(st.integers(0, 1000)))
    for _ in range(g.number(1, 2)):
        g.input(g.one(_SHAPES))
    taken = []
    for _ in range(g.number(1, most)):
        name = g.one(sorted(STEPS))
        back = g.number(0, 3)
        start = g.pool[-1] if back < 2 or len(g.pool) < 2 else g.one(g.pool)
        found = STEPS[name](g, start)
        if found is None:
            continue
        taken.append(name)
        for value in [found] if isinstance(found, str) else found:
            g.add(value)
    ends = [g.Reshape(name, np.array([-1])) for name in list(g.unused)]
    output = g.Concat(*ends, axis=0)
    info = onnx.helper.make_graph(
        g.net.nodes,
        "random",
        g.net.inputs,
        [onnx.helper.make_tensor_value_info(output, TensorProto.DOUBLE, g.shape(output))],
        g.net.constants,
        value_info=[
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in g.values.items()
            if name != output and name not in g.inputs
        ],
    )
    model = onnx.helper.make_model(info, opset_imports=[onnx.helper.make_opsetid("", g.opset)], ir_version=10)
    return Graph(model, output, {n: g.values[n] for n in g.inputs}, tuple(taken))
