"""Suppression by a plugin of TensorRT, as the standard operators.

Their sources are in https://github.com/NVIDIA/TensorRT, in plugin/efficientNMSPlugin and plugin/batchedNMSPlugin.

1. ``EfficientNMS_TRT``: boxes [1, N, 4] or [1, N, C, 4], scores [1, N, C], and anchors if the boxes are offsets.
   ``EfficientNMSX_TRT`` and ``YoloNMS_TRT`` (of levipereira/TensorRT) give the rows of what is kept, too.
2. ``BatchedNMS_TRT`` and ``BatchedNMSDynamic_TRT``: boxes [1, N, 1 or C, 4], scores [1, N, C].
3. ``TRTBatchedNMS`` of mmdeploy: the second one, with box and score in one output.

The outputs keep their names. They have a row for each detection, and none for what is missing to the greatest number,
which the plugins fill with zeros. Scores and overlaps that equal a threshold are dropped and kept, where a plugin may
keep and drop them. EfficientNMS_TRT looks at the best 4096 candidates, here all are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx import defs
from onnx_ir.passes import common as passes

from boxcam.errors import SourceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import STANDARD, describe_node, static_shape
from boxcam.export.heads.boxes import to_corners

WITH_ROWS = ("EfficientNMSX_TRT", "YoloNMS_TRT")
EFFICIENT, BATCHED = ("EfficientNMS_TRT", *WITH_ROWS), ("BatchedNMS_TRT", "BatchedNMSDynamic_TRT")
MMDEPLOY = "TRTBatchedNMS"
PLUGINS = (*EFFICIENT, *BATCHED, MMDEPLOY)
_LABELS, _ROWS = 3, 4
"""Which outputs of NVIDIA's plugins and those alike hold classes and rows."""
UNKNOWN = "custom"
"""Where operators are put that are in the standard's domain and not of it."""
DOMAIN = "TRT"
"""Where these operators are put, whatever their domain is: TRT, trt.plugins, mmdeploy, or that of the standard."""


@dataclass(frozen=True)
class Suppression:
    """What a plugin does.

    Attributes:
        score, iou: lowest score, and highest overlap.
        most: how many boxes it gives at most.
        first: how many of each class are looked at; 0 for all.
        background: number of a class that is left out; -1 for none.
        agnostic: whether boxes suppress those of other classes.
        sigmoid: whether the scores are logits.
        centred: whether boxes are centre and size.
        whole_pixels: whether the last pixel belongs to a box when overlaps are measured.
        clipped: whether boxes are cut off at 0 and 1.
    """

    score: float
    iou: float
    most: int
    first: int = 0
    background: int = -1
    agnostic: bool = False
    sigmoid: bool = False
    centred: bool = False
    whole_pixels: bool = False
    clipped: bool = False


def is_plugin(node: ir.Node) -> bool:
    """Whether a node is such a plugin."""
    return node.op_type in PLUGINS and len([value for value in node.inputs if value is not None]) >= 2


def name_domain(model: ir.Model) -> None:
    """Put such plugins, and what else the standard does not have, into domains of their own, in place.

    In the standard's domain other tools take them for errors of the file.
    """
    for node in model.graph.all_nodes():
        if is_plugin(node):
            node.domain = DOMAIN
        elif node.domain in STANDARD and not defs.has(node.op_type, ""):
            node.domain = UNKNOWN
        else:
            continue
        model.graph.opset_imports.setdefault(node.domain, 1)


def write_standard(model: ir.Model) -> None:
    """Replace such plugins by standard operators, in place.

    Raises:
        SourceError: an attribute has a value that the plugin does not have.
    """
    nodes = [node for node in model.graph if node.domain == DOMAIN and is_plugin(node)]
    if not nodes:
        return
    passes.ShapeInferencePass(strict_mode=False)(model)
    op = Ops(model.graph, "boxcam.nms")
    for node in nodes:
        boxes, scores, *others = node.inputs
        assert boxes is not None and scores is not None
        asked = _read(node)
        anchors = others[0] if others and node.op_type in EFFICIENT else None
        found = _suppress(op, boxes, scores, anchors, asked)
        _leave_rows(model.graph, node)
        _replace(model.graph, node, _outputs(op, node, *found))
        model.graph.remove(node, safe=True)
    model.graph.sort()


