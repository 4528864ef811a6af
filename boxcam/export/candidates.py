"""Which tensors of a detector are worth looking at, for a person who has never opened its graph."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from boxcam.export import graph as onnx
from boxcam.export.dependency import differentiable_inputs, gradient_reaches
from boxcam.export.geometry import cells


@dataclass(frozen=True)
class Candidate:
    """A tensor that can be a layer.

    Attributes:
        name: its name in the graph.
        kind: ``map`` or ``roi``.
        shape: channels, height, width.
        stride: canvas pixels per cell, down and across; None where it is not known or is a proposal's own.
        role: ``head``, what the heads read; ``roi``, the pooled features of proposals; ``stage``, the last map of its
            stride in front of the heads; empty for any other.
        maker: the operator that makes it.
        readers: the operators that read it.
        rois: the tensor with the proposals, for ``roi``.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    stride: tuple[float, float] | None
    role: str
    maker: str
    readers: tuple[str, ...]
    rois: str | None = None


def find(model: ir.Model, image: str, logits: Sequence[ir.Value], boxes: Sequence[ir.Value]) -> list[Candidate]:
    """All maps between the image and the logits, in the order of the graph.

    Args:
        model: the detector, its shapes inferred.
        image: name of its input.
        logits: the tensors of logits that the scores are made of.
        boxes: what the boxes are made of; none for a classifier.
    """
    graph = model.graph
    source = next(value for value in graph.inputs if value.name == image)
    maps = _maps(graph, source, logits)
    places = cells(graph, source)
    heads = set(_read_by_heads(logits, boxes, maps))
    last: dict[tuple[float, float], ir.Value] = {}
    kinds = {value: _pooled(value) for value in maps}
    body = _before(heads) or set(maps)
    for value in maps:
        if kinds[value] is None and value in places and value in body:
            last[places[value].y.stride, places[value].x.stride] = value
    stages = set(last.values())
    found = []
    for value in maps:
        rois, place = kinds[value], places.get(value)
        _, channels, height, width = onnx.static_shape(value) or ()
        if None in (channels, height, width) or (rois is None and min(height or 0, width or 0) < 2):
            continue
        stride = None if rois is not None or place is None else (place.y.stride, place.x.stride)
        role = "roi" if rois is not None and value in heads else "head" if value in heads else ""
        role = role or ("stage" if value in stages else "")
        node = value.producer()
        assert node is not None
        found.append(
            Candidate(
                str(value.name),
                "map" if rois is None else "roi",
                (int(channels or 0), int(height or 0), int(width or 0)),
                stride,
                role,
                node.op_type,
                tuple(sorted({reader.op_type for reader in value.consumers()})),
                None if rois is None else str(rois.name),
            )
        )
    return found


def _maps(graph: ir.Graph, source: ir.Value, logits: Sequence[ir.Value]) -> list[ir.Value]:
    """Values [1, C, H, W] or [R, C, h, w] that a gradient passes from the logits to the image, without the logits."""
    reached = gradient_reaches(graph, [source])
    before: set[ir.Value] = set()
    todo = list(logits)
    while todo:
        node = todo.pop().producer()
        for value in differentiable_inputs(node) if node is not None else []:
            if value not in before and value in reached:
                before.add(value)
                todo.append(value)
    return [
        value
        for node in graph
        for value in node.outputs
        if value in before and len(onnx.static_shape(value) or ()) == 4
    ]


def _read_by_heads(
    logits: Sequence[ir.Value], boxes: Sequence[ir.Value], maps: Iterable[ir.Value]
) -> Iterable[ir.Value]:
    """The last maps in front of the logits; where there are boxes, those that boxes are made of too."""
    both = _before(boxes) if boxes else None
    known = set(maps)
    seen: set[ir.Value] = set()
    todo = [used for leaf in logits for used in _inputs(leaf)]
    while todo:
        value = todo.pop()
        if value in seen:
            continue
        seen.add(value)
        shape = onnx.static_shape(value) or ()
        if value in known and (both is None or value in both) and min(d or 2 for d in shape[2:]) > 1:
            yield value
        else:
            todo.extend(_inputs(value))


def _before(values: Iterable[ir.Value]) -> set[ir.Value]:
    """What a gradient of some values reaches, upwards."""
    seen: set[ir.Value] = set()
    todo = list(values)
    while todo:
        value = todo.pop()
        if value not in seen:
            seen.add(value)
            todo.extend(_inputs(value))
    return seen


def _inputs(value: ir.Value) -> list[ir.Value]:
    node = value.producer()
    if node is None:
        return []
    found = _joined(node) if node.op_type == "Slice" else differentiable_inputs(node)
    return [used for used in found if onnx.array(used) is None]


def _joined(node: ir.Node) -> list[ir.Value]:
    """What a Slice takes; of a Concat in front of it, as of boxes and scores, only those inputs that it takes."""
    value = node.inputs[0]
    assert value is not None
    starts, ends, axes = (onnx.array(used) for used in [*node.inputs[1:4], *[None] * 3][:3])
    if starts is None or ends is None or axes is None or starts.size != 1 or len(node.inputs) > 4:
        return [value]
    axis = int(axes[0]) % len(onnx.static_shape(value) or (0,))
    before = value.producer()
    while before is not None and before.op_type == "Transpose" and before.inputs[0] is not None:
        axis = list(onnx.attribute(before, "perm", [axis]))[axis]
        before = before.inputs[0].producer()
    if before is None or before.op_type != "Concat" or int(onnx.attribute(before, "axis")) != axis:
        return [value]
    parts = [part for part in before.inputs if part is not None]
    sizes = [_size(part, axis) for part in parts]
    if None in sizes:
        return [value]
    edges = list(itertools.accumulate((size or 0 for size in sizes), initial=0))
    low, high = (int(edge[0]) + (edges[-1] if edge[0] < 0 else 0) for edge in (starts, ends))
    return [part for part, start, end in zip(parts, edges, edges[1:], strict=False) if start < high and end > low]


def _size(value: ir.Value, axis: int) -> int | None:
    shape = onnx.static_shape(value)
    return None if shape is None else shape[axis]


def _pooled(value: ir.Value) -> ir.Value | None:
    """The proposals, for a value that is the pooled features of proposals or computed from them row by row."""
    seen: set[ir.Value] = set()
    todo = [value]
    for _ in range(200):
        if not todo:
            return None
        current = todo.pop()
        node = current.producer()
        if node is None or current in seen:
            continue
        seen.add(current)
        if node.op_type == "RoiAlign":
            return node.inputs[1]
        if (onnx.static_shape(current) or (1,))[0] == 1:
            continue
        todo.extend(_inputs(current))
    return None
