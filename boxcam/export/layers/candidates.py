"""Which tensors of a detector are worth looking at, for a person who has never opened its graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from boxcam.bundle import Preprocess
from boxcam.errors import ExportError
from boxcam.export.graphs.dependency import differentiable_inputs, gradient_reaches
from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.query import ancestors, constant_array, static_shape
from boxcam.export.layers import pointwise
from boxcam.export.layers.coordinates import TokenGrid
from boxcam.export.layers.flow import Marks, fitted, sizes_of
from boxcam.export.layers.layout import layout_of
from boxcam.export.layers.marks import Flows, backward, everything, forward
from boxcam.export.layers.receptive_field import Cells, Placement
from boxcam.export.layers.tokens import ImageInput, choose
from boxcam.export.source import Layout
from boxcam.export.trace import proposals

Ends = Mapping[ir.Value, Marks]
"""Where scores or boxes are computed: by value, 1 at those elements that they are."""

_SCORE, _BOX = 1, 2
_Map = tuple[Layout, int, int, int]
"""Layout, channels, height and width."""


@dataclass(frozen=True)
class Candidate:
    """A tensor that can be a layer.

    Attributes:
        name: its name in the graph.
        kind: ``map`` or ``roi``.
        layout: ``NCHW``, ``NHWC`` or ``tokens``.
        shape: channels, height, width.
        stride: canvas pixels per cell, down and across; None where it is not known or is a proposal's own.
        role: ``head``, what the heads read: the last maps with elements that both scores and boxes depend on; ``late``,
            the same where each score depends on one cell of it, and ``before``, the last map before that of which it
            looks at more than one cell; ``roi``, the pooled features of proposals; ``tokens``, what the last block of a
            transformer reads; ``stage``, the last map of its stride before the heads; empty for any other.
        maker: the operator that makes it.
        readers: the operators that read it.
    """

    name: str
    kind: Literal["map", "roi"]
    layout: Layout
    shape: tuple[int, int, int]
    stride: tuple[float, float] | None
    role: str
    maker: str
    readers: tuple[str, ...]


def find(model: ir.Model, spec: Preprocess, image: str, scores: Ends, boxes: Ends | None) -> list[Candidate]:
    """All maps between the image and the logits, in the order of the graph.

    Args:
        model: the detector, its shapes inferred.
        spec: its input.
        image: name of its input.
        scores: the logits that the scores are made of.
        boxes: what the boxes are made of; None of a classifier.
    """
    graph, given = model.graph, ImageInput(image, spec)
    source = next(value for value in graph.inputs if value.name == image)
    placed = given.placed(graph)
    places = placed.cells
    path = _path(graph, source, scores)
    maps = {value: seen for value in path if (seen := _map(value, placed, given.size)) is not None}
    if boxes is None:  # what is pooled to one cell is no map any more; of a detector it may be the last level
        maps = {value: seen for value, seen in maps.items() if min(seen[2:]) > 1}
    pooled = {value for value in maps if proposals.are_rows(value)}
    single = {value for value in maps if static_shape(value)[0] == 1}  # type: ignore[index]
    maps = {value: seen for value, seen in maps.items() if value in single or value in pooled}
    if any(value in places for value in maps):  # what is no map of the image, as attention, is placed nowhere
        maps = {v: seen for v, seen in maps.items() if v in places or v in pooled or seen[0] == "tokens"}
    flows = Flows(graph)
    use = _use(flows, scores, boxes, maps)
    heads = set(_read_by_heads(flows, scores, use, maps))
    last = _last_tokens(heads, use, maps, placed.tokens) if boxes is not None else None
    heads = set() if last is not None else heads
    roles = _roles(maps, heads, pooled, places, boxes is not None)
    if last is not None:
        roles[last] = "tokens"
    if boxes is not None:
        layouts = {value: seen[0] for value, seen in maps.items() if value not in pooled}
        for head, before in pointwise.earlier(flows, heads, scores, layouts).items():
            roles.update({head: "late", before: "before"})
    found = []
    for value, (layout, channels, height, width) in maps.items():
        node = value.producer()
        if height == width == 1 and value not in heads:
            continue
        assert node is not None
        stride = (places[value].y.stride, places[value].x.stride) if value in places else None
        if layout == "tokens":
            grid = placed.tokens.get(value)
            tile = (spec.height / height, spec.width / width)
            stride = tile if grid is None else (grid.y.stride, grid.x.stride)
        found.append(
            Candidate(
                name=str(value.name),
                kind="roi" if value in pooled else "map",
                layout=layout,
                shape=(channels, height, width),
                stride=None if value in pooled else stride,
                role=roles.get(value, ""),
                maker=node.op_type,
                readers=tuple(sorted({reader.op_type for reader in value.consumers()})),
            )
        )
    return found


def worth(found: Sequence[Candidate], most: int = 14) -> list[Candidate]:
    """Those that have a role, the last ones if there are many; the last of all if none has."""
    return ([one for one in found if one.role] or list(found))[-most:]


def _roles(
    maps: Mapping[ir.Value, _Map],
    heads: set[ir.Value],
    pooled: Collection[ir.Value],
    places: Mapping[ir.Value, Cells],
    boxes: bool,
) -> dict[ir.Value, str]:
    """What maps are to the model."""
    tokens = [value for value, (layout, *_) in maps.items() if layout == "tokens" and _is_norm(value)]
    roles: dict[ir.Value, str] = {}
    last: dict[tuple[float, float], ir.Value] = {}
    body = _before(heads) or set(maps)
    for value in maps:
        if value not in pooled and value in places and value in body and min(maps[value][2:]) > 1:
            last[places[value].y.stride, places[value].x.stride] = value
    read = {(places[value].y.stride, places[value].x.stride) for value in heads if value in places}
    roles.update({value: "stage" for stride, value in last.items() if stride not in read and max(stride) > 1})
    # Behind the last block's attention only some tokens are read: its first norm is the last place that has them all.
    if len(tokens) > 2 and not boxes:
        roles[tokens[-3]] = "tokens"
    else:
        roles.update({value: "roi" if value in pooled else "head" for value in heads})
    return roles


def _map(value: ir.Value, placed: Placement, size: tuple[int, int]) -> _Map | None:
    """Layout, channels, height and width, if a value can be seen as maps."""
    shape = static_shape(value) or ()
    if None in shape[1:] or len(shape) not in (3, 4):
        return None
    if value.dtype is not None and not value.dtype.is_floating_point():  # what is quantized has no gradient
        return None
    sizes = [int(size or 0) for size in shape]
    if value in placed.cells and placed.cells[value].axes not in ((2, 3), (1, 2)):
        return None
    layout = layout_of(value, placed.cells)
    if layout == "tokens":
        if not _is_norm(value):
            return None
        try:
            grid = choose(value, placed.tokens, size)
        except ExportError:
            return None
        channels, height, width = sizes[2], grid.rows, grid.columns
    elif layout == "NHWC":
        height, width, channels = sizes[1:]
    else:
        channels, height, width = sizes[1:]
    return layout, channels, height, width


def _is_norm(value: ir.Value) -> bool:
    """Whether a value is what a layer normalisation gives, as one operator or as several."""
    node = value.producer()
    if node is None or node.op_type == "LayerNormalization":
        return node is not None
    for kind in ("Add", "Mul", "Div"):  # shift, scale, division by the standard deviation
        if node is None or node.op_type != kind:
            return False
        computed = [used for used in node.inputs if used is not None and constant_array(used) is None]
        node = computed[0].producer() if computed else None
    return True


def _path(graph: ir.Graph, source: ir.Value, logits: Iterable[ir.Value]) -> list[ir.Value]:
    """Values that a gradient passes from the logits to the image, without the logits."""
    reached = gradient_reaches(graph, [source])
    before: set[ir.Value] = set()
    todo = list(logits)
    while todo:
        node = todo.pop().producer()
        for value in differentiable_inputs(node) if node is not None else []:
            if value not in before and value in reached:
                before.add(value)
                todo.append(value)
    return [value for node in graph for value in node.outputs if value in before]


@dataclass(frozen=True, eq=False)
class _Use:
    """What the elements of a graph's values are used for.

    Attributes:
        marks: by value: `_SCORE` at elements that scores depend on, `_BOX` at those that boxes depend on.
        whole: the bits of an element that all is made of.
    """

    marks: Mapping[ir.Value, Marks]
    whole: int

    def for_scores(self, value: ir.Value) -> bool:
        """Whether a score depends on any element."""
        return bool((_marks(self.marks, value) & _SCORE).any())

    def for_all(self, value: ir.Value) -> npt.NDArray[np.bool_]:
        """Which elements scores depend on and, where there are boxes, boxes too."""
        return np.asarray(_marks(self.marks, value) == self.whole)


def _use(flows: Flows, scores: Ends, boxes: Ends | None, maps: Iterable[ir.Value]) -> _Use:
    starts = {value: taken * np.uint8(_SCORE) for value, taken in scores.items()}
    if boxes is None:
        return _Use(backward(flows, starts), _SCORE)
    for value, taken in boxes.items():
        _start(starts, value, taken * np.uint8(_BOX))
    found = backward(flows, starts)
    if not any((_marks(found, value) & _BOX).any() for value in maps):
        for value in _rounded(boxes):  # no gradient passes there, and all that is rounded may be a box
            _start(starts, value, everything(value, _BOX))
        found = backward(flows, starts)
    return _Use(found, _SCORE | _BOX)


def _start(starts: dict[ir.Value, Marks], value: ir.Value, marks: Marks) -> None:
    """Add marks to those to begin with."""
    starts[value] = fitted(starts[value] | marks, sizes_of(value)) if value in starts else marks


def _rounded(values: Iterable[ir.Value]) -> list[ir.Value]:
    """What is rounded to whole numbers on the way to some values."""
    read = [
        node.inputs[0]
        for node in ancestors(values)
        if operator_of(node).rounds or (node.op_type == "Cast" and not differentiable_inputs(node))
    ]
    return [
        value for value in read if value is not None and value.dtype is not None and value.dtype.is_floating_point()
    ]


def _read_by_heads(flows: Flows, scores: Ends, use: _Use, maps: Mapping[ir.Value, _Map]) -> list[ir.Value]:
    """The last maps before the logits; where there are boxes, those with elements that boxes are made of too."""
    heads: dict[ir.Value, None] = {}
    seen: set[ir.Value] = set()
    todo = [used for leaf in scores for used in _inputs(leaf)]
    while todo:
        value = todo.pop()
        if value in seen or not use.for_scores(value):
            continue
        seen.add(value)
        if value in maps and len(value.shape or ()) == 4 and use.for_all(value).any():
            heads[value] = None
        else:
            todo.extend(_inputs(value))
    means = [value for value in heads if maps[value][2:] == (1, 1) and _is_mean(flows, value, heads, scores)]
    return [value for value in heads if value not in means]


def _last_tokens(
    heads: Collection[ir.Value], use: _Use, maps: Mapping[ir.Value, _Map], tokens: Mapping[ir.Value, TokenGrid]
) -> ir.Value | None:
    """What the last block of a transformer reads, where no map but patches is before its heads, as in YOLOS.

    After the last block's attention only the detection tokens are read; the normalised tokens that it reads are the
    last place whose cells all depends on.
    """
    if not heads or not all(map(_is_embedding, heads)):
        return None
    found = None
    for value, (layout, *_) in maps.items():
        if layout == "tokens" and (grid := tokens.get(value)) is not None:
            used = np.broadcast_to(use.for_all(value), [size or 1 for size in sizes_of(value)])
            cells = used[0, grid.first : grid.first + grid.rows * grid.columns]
            found = value if cells.any() else found
    return found


def _is_embedding(value: ir.Value) -> bool:
    """Whether a map is made of the image by one operator with weights, as the patches of a transformer are."""
    makers = {node for node in ancestors([value]) if operator_of(node).weighs}
    return len(makers) <= 1


def _marks(found: Mapping[ir.Value, Marks], value: ir.Value) -> Marks:
    return found.get(value, np.zeros((), np.uint8))


def _is_mean(flows: Flows, head: ir.Value, heads: Collection[ir.Value], scores: Ends) -> bool:
    """Whether a single cell is made of other maps alone, and all scores that read it read these maps too.

    Such a one is a mean of a map, with which a head weighs that map's channels: it is part of the head.  The last level
    of a pyramid may be a single cell as well, but has scores of its own.
    """
    made_of = _made_of(head, heads)
    direct = [
        forward(flows, {value: everything(value, 1)}, [other for other in heads if other is not value])
        for value in (head, *made_of)
    ]
    return bool(made_of) and not any(
        (_marks(direct[0], end) > _marks(others, end)).any() for others in direct[1:] for end in scores
    )


def _made_of(head: ir.Value, heads: Collection[ir.Value]) -> list[ir.Value]:
    """The other heads' maps that all paths to one pass; empty if there is a path that passes none."""
    found: dict[ir.Value, None] = {}
    seen: set[ir.Value] = set()
    todo = _inputs(head)
    while todo:
        value = todo.pop()
        if value in heads:
            found[value] = None
        elif value.is_graph_input():
            return []
        elif value not in seen:
            seen.add(value)
            todo.extend(_inputs(value))
    return list(found)


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
    return [] if node is None else [used for used in differentiable_inputs(node) if constant_array(used) is None]