def _read(node: ir.Node) -> Suppression:
    """The attributes of a plugin, in any spelling."""
    given = {name.replace("_", "").lower(): attribute.value for name, attribute in node.attributes.items()}

    def number(name: str, otherwise: float) -> Any:
        value = given.get(name, otherwise)
        single = value[0] if isinstance(value, Sequence) and len(value) == 1 else value
        if not isinstance(single, int | float):
            raise SourceError(
                f"{describe_node(node)}: its attribute {name} is {value!r}, not a number. Export the model again"
                " without the plugin."
            )
        return single

    if node.op_type in EFFICIENT:
        return Suppression(
            score=float(number("scorethreshold", 0.25)),
            iou=float(number("iouthreshold", 0.5)),
            most=int(number("maxoutputboxes", 100)),
            background=int(number("backgroundclass", -1)),
            agnostic=bool(number("classagnostic", 0)),
            sigmoid=bool(number("scoreactivation", 0)),
            centred=bool(number("boxcoding", 0)),
        )
    is_nvidias = node.op_type in BATCHED
    normalized = bool(number("isnormalized", int(is_nvidias)))
    return Suppression(
        score=float(number("scorethreshold", 0.0)),
        iou=float(number("iouthreshold", 0.5)),
        most=int(number("keeptopk", 100)),
        first=max(int(number("topk", 0)), 0),
        background=int(number("backgroundlabelid", -1)),
        whole_pixels=not normalized,
        clipped=normalized and bool(number("clipboxes", int(is_nvidias))),
    )


def _suppress(
    op: Ops, boxes: ir.Value, scores: ir.Value, anchors: ir.Value | None, asked: Suppression
) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value]:
    """Boxes [K, 4], scores [K], labels [K] and rows [K], the best first."""
    boxes, scores = (_first(op, _real(op, value)) for value in (boxes, scores))
    rank = len(static_shape(boxes) or (0,) * 3)
    corners = boxes
    if asked.centred or anchors is not None:
        flat = op.Reshape(boxes, np.array([1, -1, 4]))
        flat = flat if anchors is None else _decoded(op, flat, _first(op, _real(op, anchors)), asked.centred)
        flat = to_corners(op, flat, "cxcywh" if asked.centred else "xyxy", "pixels", np.ones(2, np.float32))
        corners = op.Reshape(flat, op.Shape(boxes))
    candidates = (static_shape(scores) or (None,) * 3)[1]
    scores = op.Sigmoid(scores) if asked.sigmoid else scores
    by_class = op.Transpose(scores, perm=[0, 2, 1])  # [1, C, N]
    own = rank == 4 and (static_shape(boxes) or (1,) * 4)[2] != 1
    if own:  # a box for each class
        placed = op.Squeeze(op.Transpose(corners, perm=[0, 2, 1, 3]), [0])  # [C, N, 4]
    else:
        placed = op.Reshape(corners, np.array([1, -1, 4]))
    measured = op.Add(placed, np.array([0, 0, 1, 1], np.float32)) if asked.whole_pixels else placed
    entering = _entering(op, by_class, asked, candidates)
    limits = (
        np.array([np.iinfo(np.int64).max]),
        np.array([asked.iou], np.float32),
        np.array([asked.score], np.float32),
    )
    if asked.agnostic:
        rows, labels = _across_classes(op, measured, entering, limits, own)
    elif own:
        chosen = op.NonMaxSuppression(measured, op.Transpose(entering, perm=[1, 0, 2]), *limits)
        labels, rows = op.Gather(chosen, 0, axis=1), op.Gather(chosen, 2, axis=1)
    else:
        chosen = op.NonMaxSuppression(measured, entering, *limits)
        labels, rows = op.Gather(chosen, 1, axis=1), op.Gather(chosen, 2, axis=1)
    place = op.Concat(op.Unsqueeze(labels, [1]), op.Unsqueeze(rows, [1]), axis=1)
    found = op.GatherND(op.Squeeze(by_class, [0]), place)
    count = op.Min(op.Shape(found), [asked.most])
    values, order = op.emit("TopK", [found, count], {}, outputs=2)
    labels, rows = op.Gather(labels, order, axis=0), op.Gather(rows, order, axis=0)
    if own:
        places = op.Concat(op.Unsqueeze(labels, [1]), op.Unsqueeze(rows, [1]), axis=1)
        kept = op.GatherND(placed, places)
    else:
        kept = op.Gather(op.Squeeze(placed, [0]), rows, axis=0)
    return (op.Clip(kept, np.float32(0), np.float32(1)) if asked.clipped else kept), values, labels, rows


def _real(op: Ops, value: ir.Value) -> ir.Value:
    """In float32: in half precision there is no suppression."""
    if value.dtype is not ir.DataType.FLOAT16:
        return value
    made = op.Cast(value, to=ir.DataType.FLOAT)
    made.shape, made.dtype = value.shape, ir.DataType.FLOAT
    return made


def _first(op: Ops, value: ir.Value) -> ir.Value:
    """Of a fixed batch the first image."""
    shape = static_shape(value)
    first = shape[0] if shape else None
    if first is None or first == 1:
        return value
    made = op.Slice(value, [0], [1], [0])
    made.shape, made.type = ir.Shape([1, *(shape or ())[1:]]), value.type
    return made


