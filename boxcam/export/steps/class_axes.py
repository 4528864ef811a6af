"""Further step: where the logits of a box's other classes lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from boxcam.bundle import ClassAxis, Logits, TracedTarget
from boxcam.export.steps.follow import Provenance
from boxcam.export.steps.prepare import Preparation
from boxcam.export.verify.class_axis import class_axes
from boxcam.export.verify.forward_pass import Observation
from boxcam.targets import LOGIT


def with_class_axes(
    targets: Sequence[TracedTarget], prepared: Preparation, traced: Provenance, seen: Observation
) -> tuple[TracedTarget, ...]:
    """What the manifest says of targets, with where the other classes of a box are in its logits."""
    return tuple(
        replace(target, ends=_ends(target, prepared, traced, seen)) if target.name == LOGIT.name else target
        for target in targets
    )


def _ends(target: TracedTarget, prepared: Preparation, traced: Provenance, seen: Observation) -> tuple[Logits, ...]:
    source, count = prepared.source, len(prepared.source.labels)
    if count < 2 or source.outputs.whole_image:  # there is no other class; or it is a box of its own
        return target.ends
    found = class_axes(traced.model, traced.traces[target.name], source.outputs.labels, count, seen.run)
    return tuple(
        end if axis is None or _moves(axis, end.shape) else replace(end, classes=axis)
        for end, axis in zip(target.ends, found, strict=True)
    )


def _moves(axis: ClassAxis, shape: Sequence[int | None]) -> bool:
    """Whether how far apart classes are may be another for another image, as the size of their axis is."""
    return axis.axis >= len(shape) or (axis.step > 1 and shape[axis.axis] is None)
