"""The detections of an ONNX file: what lies between its outputs and boxes, scores and labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from boxcam.bundle import Outputs
from boxcam.errors import SourceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.heads import hook
from boxcam.export.heads.boxes import canvas_of
from boxcam.export.heads.convention import Convention, Piece, append
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.conventions.recognise import recognise
from boxcam.export.heads.selection import report
from boxcam.export.source import Interpretation, Request
from boxcam.export.sources.onnx import labels as onnx_labels
from boxcam.export.sources.onnx import outputs as onnx_outputs
from boxcam.export.sources.onnx.observation import observe
from boxcam.export.sources.onnx.opened import OnnxFile
from boxcam.export.sources.onnx.picture_size import check_picture_size


@dataclass(frozen=True, eq=False)
class Detections:
    """What a model reports, as outputs of its graph.

    Attributes:
        outputs: names of boxes, scores and labels.
        convention: what was found in the file.
        labels: class names by index; empty if they are not known and not to be counted.
    """

    outputs: Outputs
    convention: Convention
    labels: tuple[str, ...]


_DECODED = "boxes and scores of a decode function"


def interpretation(convention: Convention) -> Interpretation:
    """How a file's outputs were read."""
    c, name = convention, str(convention.scores.value.name)
    per_class = c.kind != "selected" and c.labels is None and not c.scores.single
    computed_by = "decode=" if c.name == _DECODED else c.name if c.decode is not None else ""
    how = name, c.scores.columns, c.scores.across, c.activation, c.form, c.scale
    return Interpretation(*how, per_class, c.form_is_guessed, computed_by)


def detections(opened: OnnxFile, request: Request) -> Detections:
    """Append to a graph what lies between its outputs and its detections.

    Args:
        opened: its graph is changed.
        request: what the user says of it.

    Raises:
        SourceError: see `load`.
    """
    model = opened.model
    named = onnx_labels.named(request.class_names, opened.metadata)
    if request.decode is not None:
        convention = _decoded(opened, request)
    else:
        asked = question(opened, request)
        convention = recognise(asked)
        _check_idle(convention, request)
    check_picture_size(model, convention, opened.feeds, opened.size, bool(opened.preprocess.multiple))
    labels = onnx_labels.completed(convention, named)
    spec, op = opened.preprocess, Ops(model.graph, "boxcam.head")
    canvas = (
        canvas_of(op, opened.image, spec.layout) if spec.multiple else np.array([spec.width, spec.height], np.float32)
    )
    selected = append(op, convention, canvas, request.score_threshold, request.nms_threshold)
    names = report(model.graph, op, selected)
    return Detections(Outputs(*names, whole_image=convention.kind == "classes"), convention, labels)


def question(opened: OnnxFile, request: Request) -> Question:
    """What a file gives in a run, and what the user says of it.

    Raises:
        SourceError: it cannot be run, or a tensor that is named is not there.
    """
    seen = observe(opened, [name for name in (request.scores, request.boxes, request.labels) if name])
    return onnx_outputs.question(
        seen,
        request,
        size=opened.size,
        names=onnx_labels.named(request.class_names, opened.metadata),
        metadata=opened.metadata,
        in_pixels=opened.in_pixels,
    )


_IDLE = {
    "selected": ("nms_threshold", "score_activation", "background"),
    "classes": ("nms_threshold", "box_format", "box_scale"),
}


_WHY = {"selected": "the model selects its detections itself", "classes": "a classifier's box is the whole image"}


def _check_idle(convention: Convention, request: Request) -> None:
    """Refuse options that are not read for models of a kind.

    Raises:
        SourceError: there is one.
    """
    for name in _IDLE.get(convention.kind, ()):
        if getattr(request, name) is not None:
            raise SourceError(
                f"{name}= has no meaning here: {_WHY[convention.kind]} ({convention.name}). Leave it out."
            )


def _decoded(opened: OnnxFile, request: Request) -> Convention:
    """Boxes and scores as the user's function writes them."""
    assert request.decode is not None
    names = ["scores", "boxes", "labels", "box_format", "box_scale", "score_activation", "background"]
    names += ["convention", "columns"]
    idle = [name for name in names if getattr(request, name)]
    if idle:
        raise SourceError(f"decode= defines boxes and scores, so {idle[0]}= has no meaning. Leave it out.")
    model = opened.model
    op = Ops(model.graph, "boxcam.decode")
    outputs = {str(value.name): value for value in model.graph.outputs}
    boxes, scores = hook.call(hook.find(request.decode), op, outputs)
    names = [str(boxes.name), str(scores.name)]
    model.graph.sort()
    seen = {str(one.value.name): one.array.shape for one in observe(opened, names)}
    first, second = (seen[name] for name in names)
    if len(first) != 3 or first[2] != 4 or len(second) != 3 or first[:2] != second[:2] or first[0] != 1:
        raise SourceError(
            f"the function of decode= returns boxes {list(first)} and scores {list(second)}. Return [1, N, 4] and"
            " [1, N, C]."
        )
    for value in (boxes, scores):
        value.shape = value.shape or ir.Shape([1, None, None])
    sizes = (first[1], second[2])
    return Convention(_DECODED, "candidates", Piece(scores), Piece(boxes), sizes=sizes)
