"""How an ONNX file reports its detections: what is asked of the table of conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxcam.errors import SourceError
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.observed import ObservedTensor
from boxcam.export.source import Request


def question(
    seen: Sequence[ObservedTensor],
    request: Request,
    *,
    size: tuple[int, int],
    names: tuple[str, ...],
    metadata: Mapping[str, str],
    in_pixels: bool,
) -> Question:
    """What is known of a model's outputs, and what the user says of them.

    Args:
        seen: its outputs, and what the user names.
        request: names and formats that the user gives.
        size: height and width of its input.
        names: class names; empty if they are not known.
        metadata: what the file says about itself.
        in_pixels: whether it reads how large its picture was.

    Raises:
        SourceError: there is no tensor of a name.
    """
    by_name = {str(one.value.name): one for one in seen}

    def get(name: str | None) -> ObservedTensor | None:
        if name is not None and name not in by_name:
            listed = ", ".join(map(str, seen))
            raise SourceError(
                f"there is no tensor {name!r} to be the scores, boxes or labels. Pass another name. Outputs of the"
                f" model: {listed}."
            )
        return None if name is None else by_name[name]

    return Question(
        seen=tuple(seen),
        size=size,
        classes=len(names) or None,
        names=names,
        scores=get(request.scores),
        boxes=get(request.boxes),
        labels=get(request.labels),
        box_format=request.box_format,
        box_scale=request.box_scale,
        score_activation=request.score_activation,
        background=request.background,
        convention=request.convention,
        columns=_columns(request.columns),
        suppressed=request.nms_threshold is not None,
        in_pixels=in_pixels,
        metadata=metadata,
    )


def _columns(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of columns, given as one text or one by one."""
    names = given.split(",") if isinstance(given, str) else given or ()
    return tuple(name.strip() for name in names)
