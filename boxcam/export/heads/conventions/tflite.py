"""Detections as TensorFlow Lite's custom operator selects them.

See ``detection_postprocess.cc`` of TensorFlow Lite (https://www.tensorflow.org/lite/examples/object_detection/overview):
boxes y1 x1 y2 x2 of 0 to 1, numbers of classes and how many detections there are as floats; rows after these are zeros.
"""

from __future__ import annotations

import numpy as np

from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.selected import is_tensorflow
from boxcam.export.heads.evidence.forms import form_of
from boxcam.export.heads.evidence.values import are_classes, are_probabilities, largest_sizes


def _form(match: Match) -> str:
    """What the graph computes; the custom operator has rows first."""
    return form_of(match.span("boxes")) or "yxyx"


def _fits(match: Match) -> Fit:
    if is_tensorflow(match):
        return Fit.NO
    labels, scores, count = (match.rows(role) for role in ("labels", "scores", "count"))
    if not are_classes(labels) or not are_probabilities(scores) or not are_classes(count):
        return Fit.NO
    if not 0 <= float(count.reshape(-1)[0]) <= scores.size:
        return Fit.NO
    sizes = largest_sizes(match.rows("boxes"))
    if sizes.size and np.median(sizes) > 1.5:
        return Fit.NO
    falling = bool((np.diff(scores.reshape(-1)) <= 1e-6).all())  # as they are selected, the best first
    whole = are_classes(scores)  # then either may be the scores
    return Fit.CERTAIN if falling and not whole else Fit.NO if whole and scores.any() else Fit.POSSIBLE


TFLITE = Entry(
    title="boxes, classes, scores and their number as floats, as of TensorFlow Lite",
    models="TensorFlow Lite's detection post-processing (tflite2onnx, tf2onnx)",
    tensors={"boxes": "1, K, 4", "labels": "1, K", "scores": "1, K", "count": "1?, 1?"},
    kind="selected",
    scores="scores",
    boxes="boxes",
    labels="labels",
    form=_form,
    has_form=True,
    scale="normalized",
    padded=True,
    fits=_fits,
    preset=("tf",),
)
