"""Names of layers in a plain ONNX graph: tensors, and modules as the exporters name them."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.bundle import Outputs, Preprocess
from boxcam.errors import NoLogitError, SourceError, UnknownLayerError
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import Array, all_values, describe_node, static_shape
from boxcam.export.graphs.run import record_ranks
from boxcam.export.layers import candidates
from boxcam.export.layers.candidates import Candidate
from boxcam.export.layers.flow import Marks, sizes_of
from boxcam.export.layers.marks import Flows, backward, everything
from boxcam.export.source import LayerTensors
from boxcam.export.trace.trace import trace
from boxcam.targets import LOGIT, SCORE, TARGETS, Target, of_boxes

_SCOPES = "pkg.torch.onnx.name_scopes"  # where torch's newer exporter writes the modules that a node belongs to
_SHOWN = 8
DEFAULTS = ("features", "neck", "roi")
"""The names of what is exported when no layer is asked for: of a classifier, of a detector, of one in two stages."""


def by_name(model: ir.Model, name: str, file: str = "", known: Callable[[], Iterable[str]] = lambda: ()) -> str:
    """The tensor that a name stands for: its own, what a module gives (``layer4``), or one that begins or ends so.

    Args:
        model: the graph.
        name: of the layer.
        file: the ONNX file, for messages, if the model is one.
        graph: of the model, in which a loop may be the reason that there is none.
        known: gives names to list where there is no such tensor, the best ones first; the image is one of them anyway.

    Raises:
        UnknownLayerError: there is no such tensor.
        SourceError: there are several.
    """
    work = clone_model(model)
    passes.ShapeInferencePass()(work)
    values = [value for value in all_values(work.graph) if value.name]
    names = [str(value.name) for value in values]
    if name in names:
        return name
    for module in (name, *_numbered(work.graph, name)):
        given = _given_by_module(work.graph, module)
        if given is not None:
            return given
    alike = [n for n in names if n.startswith(name) or n.endswith(name)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        more = f" and {len(alike) - _SHOWN} more" if len(alike) > _SHOWN else ""
        raise SourceError(
            f"layer {name!r} is ambiguous: it may be {', '.join(alike[:_SHOWN])}{more}. Pass one of these with layers=."
        )
    worth = [*known(), "image"]
    modules = {module for node in work.graph for module in _modules(node)}
    close = difflib.get_close_matches(name, [*worth, *sorted(modules), *names], n=3, cutoff=0.6)
    describes = f"'boxcam inspect {file}' describes them. " if file else ""
    advice = f"{describes}Any other tensor can be passed by its name too."
    raise UnknownLayerError(name, worth, file or "the model", close, advice)


def _numbered(graph: ir.Graph, name: str) -> list[str]:
    """The module that TensorFlow gave a number, as ``conv5_block3_out_1``, if there is one such module and no more."""
    pattern = re.compile(re.escape(name) + r"_\d+")
    found = {module for node in graph for module in _modules(node) if pattern.fullmatch(module)}
    return list(found) if len(found) == 1 else []


def _given_by_module(graph: ir.Graph, name: str) -> str | None:
    """The last tensor with three axes or more that leaves a module, if there is such a module."""
    inside = {node for node in graph if name in _modules(node)}
    leaving = [
        value
        for node in graph
        if node in inside
        for value in node.outputs
        if any(reader not in inside for reader in value.consumers()) or value.is_graph_output()
    ]
    maps = [value for value in leaving if value.dtype in (None, *_REAL) and len(static_shape(value) or (0,) * 4) > 2]
    return str(maps[-1].name) if maps else None


_REAL = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


def _modules(node: ir.Node) -> Iterator[str]:
    """The modules that a node belongs to, by all names that a person may give them."""
    written = node.metadata_props.get(_SCOPES)
    if written:
        try:
            scopes = [str(scope) for scope in ast.literal_eval(written)]
        except (ValueError, SyntaxError):
            scopes = []
        yield from _ends(scopes[:-1] if len(scopes) > 1 else scopes)
    for name in {node.name or "", str(node.outputs[0].name or "")}:
        parts = [part for part in name.split("/") if part]
        for first in range(len(parts)):
            for end in range(first + 1, len(parts)):
                yield "/".join(parts[first:end])
                yield ".".join(parts[first:end])


def _ends(scopes: Sequence[str]) -> Iterator[str]:
    """``model.layer4`` is also found as ``layer4``."""
    for scope in scopes:
        parts = scope.split(".")
        yield from (".".join(parts[first:]) for first in range(len(parts)))


class Work:
    """A graph as it is deployed, to look for layers in.

    Attributes:
        model: the graph, its constants folded.
    """

    def __init__(self, model: ir.Model, spec: Preprocess, image: str, feeds: Mapping[str, Array]) -> None:
        """Fold a graph.

        Args:
            model: the graph.
            spec: its input.
            image: name of its input.
            feeds: an input to run it with.
        """
        work = clone_model(model)
        passes.RemoveUnusedNodesPass()(work)
        self.model = fold_model(work)
        self.spec, self.image = spec, image
        record_ranks(self.model, feeds)

    def candidates(self, outputs: Outputs, boxes: bool = True) -> list[Candidate]:
        """The tensors that are worth looking at.

        Args:
            outputs: names of the detections.
            boxes: whether the boxes are computed too, and not the canvas.

        Raises:
            ExportError: the scores cannot be followed back to where they are computed.
        """
        graph = clone_model(self.model).graph
        logits = self.logits(outputs)
        scores = self._elements(outputs.scores, outputs.score_column, self.values(logits))
        if not boxes:
            return candidates.find(self.model, self.spec, self.image, scores, None)
        sides = [name for target in of_boxes() for name in self._ends(graph, outputs, TARGETS[target])]
        corners = self._elements(outputs.boxes, outputs.box_columns, self.values(sides))
        return candidates.find(self.model, self.spec, self.image, scores, corners)

    def all_maps(self) -> list[Candidate]:
        """The tensors that can be looked at, whatever the outputs are."""
        ends = {value: everything(value, 1) for value in self.model.graph.outputs}
        return candidates.find(self.model, self.spec, self.image, ends, None)

    def _elements(
        self, output: str, columns: int | tuple[int, int] | None, ends: Sequence[ir.Value]
    ) -> dict[ir.Value, Marks]:
        """The elements of some values that an output is selected from; a value that has none is left out.

        What may be written over only a run tells a trace: it names all values that a ScatterND puts together. Where no
        gradient passes from the output to any of them, as behind a Round or a Cast to integers, it is all elements.
        """
        (reported,) = self.values([output])
        start = everything(reported, 1)
        if columns is not None and (width := sizes_of(reported)[-1]) is not None:
            first, last = columns if isinstance(columns, tuple) else (columns, columns + 1)
            start = np.zeros((*start.shape[:-1], width), np.uint8)
            start[..., first:last] = 1
        found = backward(Flows(self.model.graph), {reported: start}, ends)
        return {end: found[end] for end in ends if end in found} or {end: everything(end, 1) for end in ends}

    def logits(self, outputs: Outputs) -> list[str]:
        """Names of the tensors of logits; where a score has no logit of its own, of the scores as they are computed."""
        try:
            return self._ends(clone_model(self.model).graph, outputs, LOGIT)
        except NoLogitError:
            return self._ends(clone_model(self.model).graph, outputs, SCORE)

    def values(self, names: Sequence[str]) -> list[ir.Value]:
        """Values of the graph by their names."""
        known = {str(value.name): value for value in all_values(self.model.graph)}
        return [known[name] for name in dict.fromkeys(names)]

    def _ends(self, graph: ir.Graph, outputs: Outputs, target: Target) -> list[str]:
        return [str(value.name) for value in trace(graph, outputs, target).logits]


def default(
    found: Sequence[Candidate], classifier: bool, file: str = "", graph: ir.Graph | None = None
) -> dict[str, LayerTensors]:
    """The layers that are exported when none is asked for: what the heads read, or what is before their last
    convolution of more than one cell.

    Args:
        found: the tensors that can be layers.
        classifier: whether the model is one.
        file: the ONNX file, for messages, if the model is one.

    Raises:
        SourceError: that is not clear; the message lists what there is.
    """
    rois = [one for one in found if one.role == "roi"]
    heads = [one for one in found if one.role in ("head", "before", "tokens")]
    sizes = [one.shape[1:] for one in heads]
    if len(rois) == 1:
        return {"roi": LayerTensors((rois[0].name,), "roi")}
    if heads and not rois and len(set(sizes)) == len(sizes):
        name = "features" if classifier else "neck"
        return {name: LayerTensors(tuple(one.name for one in heads), layout=heads[0].layout)}
    loop = next((node for node in graph or () if node.op_type in ("Loop", "Scan")), None)
    if not found and loop is not None:
        raise SourceError(
            f"there is no feature map that a gradient reaches: {describe_node(loop)} is between the image and the"
            " scores, and what is computed inside a loop has no gradient. Export the model without the loop, which a"
            " batch of 1 does not need."
        )
    shown = [one for one in found if one.role] or list(found)
    listed = "; ".join(f"{one.name} {list(one.shape)}" for one in shown[:_SHOWN])
    which = f"Pass layers= with the name of a tensor, such as {listed}." if listed else "There is no feature map."
    describes = f" 'boxcam inspect {file}' describes them." if file and listed else ""
    raise SourceError(f"it is not clear which layer to explain. {which}{describes}")
