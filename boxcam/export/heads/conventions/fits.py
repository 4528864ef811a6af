"""How sure it is that a tensor of rows holds boxes and scores: what entries ask of the outputs at hand."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.query import constant_array, static_shape
from boxcam.export.heads.conventions.entry import Fit, Match
from boxcam.export.heads.evidence.cells import is_mean, levels, meets_cells
from boxcam.export.heads.evidence.columns import Span, sources
from boxcam.export.heads.evidence.integers import from_integers
from boxcam.export.heads.evidence.makers import computed, is_transformer, last_joined, selects, suppresses
from boxcam.export.heads.evidence.values import are_probabilities

_FEW = 8
COCO = (80, 90, 91)
"""Classes of models that were trained on COCO, in their several numberings."""


def lies_right(match: Match, role: str = "output") -> bool:
    """Whether rows are cells of the graph's maps, or a transformer's; otherwise whether there are more than columns.

    Which axis is which is seen from that.
    """
    one, shape = match.tensors[role], match.tensors[role].array.shape
    columns = match.axis(role)
    for axis in (len(shape) - 1, len(shape) - 2):
        if levels(one.made, axis):
            return axis != columns
    if queries(match, role):  # a layer of a transformer works along the last axis
        layers = sources(Span(one.made, columns, 0, shape[columns]))
        ends = {part.axis == len(static_shape(part.value) or ()) - 1 for part in layers}
        if len(ends) == 1:
            return ends.pop()
    return shape[-2] > shape[-1] if not match.across(role) else shape[-2] < shape[-1]


def of_one_kind(match: Match, written: str) -> bool:
    """Whether columns may be the scores of classes: one operator made them, and they are all probabilities or none is.

    Keypoints, angles, coefficients of masks and embeddings are not, and neither are numbers of classes.
    """
    made = match.made_by(written)
    if len({one.operator for one in made}) > 1 or any(from_integers(one.made.value) for one in made):
        return False
    span = match.span(written)
    own = bool(made) and made[0].first >= span.first and made[-1].end <= span.end  # the graph tells them from the rest
    raw = [node for one in made if (node := one.made.value.producer()) is not None]
    if raw and all(operator_of(node).weighs or operator_of(node).rectifier for node in raw):
        return True  # as a layer gives them, they may be any numbers
    rows = match.rows(written)
    inside = ((rows >= 0) & (rows <= 1)).all(0)
    return bool(own or inside.all() or not inside.any())


def cuts(match: Match, written: str) -> bool:
    """Whether columns end in the midst of what one activation makes: then they are not all of its classes."""
    end = match.span(written).end
    return any(one.probability and one.first < end < one.end for one in match.made_by(written))


def in_one(match: Match, one: str, other: str) -> bool:
    """Whether the same activation made both: then they are numbers of one kind."""
    return any(a is b and a.probability for a in match.made_by(one) for b in match.made_by(other))


def apart(match: Match, one: str, other: str) -> bool:
    """Whether the graph joins the two from different values."""
    first, second = match.made_by(one), match.made_by(other)
    return bool(first and second) and not any(a.made.value is b.made.value for a in first for b in second)


def of_one_layer(match: Match, one: str, other: str) -> bool:
    """Whether one layer with weights computes both, as the last convolution of a YOLOv5 does."""
    values = [{id(found.value) for found in sources(match.span(written))} for written in (one, other)]
    return bool(values[0] & values[1])


def of_one_tower(match: Match, one: str, other: str) -> bool:
    """Whether the layers that compute both read the same map, as the last ones of a branch of a head do."""
    read = [_maps_read(sources(match.span(written))) for written in (one, other)]
    return bool(read[0] & read[1])


def _maps_read(layers: Sequence[Span]) -> set[int]:
    """What layers with weights read; of one that makes the mean of a distribution, what the layer before it reads."""
    todo, seen, found = [layer.value for layer in layers], set[int](), set[int]()
    while todo:
        node = todo.pop().producer()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if not operator_of(node).weighs or is_mean(node):
            todo += computed(node)
        elif node.inputs[0] is not None:
            found.add(id(_unrounded(node.inputs[0])))
    return found


def _unrounded(value: ir.Value) -> ir.Value:
    """What a quantized model rounds before a layer reads it."""
    node = value.producer()
    while node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.inputs[0] is not None:
        value, node = node.inputs[0], node.inputs[0].producer()
    return value


def decoded(match: Match, boxes: str) -> bool:
    """Whether boxes are made of more than offsets: something that varies along the cells takes part."""
    return any(
        meets_cells(one.made.value, len(match.rows(boxes))) or _are_places(one.made.value)
        for one in match.made_by(boxes)
    )


def _are_places(value: ir.Value) -> bool:
    """Whether columns are a constant that differs from row to row, as the middles of cells that are not moved."""
    array = constant_array(value)
    return array is not None and array.size > _FEW and bool((array != array.flat[0]).any())


def queries(match: Match, role: str = "output") -> bool:
    """Whether the rows are a transformer's."""
    return is_transformer(last_joined(match.tensors[role].value)) or is_transformer(match.tensors[role].value)


def makers_of(match: Match, written: str) -> set[str]:
    """The operators between columns and the layers with weights that they are computed by."""
    todo, seen = [one.made.value for one in match.made_by(written)], set[ir.Node]()
    while todo:
        node = todo.pop().producer()
        if node is not None and node not in seen and not operator_of(node).weighs:
            seen.add(node)
            todo.extend(computed(node))
    return {node.op_type for node in seen}


def probabilities(match: Match, written: str) -> bool:
    """Whether an activation made columns; where the graph does not tell, whether they are 0 to 1."""
    made = match.made_by(written)
    if made and all(one.probability for one in made):
        return True
    nodes = [node for one in made if (node := one.made.value.producer()) is not None]
    logits = any(operator_of(node).weighs or node.op_type == "Add" for node in nodes)
    return not logits and are_probabilities(match.rows(written))


def dense(match: Match, scores: str, boxes: str = "output[0:4]") -> Fit:
    """How sure it is that one tensor has a box and scores of classes in each row."""
    one = match.tensors["output"]
    if one.array.ndim == 2 and selects(one.made):
        return Fit.NO  # without a batch, what an operator chose is a table of detections
    if match.sizes["C"] == 1 and scores == "output[4:4+C]" and suppresses(one.made):
        return Fit.NO  # what a suppression left are detections of one class
    if not lies_right(match) or not of_one_kind(match, scores) or in_one(match, boxes, scores):
        return Fit.NO
    shown = probabilities(match, scores) and (decoded(match, boxes) or queries(match))
    return Fit.LIKELY if shown else Fit.POSSIBLE
