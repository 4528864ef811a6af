"""The facts of an explanation, for machines: what JSON can hold, as ``facts.schema.json`` describes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from boxcam._version import __version__
from boxcam.errors import BoxcamError
from boxcam.explain.evidence import Evidence
from boxcam.types import Float


def facts(
    evidence: Evidence, boxes: Iterable[Mapping[str, Any]], files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Everything that is said about an explanation.

    Args:
        evidence: the explanation.
        boxes: the facts of each of its boxes, see `box_facts`.
        files: names of the files that lie beside these facts, by what they are.

    Raises:
        BoxcamError: see `check_finite`.
    """
    check_finite(evidence)
    query = evidence.query
    return {
        "boxcam": __version__,
        "bundle": query.bundle,
        "image": query.image,
        "height": evidence.image.shape[0],
        "width": evidence.image.shape[1],
        "method": evidence.method,
        "layer": evidence.layer,
        "fusion": evidence.fusion if evidence.fused else None,
        "masks": query.masks,
        "passes": query.passes,
        "samples": query.samples,
        "noise": query.noise,
        "seed": query.seed,
        "target": evidence.target,
        "engine": evidence.engine,
        "score_threshold": query.score,
        "top": query.top,
        "classes": list(query.classes),
        "rank": list(query.rank),
        "device": query.device,
        "providers": list(query.providers),
        **(files or {}),
        "other_boxes": evidence.other_boxes,
        "detections": [dict(box) for box in boxes],
    }


def box_facts(evidence: Evidence, k: int, values: Float) -> dict[str, Any]:
    """The facts of one box.

    Args:
        evidence: the explanation.
        k: which box.
        values: its map, float32 [H, W].
    """
    complete = math.nan if evidence.completeness is None else float(evidence.completeness[k])
    detections, peak = evidence.detections, float(values.max())
    return {
        "box": [round(float(v), 3) for v in detections.boxes[k]],
        "label": int(detections.labels[k]),
        "name": detections.names[k],
        "score": float(detections.scores[k]),
        "logit": float(detections.logits[k]),
        "origin": [int(v) for v in detections.origin[k]],
        "target": float(evidence.values[k]),
        "tensors": [part.tensor for part in evidence.all_parts(k)],
        "depends_on_layer": evidence.depends(k),
        "peak": peak,
        "positive_evidence": peak > 0,
        "share_inside_box": share_inside(values, detections.boxes[k]),
        "completeness": round(complete, 6) if math.isfinite(complete) else None,
    }


def check_finite(evidence: Evidence) -> None:
    """Refuse what JSON has no words for.

    Raises:
        BoxcamError: the model gave a box, score, logit or target that is NaN or infinite.
    """
    detections = evidence.detections
    numbers = {"boxes": detections.boxes, "scores": detections.scores, "logits": detections.logits}
    for what, values in {**numbers, f"values of {evidence.target}": evidence.values}.items():
        if not np.isfinite(values).all():
            raise BoxcamError(
                f"{evidence.query.image or 'an image'}: the model's {what} hold NaN or infinite values, so its result"
                " is not written. Check the model on this image."
            )


def share_inside(values: Float, box: Float) -> float | None:
    """The share of a map's positive energy that lies inside a box; None for a map without any.

    Args:
        values: float32 [H, W].
        box: x1 y1 x2 y2 in pixels of the map; every pixel that it touches counts.
    """
    positive = np.maximum(values, 0)
    total = float(positive.sum(dtype=np.float64))
    if total == 0:
        return None
    x1, y1 = (int(np.floor(v)) for v in box[:2])
    x2, y2 = (int(np.ceil(v)) for v in box[2:])
    return round(float(positive[y1:y2, x1:x2].sum(dtype=np.float64)) / total, 6)
