"""A graph that takes N images at once, as one that takes one: the first of N equal ones.

Exporters write the size of a batch into the graph: into targets of Reshape, Expand and Resize, and into constants that
have a row for each image. With a batch of one these are

1. a target whose number for the images' axis becomes that of one image,
2. a constant that is put together with values of images, whose first row is taken.

Which axis the images are along shows inference: it is the one whose size has changed. That nothing else of the graph
counts on N is proved by a run of both graphs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.errors import ExportError, SourceError
from boxcam.export.graphs.dependency import depends
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, name_and_shape, static_shape
from boxcam.export.graphs.run import run_model
from boxcam.export.passes.dynamic_size import forget_shapes

Sizes = tuple[int | None, ...]

_TARGETS = {"Reshape": 1, "Expand": 1, "Resize": 3}
"""Operators with sizes as an input, and which."""
_MOST = 1024
"""Images at once."""
_RTOL, _ATOL = 1e-3, 1e-5


def take_one(model: ir.Model, image: ir.Value, count: int, feeds: Mapping[str, Array]) -> None:
    """Have a graph take one image, in place; its other inputs must be constants.

    Args:
        model: the graph.
        image: its input, [count, …].
        count: how many images it takes.
        feeds: one image, [1, …].

    Raises:
        SourceError: the graph needs its images together.
    """
    many = clone_model(model)
    passes.ShapeInferencePass(strict_mode=False)(many)
    before = {str(value.name): static_shape(value) for node in many.graph for value in node.outputs}
    before[str(image.name)] = static_shape(image)
    assert image.shape is not None
    image.shape = ir.Shape([1, *image.shape.dims[1:]])
    _Rewriter(model, image, count, before).run()
    _prove(many, model, str(image.name), count, feeds)


class _Rewriter:
    """Writes one image in the place of several.

    Attributes:
        before: the shapes of values with several images, by name.
    """

    def __init__(self, model: ir.Model, image: ir.Value, count: int, before: Mapping[str, Sizes | None]) -> None:
        self.model, self.count, self.before = model, count, before
        self.op = Ops(model.graph, "boxcam.batch")
        self.dependent = depends(model.graph, image)

    def run(self) -> None:
        self._infer()
        for node in list(self.model.graph):
            if any(value in self.dependent for value in node.inputs) and self._rewrite(node):
                self._infer()
        self.model.graph.sort()
        self._infer()

    def _infer(self) -> None:
        forget_shapes(self.model.graph)
        passes.ShapeInferencePass(strict_mode=False)(self.model)

    def _rewrite(self, node: ir.Node) -> bool:
        """Whether a node was changed."""
        place = _TARGETS.get(node.op_type)
        if place is not None:
            return len(node.inputs) > place and self._retarget(node, place)
        return self._cut_constants(node)

    def _retarget(self, node: ir.Node, place: int) -> bool:
        """Case 1."""
        data, target = node.inputs[0], node.inputs[place]
        tensor = None if target is None else ir.convenience.get_const_tensor(target)
        axis = self._axis(data)
        made = self.before.get(str(node.outputs[0].name))
        if data is None or tensor is None or axis is None or made is None:
            return False
        sizes = tensor.numpy().reshape(-1).copy()
        if node.op_type == "Reshape":
            index = _same_place(self.before[str(data.name)] or (), made, axis)
        else:
            index = len(made) - len(static_shape(data) or ()) + axis
        if index is None or index >= len(sizes) or sizes[index] <= 0 or sizes[index] % self.count:
            return False
        sizes[index] //= self.count
        node.replace_input_with(place, self.op.value(sizes))
        return True

    def _cut_constants(self, node: ir.Node) -> bool:
        """Case 2, where the operator puts values together along axes counted from the last one."""
        given = [value for value in node.inputs if value is not None]
        axes = [(at, len(static_shape(value) or ())) for value in given if (at := self._axis(value)) is not None]
        if not axes or not (operator_of(node).elementwise or node.op_type in ("Concat", "MatMul")):
            return False
        axis, rank = axes[0]
        changed = False
        for index, value in enumerate(node.inputs):
            if value is None or value in self.dependent:
                continue
            sizes = static_shape(value) or ()
            place = axis - rank + len(sizes)
            if node.op_type == "MatMul" and place >= len(sizes) - 2:
                continue
            if 0 <= place < len(sizes) and sizes[place] == self.count:
                node.replace_input_with(index, self.op.Slice(value, [0], [1], [place]))
                changed = True
        if changed:
            self.model.graph.sort()
        return changed

    def _axis(self, value: ir.Value | None) -> int | None:
        """The axis of a value along which there are fewer images now."""
        if value is None or value not in self.dependent:
            return None
        now, then = static_shape(value), self.before.get(str(value.name))
        if now is None or then is None or len(now) != len(then):
            return None
        axes = [axis for axis, (a, b) in enumerate(zip(now, then, strict=True)) if a != b]
        fewer = [axis for axis in axes if now[axis] is not None and then[axis] == self.count * (now[axis] or 0)]
        return fewer[0] if len(axes) == len(fewer) == 1 else None


def _same_place(given: Sizes, made: Sizes, axis: int) -> int | None:
    """Where an axis is after a Reshape: rows are in the same order, so as many elements lie before it."""
    if None in given or None in made:
        return None
    before = int(np.prod([size or 0 for size in given[:axis]], dtype=np.int64))
    passed = 1
    for index, size in enumerate(made):
        if passed * (size or 0) > before:
            return index
        passed *= size or 0
    return None


def _prove(many: ir.Model, one: ir.Model, name: str, count: int, feeds: Mapping[str, Array]) -> None:
    """Run both graphs: the first rows of the one are those of the other.

    Raises:
        SourceError: they are not.
    """
    advice = "Export it with a batch of 1, or a dynamic one."
    taken = f"the model takes {count} images at once"
    if count > _MOST:
        raise SourceError(f"{taken}, which are too many to try. {advice}")
    try:
        expected = run_model(many, {name: np.repeat(feeds[name], count, axis=0)})
    except ExportError as error:
        raise SourceError(str(error)) from error
    try:
        found = run_model(one, feeds)
    except ExportError as error:
        raise SourceError(f"{taken}, and its graph cannot be run with one. {advice}") from error
    for output in one.graph.outputs:
        whole, first = expected[str(output.name)], found[str(output.name)]
        rows = whole[: len(first)] if first.ndim else whole
        if rows.shape != first.shape or not np.allclose(rows, first, _RTOL, _ATOL * (1 + np.abs(rows).max(initial=0))):
            raise SourceError(
                f"{taken}, and the output {name_and_shape(output)} of one image is not that of the first of several."
                f" {advice}"
            )
