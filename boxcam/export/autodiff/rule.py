"""Gradient rules: what one ONNX operator does to a gradient on its way back.

A rule is a function ``(site, gs) → contributions``.  ``gs`` holds the gradient that arrives at an output, of shape
[M, *y.shape]: M boxes are differentiated at once, so a gradient has one axis more than the value it belongs to, in
front.  Forward values (``site.x(i)``, ``site.y()``) have no such axis, and broadcast against gradients from the right.
For this to work, rules count axes from the end (``site.axis``).  A rule returns one contribution for each input,
[M, *x.shape]: a value, None where no gradient flows, or a function that writes the nodes when it is called, for inputs
that may not matter.

Each operator has one of three verdicts: a rule, a zero gradient (`ZERO`), or none: then it is unsupported.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import onnx_ir as ir

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, attribute_of, axes_of, constant_array, describe_node, static_shape
from boxcam.registry import Registry

Contribution = ir.Value | Callable[[], ir.Value] | None


@dataclass(frozen=True, eq=False)
class Site:
    """A node of the forward graph, as its rule sees it.

    Attributes:
        op: writes the gradient graph (opset `OPSET`, whatever the forward graph has).
        node: the node.
        opset: of the forward graph.
        read: makes a forward value one of the gradient graph: it is recomputed or taken from the forward pass.
        wanted: the inputs whose gradient is asked for.
        signs: the same as ``read``, but tells where the value is positive.
    """

    op: Ops
    node: ir.Node
    opset: int
    read: Callable[[ir.Value], ir.Value]
    wanted: frozenset[int]
    signs: Callable[[ir.Value], ir.Value] | None = None

    def active(self) -> ir.Value:
        """Where the output is positive: bool. What is gathered of it takes a quarter of the memory of the numbers."""
        return self.op.Greater(self.y(), 0.0) if self.signs is None else self.signs(self.node.outputs[0])

    def x(self, index: int = 0) -> ir.Value:
        """An input of the node; floating-point numbers in the gradient graph's type."""
        return self.forward(self._input(index))

    def y(self, index: int = 0) -> ir.Value:
        """An output of the node, as `x`."""
        return self.forward(self.node.outputs[index])

    def has(self, index: int) -> bool:
        """Whether the node has this input."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def constant(self, index: int) -> Array | None:
        """The constant that an input holds; None if it holds none, or is not there."""
        return constant_array(self.node.inputs[index]) if self.has(index) else None

    def need_constant(self, index: int, what: str) -> Array:
        """The constant that an input holds.

        Raises:
            UnsupportedOperatorError: it is computed.
        """
        found = self.constant(index)
        if found is None:
            self.unsupported(f"its {what} is computed while the model runs, and only a constant one is supported")
        return found

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute as a plain Python value."""
        return attribute_of(self.node, name, default)

    def axes(self, position: int = 1) -> list[int] | None:
        """The axes of a reduction, Squeeze or Unsqueeze, attribute or input, as they are written; None: not given."""
        return axes_of(self.node, position)

    def rank(self, index: int = 0) -> int:
        """Rank of an input."""
        return len(self._dims(self._input(index)))

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Shape of an input.

        Raises:
            UnsupportedOperatorError: it is not known before the model runs.
        """
        return self._static(self._input(index))

    def out_rank(self, index: int = 0) -> int:
        """Rank of an output."""
        return len(self._dims(self.node.outputs[index]))

    def out_shape(self, index: int = 0) -> tuple[int, ...]:
        """Shape of an output; raises as `shape` does."""
        return self._static(self.node.outputs[index])

    def axis(self, axis: int, index: int = 0) -> int:
        """An axis of an input, counted from the end: -1 is the last."""
        rank = self.rank(index)
        return axis % rank - rank

    def dims(self, index: int = 0) -> tuple[int | None, ...]:
        """Shape of an input with None for dimensions that are not known before the model runs."""
        return self._dims(self._input(index))

    def out_dims(self, index: int = 0) -> tuple[int | None, ...]:
        """Shape of an output; as `dims`."""
        return self._dims(self.node.outputs[index])

    def real(self, number: float | Array) -> Array:
        """A constant of the gradient graph's floating-point type."""
        return np.asarray(number, self.op.real)

    def unsupported(self, why: str) -> NoReturn:
        """Refuse this node: ``why`` is half a sentence about it."""
        raise unsupported(self.node, self.opset, why, OTHER_ENGINE)

    def forward(self, value: ir.Value) -> ir.Value:
        """A value of the forward pass; floating-point numbers in the gradient graph's type."""
        read, real = self.read(value), ir.DataType.from_numpy(self.op.real)
        if constant_array(value) is not None or value.dtype is None:  # constants are of that type already
            return read
        if value.dtype == real or not value.dtype.is_floating_point():
            return read
        return self.op.Cast(read, to=real)  # a graph of mixed precision

    def _input(self, index: int) -> ir.Value:
        value = self.node.inputs[index]
        assert value is not None
        return value

    def _dims(self, value: ir.Value) -> tuple[int | None, ...]:
        shape = static_shape(value)
        if shape is None:
            self.unsupported(f"the rank of {value.name} is not known before the model runs")
        return shape

    def _static(self, value: ir.Value) -> tuple[int, ...]:
        shape = self._dims(value)
        if None in shape:
            self.unsupported(f"the shape of {value.name}, {list(shape)}, is not known before the model runs")
        return tuple(int(d) for d in shape if d is not None)