def _decoded(op: Ops, offsets: ir.Value, anchors: ir.Value, centred: bool) -> ir.Value:
    """Boxes of offsets from anchors, both as corners, or both as centre and size."""
    if not centred:
        return op.Add(offsets, anchors)
    place, size = (op.Slice(anchors, [a], [b], [2]) for a, b in ((0, 2), (2, 4)))
    moved = op.Add(op.Mul(op.Slice(offsets, [0], [2], [2]), size), place)
    return op.Concat(moved, op.Mul(op.Exp(op.Slice(offsets, [2], [4], [2])), size), axis=2)


def _entering(op: Ops, by_class: ir.Value, asked: Suppression, candidates: int | None) -> ir.Value:
    """The scores [1, C, N] that take part; the others are lower than any threshold."""
    entering, never = by_class, np.float32(-1)
    if asked.background >= 0:
        count = op.Squeeze(op.Gather(op.Shape(by_class), [1]), [0])
        other = op.Not(op.Equal(op.Range(0, count, 1), [asked.background]))
        entering = op.Where(op.Unsqueeze(other, [0, 2]), entering, never)
    if asked.first and (candidates is None or candidates > asked.first):
        taken = op.Min(op.Gather(op.Shape(by_class), [2]), [asked.first])
        best = op.emit("TopK", [by_class, taken], {"axis": 2}, outputs=2)[0]
        least = op.Slice(best, [-1], [np.iinfo(np.int64).max], [2])
        entering = op.Where(op.GreaterOrEqual(by_class, least), entering, never)
    return entering


def _across_classes(
    op: Ops, placed: ir.Value, entering: ir.Value, limits: Sequence[Any], own: bool
) -> tuple[ir.Value, ir.Value]:
    """Rows and labels where boxes suppress those of all classes: each box of each class is a candidate.

    Of a box that the classes share only the best class can be left, which suppresses the others or is with them.
    """
    if not own:
        best, labels = op.emit("TopK", [entering, [1]], {"axis": 1}, outputs=2)  # [1, 1, N]
        rows = op.Gather(op.NonMaxSuppression(placed, best, *limits), 2, axis=1)
        return rows, op.Gather(op.Squeeze(labels, [0, 1]), rows, axis=0)
    flat = op.Reshape(placed, np.array([1, -1, 4]))  # [1, C·N, 4]
    chosen = op.NonMaxSuppression(flat, op.Reshape(entering, np.array([1, 1, -1])), *limits)
    number, count = op.Gather(chosen, 2, axis=1), op.Gather(op.Shape(entering), [2])
    return op.Mod(number, count), op.Div(number, count)


def _leave_rows(graph: ir.Graph, node: ir.Node) -> None:
    """Hand out no rows: where detections come from is found out otherwise, and they are no classes."""
    if node.op_type in WITH_ROWS and len(node.outputs) > _ROWS and node.outputs[_ROWS].is_graph_output():
        graph.outputs.remove(node.outputs[_ROWS])


def _outputs(
    op: Ops, node: ir.Node, boxes: ir.Value, scores: ir.Value, labels: ir.Value, rows: ir.Value
) -> list[ir.Value]:
    """What a plugin gives, of one image."""
    boxes, scores, labels, rows = (op.Unsqueeze(value, [0]) for value in (boxes, scores, labels, rows))
    if node.op_type == MMDEPLOY:
        return [op.Concat(boxes, op.Unsqueeze(scores, [2]), axis=2), labels]
    count = op.Reshape(op.Cast(op.Size(scores), to=ir.DataType.INT32), np.array([1, 1]))
    return [count, boxes, scores, labels, *([rows] if node.op_type in WITH_ROWS else [])]


def _replace(graph: ir.Graph, node: ir.Node, made: Sequence[ir.Value]) -> None:
    """Have others read what was written, in the plugin's types; it gets the names of what it replaces.

    Numbers of classes that the model only hands out stay whole ones, though some plugins give them as floats.
    """
    extra = next((value for value in node.outputs[len(made) :] if _is_read(value)), None)
    if extra is not None:
        raise SourceError(
            f"{describe_node(node)}: its output {extra.name} is not known to boxcam. Export the model without"
            " the plugin."
        )
    op = Ops(graph, "boxcam.nms")
    real = node.outputs[0].dtype if node.op_type == MMDEPLOY else node.outputs[1].dtype
    for position, (old, new) in enumerate(zip(node.outputs, made, strict=False)):
        found = new
        if any(True for _ in old.consumers()):
            if position in (_LABELS if node.op_type != MMDEPLOY else 1, _ROWS):
                found = op.Cast(new, to=ir.DataType.FLOAT if node.op_type in BATCHED else ir.DataType.INT32)
            elif real is ir.DataType.FLOAT16 and new.dtype is not ir.DataType.INT32:
                found = op.Cast(new, to=real)
        ir.convenience.replace_all_uses_with(old, found, replace_graph_outputs=True)
        name = str(old.name)
        old.name, found.name = f"{name}.plugin", name


def _is_read(value: ir.Value) -> bool:
    return value.is_graph_output() or any(True for _ in value.consumers())
