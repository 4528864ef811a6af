"""Any ONNX file: a detector or classifier as it is deployed, whatever made it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.errors import ExportError, NothingToExplainError, SourceError
from boxcam.export.graphs.query import (
    all_values,
    find_value,
)
from boxcam.export.graphs.run import record_ranks
from boxcam.export.heads.conventions.recognise import UnknownOutputsError
from boxcam.export.layers.candidates import Candidate, worth
from boxcam.export.passes.dynamic_size import fixed
from boxcam.export.preprocessing.guess import Guess, guess
from boxcam.export.source import LayerTensors, Progress, Request, SourceModel
from boxcam.export.sources.onnx import layers as onnx_layers
from boxcam.export.sources.onnx import stated
from boxcam.export.sources.onnx.detections import Detections, detections, interpretation
from boxcam.export.sources.onnx.opened import OnnxFile, read, settled
from boxcam.export.trace import proposals
from boxcam.types import IMAGE

_PROBED = (640, 640)
"""Height and width to look into a model with that has dynamic ones, as long as nothing else is known of it."""


def load(request: Request, progress: Progress) -> SourceModel:
    """Read an ONNX file, find its detections, and choose its layers.

    Raises:
        SourceError: the file cannot be read, or does not tell enough: the message asks for what is missing.
    """
    progress("reading the model")
    opened = read(request, _PROBED)
    progress("looking for scores and boxes")
    opened, found = _known(opened, request)
    layers: dict[str, LayerTensors] = {}
    names: tuple[str, ...] = ()
    if not request.layers or set(request.layers) & set(onnx_layers.DEFAULTS):
        progress("looking for layers")
        kind, file_name = found.convention.kind, request.arguments[0]
        layers = onnx_layers.default(_candidates(opened, found), kind == "classes", file_name, opened.model.graph)
        names = tuple(layers)
    if any(node.op_type == "RoiAlign" for node in opened.model.graph):
        record_ranks(opened.model, opened.feeds)
    for name in request.layers:
        if name not in (*names, IMAGE):
            tensor = onnx_layers.by_name(opened.model, name, request.arguments[0], lambda: _worth(opened, found))
            pooled = proposals.are_rows(find_value(opened.model.graph, tensor))
            layers[name] = LayerTensors((tensor,), "roi" if pooled else "map", layout=request.layout)
    layers = _with_proposals(opened, layers)
    _drop_unused(opened.model, request.layers, layers)
    return SourceModel(
        model=opened.model,
        input=str(opened.image.name),
        outputs=found.outputs,
        preprocess=opened.preprocess,
        labels=found.labels,
        layers=layers,
        default_layers=names,
        description={
            "kind": "onnx",
            "file": os.path.basename(request.arguments[0]),
            "producer": opened.producer,
            **(
                {"inputs": ", ".join(f"{name}={value}" for name, value in opened.fixed.items())} if opened.fixed else {}
            ),
            **found.convention.describe(),
        },
        half=opened.half,
        admitted=True,
        interpretation=interpretation(found.convention),
    )


def _known(opened: OnnxFile, request: Request) -> tuple[OnnxFile, Detections]:
    """The file and its detections, once its preprocessing is known; what is wrong with its outputs is said before.

    Raises:
        SourceError: see `load`.
    """
    said = stated.preprocessing_of(request, opened.metadata)
    more = [*stated.given_by(request), *(["size=640x640"] if opened.sized_by == "nothing" else [])]
    guessed: Guess | None = None
    try:
        found = detections(opened, request)
        guessed = guess(opened.image, opened.preprocess, found.convention, opened.producer)
    except (UnknownOutputsError, NothingToExplainError):
        raise
    except SourceError:  # it may be for the pixels that stand for those that the model expects
        if (missing := stated.missing(opened.image, said, None, more)) is not None:
            raise missing from None
        raise
    if (missing := stated.missing(opened.image, said, guessed, more)) is not None:
        raise missing
    return settled(opened, request, found.convention), found


def _with_proposals(opened: OnnxFile, layers: Mapping[str, LayerTensors]) -> dict[str, LayerTensors]:
    """The same layers; those of pooled features with the proposals of their rows, which are added to the graph."""
    return {
        name: replace(layer, rois=tuple(proposals.of(opened.model.graph, tensor) for tensor in layer.tensors))
        if layer.kind == "roi"
        else layer
        for name, layer in layers.items()
    }


def _candidates(opened: OnnxFile, found: Detections) -> list[Candidate]:
    """The tensors that can be layers."""
    feeds = opened.feeds
    work = onnx_layers.Work(fixed(opened.model, feeds), opened.preprocess, str(opened.image.name), feeds)
    return work.candidates(found.outputs, boxes=found.convention.kind != "classes")


def _worth(opened: OnnxFile, found: Detections) -> list[str]:
    """The layers that a message lists: the default, by its name, and those of `boxcam inspect`, the last one first."""
    try:
        candidates = _candidates(opened, found)
    except ExportError:
        return []  # the message is about something else
    names = [one.name for one in reversed(worth(candidates, 6))]
    with contextlib.suppress(SourceError):  # several may be meant: there is no name for one
        names = [*onnx_layers.default(candidates, found.convention.kind == "classes", opened.path), *names]
    return names


def _drop_unused(model: ir.Model, names: Sequence[str], layers: Mapping[str, LayerTensors]) -> None:
    """Drop what neither the detections nor the layers are computed by: masks, rival heads, counts."""
    wanted = {*names, *(tensor for layer in layers.values() for tensor in (*layer.tensors, *layer.rois))}
    reported = list(model.graph.outputs)
    model.graph.outputs.extend(v for v in all_values(model.graph) if v.name in wanted and v not in reported)
    passes.RemoveUnusedNodesPass()(model)
    model.graph.outputs.clear()
    model.graph.outputs.extend(reported)