RuleFunction = Callable[[Site, Sequence[ir.Value | None]], Sequence[Contribution]]
Independent = Callable[[Site], Collection[int]]


@dataclass(frozen=True, eq=False)
class Rule:
    """How the gradient passes an operator.

    Attributes:
        function: ``(site, gs) → contributions``, one g for each output, None for outputs that no gradient arrives at.
        broadcasts: the contributions have the output's shape, and it is left to the engine to sum them over the axes
            along which an input was broadcast.
        independent: axes of the output along which the operator works position by position, and which are the same
            axes of every input: there the gradient may be given for some positions only.  Forward values are then given
            for these positions.
        note: what is not covered, for the documentation.
    """

    function: RuleFunction
    broadcasts: bool = False
    independent: Independent = lambda site: ()
    note: str = ""


OTHER_ENGINE = 'or try engine="torchscript"'
"""What else may help where there is no rule."""

RULES: Registry[Rule] = Registry("gradient rule", "boxcam.rules")
ZERO: Registry[str] = Registry("operator without gradient")
"""Operators whose gradient is zero wherever it exists, and why."""

OPSET = 18
"""Of the gradient graphs: standard operators, and what ONNX Runtime 1.14 and newer run."""


def rule(
    *operators: str, independent: Independent = lambda site: (), note: str = ""
) -> Callable[[RuleFunction], RuleFunction]:
    """Register a function as the rule of some operators."""

    def put(function: RuleFunction) -> RuleFunction:
        for name in operators:
            RULES.register(name)(Rule(function, False, independent, note))
        return function

    return put


def elementwise(*operators: str, note: str = "") -> Callable[[RuleFunction], RuleFunction]:
    """Register the rule of operators that work element by element; operands broadcast, contributions do not shrink."""

    def put(function: RuleFunction) -> RuleFunction:
        for name in operators:
            RULES.register(name)(Rule(function, True, lambda site: range(site.out_rank()), note))
        return function

    return put


def unsupported(node: ir.Node, opset: int, why: str, otherwise: str = "") -> UnsupportedOperatorError:
    """The error for a node that cannot be differentiated.

    Args:
        node: the node.
        opset: of the graph that it is in.
        why: half a sentence about it.
        otherwise: what else may help, beside another layer.
    """
    return UnsupportedOperatorError(
        f"{describe_node(node)}, opset {opset}, lies between the layer and the scores, and {why}. Choose a layer"
        f" after it with layers={f', {otherwise}' if otherwise else ''}."
    )


def verdict(operator: str) -> str:
    """``rule``, ``zero`` or ``unsupported``."""
    return "rule" if operator in RULES else "zero" if operator in ZERO else "unsupported"


def table() -> Mapping[str, str]:
    """Every operator with a verdict, in alphabetical order."""
    return {name: verdict(name) for name in sorted({*RULES, *ZERO})}
