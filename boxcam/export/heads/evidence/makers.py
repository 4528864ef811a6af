"""What operators made a tensor's numbers."""

from __future__ import annotations

import onnx_ir as ir

from boxcam.export.graphs.operators import OPERATORS, Copies, operator_of
from boxcam.export.graphs.query import ancestors, static_shape, values_read

_CHOOSING = frozenset({"NonMaxSuppression", "TopK", "NonZero", "Compress", "Unique", "Loop", "If", "Scan"})


def last_operator(value: ir.Value) -> str | None:
    """The operator that made a value's numbers, if it is one that tells logits from probabilities."""
    node = value.producer()
    while node is not None and _lays_out(node) and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None:
        return None
    operator = operator_of(node)
    return node.op_type if operator.probability or operator.weighs or node.op_type == "Add" else None


def is_activation(operator: str | None) -> bool:
    """Whether an operator makes probabilities."""
    return operator is not None and operator in OPERATORS and OPERATORS[operator].probability


def is_unit_vector(value: ir.Value) -> bool:
    """Whether a graph divides numbers by their own norm: an embedding, and no scores."""
    for _ in range(20):
        node = value.producer()
        if node is None or None in node.inputs[:1]:
            return False
        if node.op_type == "LpNormalization":
            return True
        if node.op_type == "Div" and len(node.inputs) == 2 and node.inputs[1] is not None:
            return _is_norm(node.inputs[1])
        if not (_lays_out(node) or node.op_type in ("Identity", "Cast")) or node.inputs[0] is None:
            return False
        value = node.inputs[0]
    return False


def _is_norm(value: ir.Value) -> bool:
    """Whether a value is a length: ReduceL2, or the root of a sum of squares, whatever keeps it from being 0."""
    rooted = False
    for _ in range(20):
        node = value.producer()
        if node is None:
            return False
        if node.op_type == "ReduceL2" or (rooted and node.op_type == "ReduceSumSquare"):
            return True
        if rooted and node.op_type == "ReduceSum" and node.inputs[0] is not None:
            squares = node.inputs[0].producer()
            return squares is not None and squares.op_type in ("Mul", "Pow")
        rooted = rooted or node.op_type in ("Sqrt", "Pow")
        keeps = _lays_out(node) or node.op_type in ("Identity", "Cast", "Expand", "Clip", "Max", "Add", "Sqrt", "Pow")
        read = computed(node)
        if not keeps or not read:
            return False
        value = read[0]
    return False


def is_transformer(value: ir.Value) -> bool:
    """Whether scores are computed row by row from a sequence by a matrix, without a convolution on the way."""
    for _ in range(20):
        node = value.producer()
        if node is None or node.op_type == "Conv":
            return False
        if node.op_type == "LayerNormalization" or is_normalization(node):
            return True
        read = computed(node)
        if not read or (node.op_type == "Concat" and len(read) > 1):
            return False
        value = read[0]
    return False


def is_computed(value: ir.Value) -> bool:
    """Whether a value depends on the image; weights and biases do not, whatever moves them about."""
    seen, todo = {value}, [value]
    while todo:  # the first inputs first: they are the way to the image, and it is asked of many values
        value = todo.pop()
        if value.is_graph_input():
            return True
        node = value.producer()
        new = [] if node is None else [read for read in values_read(node) if read not in seen]
        seen.update(new)
        todo.extend(reversed(new))
    return False


def selects(value: ir.Value) -> bool:
    """Whether an operator that chooses rows takes part in a value, or one whose inside is not looked at."""
    return any(_chooses(node) and computed(node) for node in ancestors([value]))


def suppresses(value: ir.Value) -> bool:
    """Whether a suppression takes part in a value."""
    return any(node.op_type == "NonMaxSuppression" for node in ancestors([value]))


def suppressed_classes(value: ir.Value) -> int | None:
    """How many classes the suppression that takes part in a value is given; None if that is not known."""
    nodes = [node for node in ancestors([value]) if node.op_type == "NonMaxSuppression"]
    shapes = [static_shape(node.inputs[1]) for node in nodes if node.inputs[1] is not None]
    counts = {shape[1] for shape in shapes if shape is not None and len(shape) == 3}
    return counts.pop() if len(counts) == 1 and len(shapes) == len(nodes) else None


_OF_ONNX_RUNTIME = ("", "ai.onnx", "com.microsoft")
"""Domains whose operators are known; ONNX Runtime's own are fusions of activations, norms and attention."""


def _chooses(node: ir.Node) -> bool:
    return node.op_type in _CHOOSING or node.domain not in _OF_ONNX_RUNTIME


def is_mask(value: ir.Value) -> bool:
    """Whether numbers are truth values, or 0 and 1 that a Cast made of them, wherever they were moved since."""
    node = value.producer()
    while value.dtype != ir.DataType.BOOL:
        if node is None or operator_of(node).copies is Copies.NONE or node.inputs[0] is None:
            return False
        value = node.inputs[0]
        node = value.producer()
    return True


def computed(node: ir.Node) -> list[ir.Value]:
    """What a node reads that comes from the image."""
    return [value for value in node.inputs if value is not None and is_computed(value)]


def last_joined(value: ir.Value) -> ir.Value:
    """The last of the values that a tensor joins, as class scores behind boxes; the tensor itself if it joins none."""
    node = value.producer()
    while node is not None and node.op_type in ("Identity", "Cast") and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or node.op_type != "Concat":
        return value
    return (computed(node) or [value])[-1]


def _lays_out(node: ir.Node) -> bool:
    return operator_of(node).copies in (Copies.IN_ORDER, Copies.PERMUTED)


def is_normalization(node: ir.Node) -> bool:
    """Whether a node divides by a deviation: a LayerNormalization in parts, as before opset 17."""
    if node.op_type != "Div" or None in node.inputs:
        return False
    above, below = (value.producer() for value in node.inputs if value is not None)
    if above is None or below is None or (above.op_type, below.op_type) != ("Sub", "Sqrt"):
        return False
    mean = above.inputs[1].producer() if above.inputs[1] is not None else None
    return mean is not None and mean.op_type == "ReduceMean"
