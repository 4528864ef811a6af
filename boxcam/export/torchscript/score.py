"""The score graph: from the features of a layer to the logits of K boxes, only as large as it has to be.

It takes the layer's features, whatever else of the forward pass it needs (the context), and ``origin``; it returns
the K logits and where the gradient of each belongs.  Both gradient engines are made from it.  Its forms:

windows   every box's logit depends on a window of one map: `boxcam.export.torchscript.windows`;
rows      every box's logit depends on one row of the pooled features: `boxcam.export.torchscript.rows`;
whole     anything else stands between the layer and the head (an FPN, RoIAlign, global pooling): the maps behind the
          head are computed in full, and only from there on box by box.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from boxcam.bundle import Form
from boxcam.errors import UnsupportedOperatorError
from boxcam.export.graphs.dependency import depends, differentiable_inputs
from boxcam.export.graphs.extract import clone_model, cut_part
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import (
    Array,
    all_values,
    ancestors,
    constant_array,
    describe_node,
    static_shape,
    values_read,
)
from boxcam.export.graphs.reach import reached_by, used_features
from boxcam.export.graphs.run import observe_values
from boxcam.export.torchscript import rows as by_rows
from boxcam.export.torchscript import windows as by_windows
from boxcam.export.trace import position as at
from boxcam.types import ORIGIN, PATCHES, PLACE

LOGIT = "logit"
_OWN = "boxcam.score"  # how the names of what is written here begin


@dataclass(frozen=True, eq=False)
class Part:
    """The score of the boxes that come from some of the tensors of logits.

    Attributes:
        form: see above.
        leaves: the tensors of logits, by number.
        model: inputs: features, context, ``origin``; outputs: ``logit`` float32 [K], ``place`` int64 [K, 4] (feature,
            row, y0, x0) and, unless the form is ``whole``, ``patches`` float32 [K, C, h, w]: what to differentiate by.
        reach: radius of the windows, in cells.
    """

    form: Form
    leaves: tuple[int, ...]
    model: ir.Model
    reach: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class ScoreGraph:
    """The score of a layer's boxes.

    Attributes:
        form: the most expensive form among the parts.
        reason: why not a cheaper one, for people.
        features: names of the features the logits depend on.
        context: names of the other values of the forward pass that are needed.
        parts: each box belongs to at most one; a box that belongs to none does not depend on the layer.
    """

    form: Form
    reason: str
    features: tuple[str, ...]
    context: tuple[str, ...]
    parts: tuple[Part, ...]


def build(model: ir.Model, logits: Sequence[str], features: Sequence[str], feeds: Mapping[str, Array]) -> ScoreGraph:
    """Build the score graph of a layer.

    Args:
        model: the folded detector; it is not changed.
        logits: the tensors of logits, in the order in which ``origin`` numbers them.
        features: the layer's tensors.
        feeds: an input to run the detector with, to see shapes that are not static.

    Raises:
        ExportError: no score depends on the layer.
    """
    work = clone_model(model)
    values = {str(value.name): value for value in all_values(work.graph)}
    leaves = [values[name] for name in logits]
    used = [values[name] for name in used_features(work, logits, features)]
    builder = _Builder(work, leaves, used, feeds)
    parts = builder.parts()
    order: list[Form] = ["windows", "rows", "whole"]
    form = max((part.form for part in parts), key=order.index)
    names = tuple(str(value.name) for value in used)
    return ScoreGraph(form, builder.reason if form == "whole" else "", names, builder.context(parts, names), parts)


class _Builder:
    def __init__(
        self, model: ir.Model, leaves: Sequence[ir.Value], features: Sequence[ir.Value], feeds: Mapping[str, Array]
    ) -> None:
        self.model = model
        self.leaves = leaves
        self.features = list(features)
        self.feeds = feeds
        self.reached: dict[ir.Value, frozenset[int]] = {}
        for index, source in enumerate(features):
            for value in reached_by(model.graph, source, features):
                self.reached[value] = self.reached.get(value, frozenset()) | {index}
        self.row_shape: Callable[[ir.Value], tuple[int, ...]] = _RowShapes(model, feeds)
        width = 1 + max(at.rank(leaf) for leaf in leaves)
        self.origin = ir.Value(
            name=f"{_OWN}/{ORIGIN}", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape(["K", width])
        )
        self.barriers: list[str] = []

    @property
    def reason(self) -> str:
        first = list(dict.fromkeys(self.barriers))[:2]
        return f"{' and '.join(first)} between the layer and the logits" if first else "the layer feeds no local head"

    def parts(self) -> tuple[Part, ...]:
        wanted = [(n, leaf) for n, leaf in enumerate(self.leaves) if leaf in self.reached]
        chains = {n: by_windows.chain(leaf, set(self.reached), self.features) for n, leaf in wanted}
        groups: dict[object, list[int]] = {}
        for number, _ in wanted:
            found = chains[number]
            key: object = number if found is None else (found.signature, self._kinds(found))
            groups.setdefault(key, []).append(number)
        return tuple(self._part(numbers, [chains[n] for n in numbers]) for numbers in groups.values())

    def _kinds(self, chain: by_windows.Chain) -> tuple[str, ...]:
        return tuple(
            "feature" if value in self.features else "inner" if value in self.reached else "context"
            for value in chain.maps
        )

    def _part(self, numbers: Sequence[int], chains: Sequence[by_windows.Chain | None]) -> Part:
        op = Ops(self.model.graph, f"{_OWN}{numbers[0]}")
        found = [c for c in chains if c is not None]
        if found and any(value in self.reached for value in found[0].maps):
            return self._windows(op, numbers, found)
        leaf = self.leaves[numbers[0]]
        written = by_rows.emit(op, leaf, self.origin, self.features, self.reached, self.row_shape)
        if written is not None:
            zero = op.Mul(written.row, 0)
            place = _columns(op, [written.tensor, written.row, zero, zero])
            form: Form = "whole" if written.patches is None else "rows"
            if form == "whole":
                self.barriers.append("RoiAlign" if "RoiAlign" in _operators(written.logit) else "a change of rows")
            return self._cut(form, numbers, written.logit, place, written.patches, None)
        if len(self.reached[leaf]) > 1:
            raise UnsupportedOperatorError(
                f"{leaf.name} depends on several tensors of the layer at once, which only the ONNX gradient supports."
                " Choose one of them with layers=."
            )
        node = leaf.producer()
        self.barriers.append(describe_node(node) if node is not None else str(leaf.name))
        position = op.Slice(self.origin, [1], [1 + at.rank(leaf)], [1])
        logit = op.GatherND(leaf, position)
        zero = op.Mul(op.Gather(self.origin, 0, axis=1), 0)
        place = _columns(op, [op.Add(zero, self._finest(leaf)), zero, zero, zero])
        return self._cut("whole", numbers, logit, place, None, None)

    def _windows(self, op: Ops, numbers: Sequence[int], chains: Sequence[by_windows.Chain]) -> Part:
        written = by_windows.emit(op, chains, numbers, len(self.leaves), self.origin)
        kinds = self._kinds(chains[0])
        number = op.Gather(self.origin, 0, axis=1)
        zero = op.Mul(number, 0)
        if "inner" in kinds:
            self.barriers.extend(chains[0].barrier)
            tensor = by_windows.table(op, len(self.leaves), numbers, [self._finest(c.leaf) for c in chains])
            place = _columns(op, [op.Gather(tensor, number), zero, zero, zero])
            return self._cut("whole", numbers, written.logit, place, None, None)
        slot = kinds.index("feature")
        features = [self.features.index(c.maps[slot]) for c in chains]
        tensor = op.Gather(by_windows.table(op, len(self.leaves), numbers, features), number)
        place = op.Concat(_columns(op, [tensor, zero]), written.corner[slot], axis=1)
        reach = chains[0].radius[chains[0].maps[slot]]
        return self._cut("windows", numbers, written.logit, place, written.slots[slot], reach)

    def _finest(self, leaf: ir.Value) -> int:
        """Of several features that a logit depends on, the one with the most cells is looked at."""

        def cells(index: int) -> int:
            shape = static_shape(self.features[index]) or ()
            return (shape[2] or 0) * (shape[3] or 0) if len(shape) == 4 else 0

        return max(sorted(self.reached[leaf]), key=cells)

    def _cut(
        self,
        form: Form,
        numbers: Sequence[int],
        logit: ir.Value,
        place: ir.Value,
        patches: ir.Value | None,
        reach: tuple[int, int] | None,
    ) -> Part:
        op = Ops(self.model.graph, f"{_OWN}{numbers[0]}")
        outputs = [op.Identity(logit), op.Identity(place)] + ([patches] if patches is not None else [])
        names = [LOGIT, PLACE, PATCHES]
        types = [ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.FLOAT]
        self.model.graph.sort()
        inputs = [*self.features, *self._context(outputs), self.origin]
        model = cut_part(self.model, inputs, outputs)
        ranks = [1, 2, 4]
        for value, name, dtype, rank in zip(model.graph.outputs, names, types, ranks, strict=False):
            value.name, value.dtype, value.shape = name, dtype, ir.Shape(["K", *[None] * (rank - 1)])
        model.graph.inputs[-1].name = ORIGIN
        return Part(form, tuple(numbers), model, reach)

    def _context(self, outputs: Sequence[ir.Value]) -> list[ir.Value]:
        """Values of the forward pass that the score needs beside the features.

        They are where neither origin nor, along a path of the gradient, the features reach: the proposals that
        RoIAlign pools are taken as they are, although they too were computed from the features.
        """
        by_origin = depends(self.model.graph, self.origin)
        found: dict[ir.Value, None] = {}
        seen: set[tuple[ir.Value, bool]] = set()
        todo = [(value, True) for value in outputs]
        while todo:
            value, with_gradient = todo.pop()
            node = value.producer()
            if (value, with_gradient) in seen or node is None or value in self.features:
                continue
            seen.add((value, with_gradient))
            carrying = differentiable_inputs(node)
            for used in values_read(node):
                if used is self.origin or used in self.features or constant_array(used) is not None:
                    continue
                carries = with_gradient and any(used is value for value in carrying)
                if used in by_origin or (carries and used in self.reached) or _is_own(used):
                    todo.append((used, carries))
                else:
                    found[used] = None
        return list(found)

    def context(self, parts: Sequence[Part], features: Sequence[str]) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for part in parts:
            names.update(dict.fromkeys(str(v.name) for v in part.model.graph.inputs))
        return tuple(name for name in names if name not in features and name != ORIGIN)


def _operators(value: ir.Value) -> set[str]:
    """Operators that were written to compute a value of the score graph."""
    return {node.op_type for node in ancestors([value]) if _is_own(node.outputs[0])}


def _is_own(value: ir.Value) -> bool:
    """Nodes that were written for the score graph (shapes of maps and the like) belong into it."""
    return bool(value.name and value.name.startswith(_OWN))


def _columns(op: Ops, values: Sequence[ir.Value]) -> ir.Value:
    return op.Concat(*(op.Unsqueeze(value, [1]) for value in values), axis=1)


class _RowShapes:
    """The shape of one row of a value: static where it is known, otherwise as seen in a run."""

    def __init__(self, model: ir.Model, feeds: Mapping[str, Array]) -> None:
        self._model, self._feeds = clone_model(model), feeds
        self._by_name = {str(value.name): value for value in all_values(self._model.graph)}
        self._seen: dict[str, tuple[int, ...]] = {}

    def __call__(self, value: ir.Value) -> tuple[int, ...]:
        shape = static_shape(value)
        if shape is not None and None not in shape[1:]:
            return tuple(int(size) for size in shape[1:] if size is not None)
        name = str(value.name)
        if name not in self._seen:
            (found,) = observe_values(self._model, [self._by_name[name]], self._feeds)
            self._seen[name] = found.shape[1:]
        return self._seen[name]
