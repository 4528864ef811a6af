"""The gradient graph of a layer: from values of one forward pass and ``origin`` to one patch for each box.

The detector's graph is walked back from its logits to the layer by `boxcam.export.autodiff`.  What the walk needs of
the forward pass (the activations behind the masks, the statistics of a normalisation) is not computed anew: the forward
graph hands it over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from boxcam.bundle import Form
from boxcam.errors import ExportError, UnsupportedOperatorError
from boxcam.export import autodiff as _autodiff  # noqa: F401  (its rules register themselves)
from boxcam.export.autodiff import local as _local  # noqa: F401  (the same)
from boxcam.export.autodiff.block import UNIFORM, Block, Boxes, Start, Support, Window
from boxcam.export.autodiff.engine import Tape
from boxcam.export.autodiff.forward import SHAPE
from boxcam.export.autodiff.rule import OPSET
from boxcam.export.autodiff.vjp import finished
from boxcam.export.graphs.dependency import gradient_reaches
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import all_values, opset_of, static_shape
from boxcam.types import BOX, ORIGIN, PATCHES, PLACE
from boxcam.types import UNIFORM as UNIFORM_GRADIENT

_OWN_NAME = re.compile(r"(patches|place|box|uniform)\.\d+")
_MEMORY = 1 << 28  # bytes for the largest gradient of some boxes; several of them live at a time
_MANY_NODES, _FEW_TIMES = 4000, 4  # of a graph that is worth to be tried in another form, and how much it has to save
_MOST_AT_ONCE = 128  # more boxes at once are no faster


@dataclass(frozen=True, eq=False)
class GradientGraph:
    """How a layer's patches are computed.

    Attributes:
        model: inputs: values of the forward pass by their names there, and ``origin``, int64 [K, D]; outputs, for
            groups of boxes g = 0, 1 …: ``patches.g`` float32 [M, C, h, w]; ``place.g`` int64 [M, 4]: feature, row, y0,
            x0; ``box.g`` int64 [M]: which of the K boxes they are of, -1 for none; and, where a patch has one,
            ``uniform.g`` float32 [M, C]: what is added to the gradient in every cell of the map. A box that depends on
            several features is in a group of each.
        form: the most expensive form among the groups.
        reason: why not a cheaper one, for people.
        inputs: names of the values of the forward pass.
        field: size of the widest window, in cells; None if there are others.
        boxes_at_once: how many boxes fit into the memory that is meant for them.
        means: a smaller graph with the same outputs, of some of these inputs, that gives, as ``uniform.g``, only the
            mean of each channel's gradient over the map, which is all that Grad-CAM needs; None where it would not be
            cheaper.
    """

    model: ir.Model
    form: Form
    reason: str
    inputs: tuple[str, ...]
    field: int | None
    boxes_at_once: int
    means: ir.Model | None = None


def build(
    model: ir.Model,
    logits: Sequence[str],
    features: Sequence[str],
    local: bool = True,
    guided: bool = False,
    means: bool = True,
) -> GradientGraph:
    """Differentiate the logits (or other targets) of boxes by a layer.

    Args:
        model: the folded detector; it gets nodes that compute the shapes that the gradient reads, see `provide`.
        logits: the tensors of logits, in the order in which ``origin`` numbers them.
        features: the layer's tensors that some logit depends on.
        local: whether gradients may be kept in windows and rows; whole maps give the same, more slowly.
        guided: whether rectifiers pass what guided backpropagation passes, and not the gradient; see
            `boxcam.export.autodiff.guided`.
        means: whether the graph of the channels' means alone, where it is cheaper, is built too.

    Raises:
        UnsupportedOperatorError: an operator between the layer and the logits has no rule.
        ExportError: the model uses a name that a gradient graph needs.
    """
    work = clone_model(model)
    values = {str(value.name): value for value in all_values(work.graph)}
    leaves, layer = [values[n] for n in logits], [values[n] for n in features]
    builder = _Builder(work, leaves, layer, local, guided)
    found = builder.build()
    simpler = None
    if local and found.form == "whole" and len(found.model.graph) > _MANY_NODES:
        simpler = _simpler(found, work, leaves, layer, guided)
    found = simpler or found
    provide(model, found)
    if not means or not local or simpler is not None or "rows" in builder.forms:
        return found
    condensed = _Builder(work, leaves, layer, local, guided, means=True)
    of_means = condensed.build()
    more = tuple(name for name in of_means.inputs if name not in found.inputs)
    if not condensed.cheaper or not all(name.endswith(SHAPE) for name in more):
        return found
    found = replace(found, means=of_means.model, inputs=(*found.inputs, *more))
    provide(model, found)
    return found


def _simpler(
    found: GradientGraph, work: ir.Model, leaves: Sequence[ir.Value], layer: Sequence[ir.Value], guided: bool
) -> GradientGraph | None:
    """Whole maps from the beginning, where blocks that end as whole maps took many times the nodes to get there.

    So it is where several groups of boxes go through a long backbone one beside the other: ONNX Runtime then needs
    minutes to load what it runs no faster.

    Returns:
        The gradient, or None where it would not be much simpler.
    """
    try:
        plain = _Builder(work, leaves, layer, False, guided).build()
    except UnsupportedOperatorError:  # sizes that are open, which blocks can do without
        return None
    few = _FEW_TIMES * len(plain.model.graph) < len(found.model.graph)
    return replace(plain, reason=found.reason) if few else None


def provide(model: ir.Model, gradient: GradientGraph) -> None:
    """Give a copy of the forward graph what a gradient reads and the detector does not compute: shapes of values."""
    there = {str(value.name): value for value in all_values(model.graph)}
    for name in gradient.inputs:
        if name not in there:
            node = ir.node("Shape", [there[name.removesuffix(SHAPE)]])
            node.outputs[0].name = name
            node.outputs[0].dtype = ir.DataType.INT64
            model.graph.append(node)


class _Builder:
    def __init__(
        self,
        model: ir.Model,
        leaves: Sequence[ir.Value],
        features: Sequence[ir.Value],
        local: bool,
        guided: bool,
        means: bool = False,
    ) -> None:
        self.leaves, self.features = list(leaves), list(features)
        width = 1 + max(len(static_shape(leaf) or ()) for leaf in leaves)
        self.origin = ir.Value(name=ORIGIN, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([None, width]))
        self.graph = ir.Graph([self.origin], [], nodes=[], opset_imports={"": OPSET}, name="gradient")
        self.op = Ops(self.graph, "boxcam.gradient")
        self.reached = [gradient_reaches(model.graph, [f], [o for o in features if o is not f]) for f in features]
        everything = gradient_reaches(model.graph, features)
        self.means, self.cheaper = means, False
        self.tape = Tape(self.op, opset_of(model), {}, everything, local, features if means else (), guided)
        count = self.op.Squeeze(self.op.Shape(self.origin, start=0, end=1), [0])
        self.every = Boxes(self.op.Range(0, count, 1))
        self.forms: list[Form] = []
        self.fields: list[int] = []
        self.whole: list[int] = []
        self.reasons: dict[str, None] = {}
        self.channels: int | None = None

    def build(self) -> GradientGraph:
        self._walk()
        for value in self.graph.inputs:
            if value is not self.origin and (value.name == ORIGIN or _OWN_NAME.fullmatch(str(value.name))):
                raise ExportError(f"the model has a tensor named {value.name!r}, a name reserved by boxcam. Rename it.")
        self.tape.settle()
        model = finished(self.graph)
        order: list[Form] = ["windows", "rows", "whole"]
        form = max(self.forms, key=order.index)
        reasons = list(self.reasons)[:2]
        reason = f"{' and '.join(reasons)} between the layer and the logits" if form == "whole" else ""
        inputs = tuple(str(v.name) for v in model.graph.inputs if v.name != ORIGIN)
        field = max(self.fields + self.whole) if form == "windows" and self.fields else None
        at_once = min(max(_MEMORY // (4 * self.tape.largest), 1), _MOST_AT_ONCE)
        return GradientGraph(model, form, reason, inputs, field, at_once)

    def _walk(self) -> None:
        """From all logits at once to the features, and write what arrives there."""
        seeds = {
            leaf: self._seed(number, leaf)
            for number, leaf in enumerate(self.leaves)
            if any(leaf in reached for reached in self.reached)
        }
        found = self.tape.backward(seeds, self.features)
        self.reasons.update(self.tape.barriers)
        for index, feature in enumerate(self.features):
            groups: dict[Boxes, list[Block]] = {}
            for block in self.tape.disjoint(found.get(feature, [])):
                groups.setdefault(block.boxes, []).append(block)
            for blocks in groups.values():
                self._group(index, self.tape.merged(blocks, feature))

    def _seed(self, number: int, leaf: ir.Value) -> Block:
        """A single 1 for each box, at its logit."""
        op, shape = self.op, static_shape(leaf) or ()
        numbers = op.Gather(self.origin, 0, axis=1)
        boxes = self.tape.routed(self.every, "tensor", number, lambda: op.Equal(numbers, number))
        assert boxes.route is not None
        own = op.Where(boxes.route.stands_in, 0, op.Gather(self.origin, boxes.route.chosen, axis=0))
        axes: list[Support] = []
        for a, length in enumerate(shape):
            position = self.tape.positions.anywhere(op.Gather(own, a + 1, axis=1), length)
            axes.append(None if length == 1 else Window(Start(position), 1))
        count = op.Shape(boxes.index)
        one = op.Cast(op.Not(boxes.route.stands_in), to=ir.DataType.FLOAT)
        ones = op.Expand(one, op.Concat(count, np.ones(len(shape), np.int64), axis=0))
        return Block(ones, tuple(axes), boxes)

    def _group(self, index: int, found: Sequence[Block]) -> None:
        """Write what is known of some boxes: their patches, and where these lie."""
        op, tape, feature = self.op, self.tape, self.features[index]
        group = len(self.forms)
        dims = tape.dims(feature)
        # A uniform part is one of a single map; of a map among others it is stored in full.
        uniform = [b for b in found if b.uniform() == [2, 3] and dims[0] == 1]
        others = [b for b in found if b not in uniform]
        if self.means:
            self.cheaper = self.cheaper or bool(uniform)
            uniform += [self._condensed(b, feature) for b in others]
            others = [self._nothing(uniform[0], feature)]
        elif not others:
            others, uniform = uniform, []
        if len(others) > 1:
            others = tape.merged([tape.widened(b, b.uniform(), feature) for b in others], feature)
        (block,) = others
        block = tape.widened(block, [1, *block.uniform()], feature)
        first = block.axes[0]
        if isinstance(first, Window) and first.size != 1:  # where gradients by several ways met
            block = tape.widened(block, [0], feature)
        if block.axes[0] is None and dims[0] != 1:
            block = self._one_row(block)
        zero = op.Mul(block.boxes.index, 0)
        columns = [op.Add(zero, index)]
        for a in (0, 2, 3):
            support = block.axes[a]
            columns.append(zero if support is None else tape.positions.start(support.start))  # type: ignore[union-attr]
        place = op.Concat(*(op.Unsqueeze(c, [1]) for c in columns), axis=1)
        self.channels = dims[1]
        self._output(op.Squeeze(block.value, [1]), f"{PATCHES}.{group}", ir.DataType.FLOAT, 4)
        self._output(place, f"{PLACE}.{group}", ir.DataType.INT64, 2)
        self._output(block.boxes.index, f"{BOX}.{group}", ir.DataType.INT64, 1)
        if uniform:
            (even,) = tape.merged(uniform, feature)
            even = tape.widened(even, [0, 1], feature)
            self._output(op.Reshape(even.value, [0, -1]), f"{UNIFORM_GRADIENT}.{group}", ir.DataType.FLOAT, 2)
        windows = not self.tape.barriers  # a window that covers the map is stored as the whole of it
        self.fields += [a.size for a in block.axes[2:] if isinstance(a, Window) and isinstance(a.size, int)]
        self.whole += [
            size for a, size in zip(block.axes[2:], dims[2:], strict=False) if a is None and size is not None
        ]
        self.forms.append("rows" if isinstance(block.axes[0], Window) else "windows" if windows else "whole")

    def _condensed(self, block: Block, feature: ir.Value) -> Block:
        """The mean of a gradient over the map, as a uniform gradient."""
        op, tape = self.op, self.tape
        block = tape.widened(block, [0, 1, *block.uniform()], feature)
        cells = [tape.length(feature, a) for a in (2, 3)]
        total = op.ReduceSum(block.value, [3, 4], keepdims=1)
        for size in cells:
            total = op.Div(total, float(size) if isinstance(size, int) else op.Cast(size, to=ir.DataType.FLOAT))
        return Block(total, (None, None, UNIFORM, UNIFORM), block.boxes)

    def _nothing(self, block: Block, feature: ir.Value) -> Block:
        """A gradient without any cell, beside a uniform one."""
        op = self.op
        shape = op.Concat(op.Shape(block.value, start=0, end=1), [1, self.tape.dims(feature)[1] or 0, 0, 0], axis=0)
        empty = op.Expand(np.zeros((), np.float32), shape)
        return Block(empty, (None, None, None, None), block.boxes)

    def _one_row(self, block: Block) -> Block:
        """Of a gradient with respect to all rows, the row that is not zero."""
        op = self.op
        largest = op.ReduceMax(op.Abs(block.value), [2, 3, 4], keepdims=0)
        row = op.ArgMax(largest, axis=1, keepdims=0)
        chosen = op.GatherND(block.value, op.Unsqueeze(row, [1]), batch_dims=1)
        return Block(op.Unsqueeze(chosen, [1]), (Window(Start(row), 1), *block.axes[1:]), block.boxes)

    def _output(self, value: ir.Value, name: str, dtype: ir.DataType, rank: int) -> None:
        result = self.op.Identity(value)
        shape: list[int | None] = [None] * rank
        if name.startswith(PATCHES):
            shape[1] = self.channels
        result.name, result.dtype, result.shape = name, dtype, ir.Shape(shape)
        self.graph.outputs.append(result)
