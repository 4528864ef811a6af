"""Guided gradients: which values are outputs of rectifying activations, and what tells whether these are active.

Guided backpropagation (Springenberg et al., "Striving for Simplicity: The All Convolutional Net", ICLR workshop 2015,
section 3.4) goes back through a ReLU only where its input was positive and what arrives is positive too: what speaks
against is dropped at every layer.  It is defined for ReLU.  Here the same mask is put before the gradient rule of
every activation that rectifies, that is, whose output is positive exactly where its input is: leaky ReLU, ELU, SiLU,
GELU and their like.  Behind the mask goes the activation's own slope.  So

- in a network of ReLUs it is the method of the paper;
- in a network of SiLU, GELU … it is the idea of that method: the little that such an activation lets through on its
  negative side is masked too;
- activations that do not rectify (Sigmoid, Tanh, Softmax, Softplus) and gates (squeeze and excitation) have their plain
  gradient.

An activation may be one operator, or be written out: ``x · σ(x)``, ``x · clip(x + 3, 0, 6) / 6``,
``x · tanh(softplus(x))``, ``x · (1 + erf(x / √2))``, ``max(x, x / 10)``.  What is written out is recognised by what it
computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.written_out import ENDS, moving, written_out
from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.query import STANDARD, attribute_of, constant_array, opset_of
from boxcam.export.graphs.run import run_model

_PROBE = np.array([-9, -6, -4, -2.5, -1, -0.3, -0.01, 0.01, 0.3, 1, 2.5, 4, 6, 9], np.float32)


def rectifiers(nodes: Sequence[ir.Node]) -> dict[ir.Value, ir.Value]:
    """Outputs of rectifying activations, each with a value of its shape that is positive where it is active.

    It is the input or the output, whichever the activation's own gradient rule reads: hardly more is kept of the
    forward pass than without a mask.

    Args:
        nodes: some of a graph, in topological order.
    """
    place = {node: number for number, node in enumerate(nodes)}
    found: dict[ir.Value, ir.Value] = {}
    inner: set[ir.Node] = set()
    for node in nodes:
        if node.domain not in STANDARD or node.inputs[:1] in ((), (None,)):
            continue
        y, x = node.outputs[0], node.inputs[0]
        assert x is not None
        rectifier = operator_of(node).rectifier
        if rectifier == "rising":
            found[y] = y if float(attribute_of(node, "alpha", 1.0)) >= 0 else x
        elif rectifier:
            found[y] = x
        elif node.op_type == "Clip" and _lower(node) == 0 and not _shifted(x):
            found[y] = y
        elif node.op_type in ENDS:
            written = _written_out(node, place)
            if written is not None:
                found[y], nodes = written
                inner.update(nodes)  # a ReLU6 in a hard swish is no activation of its own
    return {y: x for y, x in found.items() if y.producer() not in inner}


def _lower(node: ir.Node) -> float | None:
    """The lower bound of a Clip, if it is known."""
    if "min" in node.attributes:
        return float(attribute_of(node, "min"))
    bound = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if bound is None else float(bound.reshape(()))


def _shifted(x: ir.Value) -> bool:
    """Whether a value is another one plus a number: then ReLU6 of it is a hard sigmoid, which is no rectifier."""
    node = x.producer()
    return node is not None and node.op_type == "Add" and len(moving(node)) == 1


def _written_out(node: ir.Node, place: dict[ir.Node, int]) -> tuple[ir.Value, list[ir.Node]] | None:
    """Of the last node of an activation that is written out, what the activation is of, and its other nodes."""
    found = written_out(node, place)
    return found if found is not None and _rectifies(found[0], node, found[1]) else None


def _rectifies(x: ir.Value, last: ir.Node, nodes: Sequence[ir.Node]) -> bool:
    """Whether a function is positive exactly where x is, rises there, and goes less deep elsewhere."""
    given = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([None]))
    mapping: dict[ir.Value, ir.Value] = {x: given}
    constants: list[ir.Value] = []
    copies: list[ir.Node] = []
    for node in (*reversed(nodes), last):
        inputs = [_probed(value, mapping, constants) for value in node.inputs]
        attributes = [a for a in node.attributes.values() if node.op_type != "Cast"]
        kind = "Identity" if node.op_type == "Cast" else node.op_type
        copy = ir.Node("", kind, inputs, attributes, num_outputs=1)
        copy.outputs[0].name = f"y{len(copies)}"
        mapping[node.outputs[0]] = copy.outputs[0]
        copies.append(copy)
    result = copies[-1].outputs[0]
    result.dtype = ir.DataType.FLOAT
    graph = last.graph
    assert graph is not None
    opsets = {"": opset_of(graph)}
    probe = ir.Graph([given], [result], nodes=copies, initializers=constants, opset_imports=opsets, name="activation")
    y = run_model(ir.Model(probe, ir_version=8), {"x": _PROBE})[str(result.name)].reshape(-1)
    below, above = y[: len(y) // 2][::-1], y[len(y) // 2 :]  # by distance from 0
    rises = all(one < other for one, other in pairwise(above))
    return bool((above > 0).all() and (below <= 0).all() and rises and (-below < above / 2)[-3:].all())


def _probed(value: ir.Value | None, mapping: dict[ir.Value, ir.Value], constants: list[ir.Value]) -> ir.Value | None:
    """A value of the graph in the probe; constants are single numbers there."""
    if value is None or value in mapping:
        return None if value is None else mapping[value]
    number = constant_array(value)
    assert number is not None
    constant = ir.tensor(number.reshape([]).astype(np.float32), name=f"c{len(constants)}")
    known = ir.Value(name=constant.name, const_value=constant, shape=ir.Shape([]))
    known.dtype, mapping[value] = ir.DataType.FLOAT, known
    constants.append(known)
    return known
