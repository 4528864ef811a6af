"""The walk back: from elements of a value to the elements that they are copies of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from boxcam.errors import NoLogitError, TraceError
from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import STANDARD, attribute_of, describe_node
from boxcam.export.trace import position as at
from boxcam.export.trace.position import Coordinate, Position
from boxcam.registry import Registry

ACTIVATIONS = ("Sigmoid", "Softmax")

Columns = list[Coordinate]
"""Number of the end, then coordinates in it; None stands for "not computed from the image"."""


@dataclass(frozen=True)
class Rounding:
    """Rounding to integers and back, before the activation (``of_logits``) or after it."""

    scale: float
    zero: float
    low: float
    high: float
    of_logits: bool = False

    def __call__(self, x: float) -> float:
        """``(clip(round(x / scale) + zero, low, high) - zero) * scale``."""
        return (min(max(round(x / self.scale) + self.zero, self.low), self.high) - self.zero) * self.scale


@dataclass(frozen=True)
class ScorePath:
    """What was passed on the way from a score: its activation, and whether more than selection was before it.

    ``roundings`` are those of a quantized detector, in the order in which they are made.
    """

    activation: str = ""
    product: bool = False
    roundings: tuple[Rounding, ...] = ()


@dataclass(frozen=True, eq=False)
class Place:
    """K elements of a value: where they are, and what was passed on the way to them."""

    value: ir.Value
    node: ir.Node
    position: Position
    passed: ScorePath

    def input(self, index: int) -> ir.Value:
        """An input of the node.

        Raises:
            TraceError: it has none there.
        """
        found = self.node.inputs[index] if index < len(self.node.inputs) else None
        if found is None:
            raise TraceError(f"{describe_node(self.node)} lacks its input {index}. Check the file with onnx.checker.")
        return found

    def axis(self, default: int) -> int:
        """The axis that the node works along, counted from the front of its first input."""
        return int(attribute_of(self.node, "axis", default)) % at.rank(self.input(0))


Rule = Callable[["Tracer", Ops, Place], Columns | None]
SELECTION: Registry[Rule] = Registry("operator that selects")
PRODUCTS: Registry[Rule] = Registry("operator that scores are products of")


def selects(*operators: str) -> Callable[[Rule], Rule]:
    """Register the rule of some operators that only select."""

    def put(rule: Rule) -> Rule:
        for operator in operators:
            SELECTION.register(operator)(rule)
        return rule

    return put


def is_constant(value: ir.Value) -> bool:
    """Whether a value is stored in the model."""
    node = value.producer()
    return value.const_value is not None or (node is not None and node.op_type in ("Constant", "ConstantOfShape"))


@dataclass
class Tracer:
    """Follows elements back.

    Attributes:
        graph: the main graph, where the ends have to be.
        elements: int64 [K], some value per element that is followed just now.
        what: what is followed, for messages.
        to_logits: whether to go on through activations and products, to the logits; otherwise what is computed is an
            end.
        ends, activations, inputs, products: what was found so far: tensors, the activation that was passed on the way
            to each, what this activation reads, and whether there was a product before it.
        roundings: of each end, what rounds it on the way to the scores.
        activated: what the activation reads that was passed last.
        factors: of the products that were passed, what each makes, and which of its inputs is the same for all classes.
    """

    graph: ir.Graph
    elements: ir.Value
    what: str
    to_logits: bool
    ends: list[ir.Value] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    inputs: list[ir.Value] = field(default_factory=list)
    products: list[bool] = field(default_factory=list)
    roundings: list[tuple[Rounding, ...]] = field(default_factory=list)
    activated: ir.Value | None = None
    factors: list[tuple[ir.Value, int]] = field(default_factory=list)

    def pull(self, op: Ops, value: ir.Value, position: Position, passed: ScorePath) -> Columns | None:
        """Follow K elements of a value back to where they are computed; None if they are constants."""
        position = tuple(at.vector(op, c, (self.elements,)) if at.shared(c) else c for c in position)
        node = value.producer()
        if is_constant(value):
            return None
        if node is None:
            raise TraceError(
                f"{self.what} reach the graph's input {value.name!r} without passing a logit. Name another tensor"
                " with scores= and boxes=."
            )
        place = Place(value, node, position, passed)
        standard = node.domain in STANDARD
        if self.to_logits and not passed.activation and standard:
            if node.op_type in ACTIVATIONS:
                self.activated = place.input(0)
                return self.pull(op, self.activated, position, replace(passed, activation=node.op_type))
            if node.op_type in PRODUCTS:
                return PRODUCTS[node.op_type](self, op, place)
        if node.op_type in SELECTION and standard and not _converts(node):
            return SELECTION[node.op_type](self, op, place)
        return self.end(place)

    def end(self, place: Place) -> Columns:
        """The elements are computed here.

        Raises:
            NoLogitError: these are no logits, and logits are looked for.
            TraceError: they are inside of an If.
        """
        value, passed = place.value, place.passed
        no_logit = not _makes_logits(place.node) or _of_activations(place.node)
        if self.to_logits and not passed.activation and no_logit:
            raise NoLogitError(
                f"{self.what} are computed by {describe_node(place.node)}, after the class probabilities, where"
                ' only operators that select and products can be traced to a logit. Use targets="score", which explains'
                " the score as it is reported."
            )
        if place.node.graph is not self.graph:
            raise TraceError(
                f"{self.what} are computed inside an If, as {value.name!r}, where only selection can be traced."
                " Export the model without it."
            )
        activation = passed.activation or "Identity"
        for index, known in enumerate(self.ends):
            before = self.activations[index], self.products[index], self.roundings[index]
            if known is value and before == (activation, passed.product, passed.roundings):
                return [index, *place.position]
        self.ends.append(value)
        self.activations.append(activation)
        self.products.append(passed.product)
        self.roundings.append(passed.roundings)
        self.inputs.append(self.activated if passed.activation and self.activated is not None else value)
        return [len(self.ends) - 1, *place.position]

    def either(
        self,
        op: Ops,
        choices: Sequence[tuple[ir.Value, Callable[[ir.Value], tuple[ir.Value, Position]]]],
        passed: ScorePath,
    ) -> Columns | None:
        """Elements that come from one of several values: each choice is a mask [K] and the way on for those in it.

        What is in no mask is a constant.
        """
        merged: Columns | None = None
        elements = self.elements
        for mask, way in choices:
            rows = op.Reshape(op.NonZero(mask), [-1])
            value, inner = way(rows)
            self.elements = rows
            columns = self.pull(op, value, inner, passed)
            self.elements = elements
            if columns is None:
                continue
            if merged is None:
                nothing = op.Sub(op.Mul(op.Cast(mask, to=ir.DataType.INT64), 0), 1)
                merged = [nothing]
            while len(merged) < len(columns):
                merged.append(op.Mul(merged[0], 0))
            for column, coordinate in enumerate(columns):
                update = at.vector(op, coordinate, (rows,))
                merged[column] = op.ScatterND(merged[column], op.Unsqueeze(rows, [1]), update)
        return merged


def _converts(node: ir.Node) -> bool:
    """Whether a Cast makes another kind of number: to integers it rounds, from conditions it computes."""
    if node.op_type != "Cast":
        return False
    read = node.inputs[0]
    kinds = [ir.DataType(node.attributes["to"].as_int()), None if read is None else read.dtype]
    return not all(kind is None or kind.is_floating_point() for kind in kinds)


def _makes_logits(node: ir.Node) -> bool:
    """Whether an operator may be the last of a network: a layer with weights, a bias that is added to it, or a norm."""
    return operator_of(node).weighs or node.op_type in ("Add", "BatchNormalization")


def _of_activations(node: ir.Node) -> bool:
    """Whether something is computed from class probabilities, as a mean of them is: then it is no logit."""
    todo = [value for value in node.inputs if value is not None]
    while todo:
        producer = todo.pop().producer()
        if producer is None:
            continue
        if producer.op_type in ACTIVATIONS:
            return True
        if producer.op_type in SELECTION or producer.op_type in ("Add", "Div"):
            todo.extend(value for value in producer.inputs[:1] if value is not None)
    return False


def pick(op: Ops, position: Position, rows: ir.Value) -> Position:
    """The positions of some of the K elements."""
    return at.some(op, position, rows)


def broadcast(op: Ops, position: Position, value: ir.Value) -> Position:
    """The position in a value that was broadcast."""
    inner = position[len(position) - at.rank(value) :]
    result: list[Coordinate] = []
    for axis, coordinate in enumerate(inner):
        size = at.dimension(op, value, axis)
        result.append(0 if size == 1 else coordinate if isinstance(size, int) else at.divide(op, coordinate, size)[1])
    return tuple(result)
