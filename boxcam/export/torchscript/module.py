"""Score graph → torch → a scripted module that runs ``torch.autograd.grad`` inside.

The module is ``(features, context, origin) → patches, places, logits`` and loads with plain torch: no training code, no
torchvision.  Every constant is a buffer, so ``.double()`` turns it into a float64 module for checking.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.graphs.dependency import depends
from boxcam.export.graphs.query import Array, constant_array, describe_node, static_shape
from boxcam.export.torchscript.ops import TORCH_OPS
from boxcam.export.torchscript.score import LOGIT, Part, ScoreGraph
from boxcam.types import ORIGIN, PATCHES, PLACE

_TYPES = {ir.DataType.INT64: torch.int64, ir.DataType.INT32: torch.int32, ir.DataType.BOOL: torch.bool}


def check(score: ScoreGraph) -> None:
    """Check that all operators of a score graph have a counterpart in torch, with the attributes that they have.

    Raises:
        UnsupportedOperatorError: one has none.
    """
    for part in score.parts:
        for node in part.model.graph:
            _require(node)
        _try(part)


def _try(part: Part) -> None:
    """Run a part on zeros, for what its operators say of their attributes when they run.

    Raises:
        UnsupportedOperatorError: one of them cannot be run in torch.
    """
    values = list(part.model.graph.inputs)
    shapes = [static_shape(value) for value in values]
    if None in shapes:
        return
    steps = _Steps(list(part.model.graph), values, None, [])
    zeros = [
        torch.zeros(
            [1 if size is None else size for size in shape or ()],
            dtype=_TYPES.get(value.dtype or ir.DataType.FLOAT, torch.float32),
        )
        for value, shape in zip(values, shapes, strict=True)
    ]
    # Zeros are no picture, and open sizes are not 1: what else goes wrong is no matter of operators.
    with torch.no_grad(), contextlib.suppress(RuntimeError, IndexError, ValueError):
        steps(zeros, torch.zeros(()))


def _require(node: ir.Node) -> None:
    if node.op_type not in TORCH_OPS:
        raise UnsupportedOperatorError(
            f"{describe_node(node)} on the score path has no counterpart in PyTorch. Choose a layer after it with"
            " layers=."
        )


def gradient_module(score: ScoreGraph, example: Mapping[str, Array]) -> torch.jit.ScriptModule:
    """Turn a score graph into a scripted gradient module.

    Args:
        score: the score graph.
        example: features, context and ``origin`` of some boxes, to trace with.

    Raises:
        UnsupportedOperatorError: an operator has no counterpart in `boxcam.export.torchscript.ops`.
    """
    inputs = [*score.features, *score.context]
    tensors = [torch.from_numpy(np.array(example[name])) for name in inputs]
    origin = torch.from_numpy(np.array(example[ORIGIN]))
    parts = nn.ModuleList()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated as a whole, and works
        for part in score.parts:
            mine = origin[torch.isin(origin[:, 0], torch.tensor(part.leaves))]
            if len(mine) == 0:  # no box of the example came from here: any position will do to trace with
                mine = torch.zeros(1, origin.shape[1], dtype=torch.int64)
                mine[:, 0] = part.leaves[0]
            build = _whole_part if part.form == "whole" else _cropped_part
            parts.append(build(part, inputs, tensors, mine, len(score.features)))
        return torch.jit.script(_Gradient(parts).eval())


class _Steps(nn.Module):
    """Runs nodes of a graph: ``(inputs, pivot) → outputs``."""

    def __init__(
        self, nodes: Sequence[ir.Node], inputs: Sequence[ir.Value], pivot: ir.Value | None, outputs: Sequence[ir.Value]
    ) -> None:
        super().__init__()
        self._nodes, self._inputs, self._pivot, self._outputs = list(nodes), list(inputs), pivot, list(outputs)
        self._names: dict[ir.Value, str] = {}
        self.register_buffer("one", torch.ones(()))
        for node in nodes:
            if node.domain not in ("", "ai.onnx") or node.op_type not in TORCH_OPS:
                raise UnsupportedOperatorError(
                    f"{describe_node(node)} on the score path has no counterpart in PyTorch. Choose a layer after it"
                    " with layers=."
                )
            for value in node.inputs:
                constant = constant_array(value)
                if value is not None and constant is not None and value not in self._names:
                    self._names[value] = f"constant_{len(self._names)}"
                    self.register_buffer(self._names[value], torch.from_numpy(np.array(constant)))

    def forward(self, inputs: list[torch.Tensor], pivot: torch.Tensor) -> list[torch.Tensor]:
        known: dict[ir.Value, torch.Tensor] = dict(zip(self._inputs, inputs, strict=True))
        if self._pivot is not None:
            known[self._pivot] = pivot
        for value, name in self._names.items():
            known[value] = getattr(self, name)
        for node in self._nodes:
            arguments: list[Any] = [None if value is None else known[value] for value in node.inputs]
            if node.op_type == "Cast":
                arguments.append(self.one)
            results = TORCH_OPS[node.op_type](node, arguments, [constant_array(value) for value in node.inputs])
            known.update(zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=True))
        # An output that is an input is handed on as a new tensor, which tracing needs.
        return [known[value] if value in self._produced() else known[value].clone() for value in self._outputs]

    def _produced(self) -> set[ir.Value]:
        return {value for node in self._nodes for value in node.outputs}


def _split(part: Part, pivot: ir.Value) -> tuple[list[ir.Node], list[ir.Node], list[ir.Value]]:
    """Nodes that do not depend on a value, nodes that do, and what the first hand to the second."""
    graph = part.model.graph
    behind = depends(graph, pivot) - {pivot}
    first = [node for node in graph if not any(value in behind for value in node.outputs)]
    second = [node for node in graph if any(value in behind for value in node.outputs)]
    crossing: dict[ir.Value, None] = {}
    for node in second:
        for value in node.inputs:
            if value is not None and value is not pivot and value not in behind and constant_array(value) is None:
                crossing[value] = None
    return first, second, list(crossing)


def _trace(steps: _Steps, inputs: list[torch.Tensor], pivot: torch.Tensor) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        # Sizes of maps are constants on purpose; whatever must vary is checked with other numbers of boxes afterwards.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        traced: torch.jit.ScriptModule = torch.jit.trace(steps.eval(), (inputs, pivot), strict=False, check_trace=False)
    return traced


def _order(part: Part, inputs: Sequence[str]) -> tuple[list[ir.Value], list[int], ir.Value]:
    """The part's inputs but origin, their places among the module's inputs, and origin."""
    given = {str(value.name): value for value in part.model.graph.inputs}
    origin = given.pop(ORIGIN)
    return list(given.values()), [list(inputs).index(name) for name in given], origin


def _cropped_part(
    part: Part, inputs: Sequence[str], tensors: Sequence[torch.Tensor], origin: torch.Tensor, features: int
) -> nn.Module:
    values, places, origin_value = _order(part, inputs)
    outputs = {str(value.name): value for value in part.model.graph.outputs}
    first, second, crossing = _split(part, outputs[PATCHES])
    gathered = [v for v in crossing if v is not origin_value]
    gather = _Steps(first, values, origin_value, [outputs[PATCHES], outputs[PLACE], *gathered])
    given = [tensors[place] for place in places]
    found = gather(given, origin)
    head = _Steps(second, gathered, outputs[PATCHES], [outputs[LOGIT]])
    module = _PatchGradients(_trace(gather, given, origin), _trace(head, found[2:], found[0]))
    return _PartOfBoxes(module, part.leaves, places)


def _whole_part(
    part: Part, inputs: Sequence[str], tensors: Sequence[torch.Tensor], origin: torch.Tensor, features: int
) -> nn.Module:
    values, places, origin_value = _order(part, inputs)
    outputs = {str(value.name): value for value in part.model.graph.outputs}
    first, second, crossing = _split(part, origin_value)
    maps = [v for v in crossing if v is not origin_value]
    shared = _Steps(first, values, None, maps)
    given = [tensors[place] for place in places]
    computed = shared(given, origin)
    boxes = _Steps(second, maps, origin_value, [outputs[LOGIT], outputs[PLACE]])
    numbers = [places.index(f) if f in places else -1 for f in range(features)]
    module = _Whole(_trace(shared, given, origin), _trace(boxes, computed, origin[:1]), numbers)
    return _PartOfBoxes(module, part.leaves, places)


class _PatchGradients(nn.Module):
    """Gradients by gathered patches: one backward pass for all boxes, since each patch serves one box only."""

    def __init__(self, gather: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.gather, self.head = gather, head

    def forward(
        self, inputs: list[torch.Tensor], origin: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        found: list[torch.Tensor] = self.gather(inputs, origin)
        patches = found[0].detach().requires_grad_(True)
        logits: list[torch.Tensor] = self.head(found[2:], patches)
        gradient = torch.autograd.grad([logits[0].sum()], [patches])[0]
        assert gradient is not None
        return list(gradient.unbind(0)), found[1], logits[0].detach()

    @torch.jit.export
    def logits(self, inputs: list[torch.Tensor], origin: torch.Tensor) -> torch.Tensor:
        found: list[torch.Tensor] = self.gather(inputs, origin)
        logits: list[torch.Tensor] = self.head(found[2:], found[0])
        return logits[0]


class _Whole(nn.Module):
    """Gradients by whole maps: what all boxes share is computed once, then one backward pass per box."""

    def __init__(self, shared: nn.Module, boxes: nn.Module, feature_inputs: Sequence[int]) -> None:
        super().__init__()
        self.shared, self.boxes = shared, boxes
        self.feature_inputs = list(feature_inputs)  # which input a feature is; -1 for one this part does not use

    def forward(
        self, inputs: list[torch.Tensor], origin: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        leaves: list[torch.Tensor] = []
        for index, tensor in enumerate(inputs):
            leaves.append(tensor.detach().requires_grad_(index in self.feature_inputs))
        maps: list[torch.Tensor] = self.shared(leaves, origin)
        patches: list[torch.Tensor] = []
        places: list[torch.Tensor] = []
        logits: list[torch.Tensor] = []
        for k in range(origin.size(0)):
            found: list[torch.Tensor] = self.boxes(maps, origin[k : k + 1])
            place = found[1].detach().clone()
            feature = leaves[self.feature_inputs[int(place[0, 0])]]
            gradient = torch.autograd.grad([found[0].sum()], [feature], retain_graph=True, allow_unused=True)[0]
            if gradient is None:
                gradient = torch.zeros_like(feature)
            # Outside of what the box depends on the gradient is exactly zero: keep the rectangle where it is not.
            row = 0
            if gradient.size(0) > 1:  # one map per proposal
                row = int((gradient != 0).flatten(1).any(1).int().argmax())
            place[0, 1] = row
            lit = (gradient[row] != 0).any(0)
            rows, columns = torch.nonzero(lit.any(1)), torch.nonzero(lit.any(0))
            if rows.size(0) > 0:
                y0, y1 = int(rows[0, 0]), int(rows[-1, 0]) + 1
                x0, x1 = int(columns[0, 0]), int(columns[-1, 0]) + 1
                patches.append(gradient[row, :, y0:y1, x0:x1].contiguous())
                place[0, 2], place[0, 3] = y0, x0
            else:
                patches.append(gradient[row, :, :0, :0])
            places.append(place)
            logits.append(found[0].detach())
        return patches, torch.cat(places), torch.cat(logits)

    @torch.jit.export
    def logits(self, inputs: list[torch.Tensor], origin: torch.Tensor) -> torch.Tensor:
        maps: list[torch.Tensor] = self.shared(inputs, origin)
        found: list[torch.Tensor] = self.boxes(maps, origin)
        return found[0]


class _PartOfBoxes(nn.Module):
    """A part and the boxes that belong to it."""

    def __init__(self, part: nn.Module, numbers: Sequence[int], inputs: Sequence[int]) -> None:
        super().__init__()
        self.part = part
        self.numbers, self.inputs = list(numbers), list(inputs)

    def forward(
        self, tensors: list[torch.Tensor], origin: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        return self.part([tensors[index] for index in self.inputs], origin)

    @torch.jit.export
    def logits(self, tensors: list[torch.Tensor], origin: torch.Tensor) -> torch.Tensor:
        return self.part.logits([tensors[index] for index in self.inputs], origin)

    @torch.jit.export
    def chosen(self, origin: torch.Tensor) -> torch.Tensor:
        mine = torch.zeros(origin.size(0), dtype=torch.bool)
        for number in self.numbers:
            mine = mine | (origin[:, 0] == number)
        return torch.nonzero(mine)[:, 0]


class _Gradient(nn.Module):
    """All parts: ``(features, context, origin) → patches, places, logits``.

    Returns, for K boxes: K patches float [C, h, w], 0 x 0 for a box that does not depend on the layer; int64 [K, 4]:
    feature, row, y0, x0 of each patch; float [K]: the logits.
    """

    def __init__(self, parts: nn.ModuleList) -> None:
        super().__init__()
        self.parts = parts

    def forward(
        self, features: list[torch.Tensor], context: list[torch.Tensor], origin: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        before = torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        tensors = features + context
        count = origin.size(0)
        patches = [features[0].new_zeros((features[0].size(1), 0, 0)) for _ in range(count)]
        places = torch.zeros((count, 4), dtype=torch.int64)
        logits = features[0].new_zeros((count,))
        for part in self.parts:
            chosen = part.chosen(origin)
            if chosen.size(0) > 0:
                found, where, values = part(tensors, origin[chosen])
                for i in range(chosen.size(0)):
                    patches[int(chosen[i])] = found[i]
                places[chosen] = where
                logits[chosen] = values
        torch.set_grad_enabled(before)
        return patches, places, logits

    @torch.jit.export
    def logits(self, features: list[torch.Tensor], context: list[torch.Tensor], origin: torch.Tensor) -> torch.Tensor:
        """The logits alone, without any gradient: float [K]."""
        before = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
        tensors = features + context
        logits = features[0].new_zeros((origin.size(0),))
        for part in self.parts:
            chosen = part.chosen(origin)
            if chosen.size(0) > 0:
                logits[chosen] = part.logits(tensors, origin[chosen])
        torch.set_grad_enabled(before)
        return logits
