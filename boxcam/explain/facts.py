"""The facts of an explanation, for machines: what JSON can hold, as ``facts.schema.json`` describes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from boxcam._version import __version__
from boxcam.errors import BoxcamError
from boxcam.explain.candidate import NUMBERS, Candidate
from boxcam.explain.evidence import Evidence
from boxcam.explain.rounding import is_rounding
from boxcam.explain.totals import Totals


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
        "at": None if query.at is None else list(query.at),
        "against": query.against or None,
        "device": query.device,
        "providers": list(query.providers),
        **(files or {}),
        "other_boxes": evidence.other_boxes if query.at is None else None,
        "detections": [dict(box) for box in boxes],
    }


def box_facts(evidence: Evidence, k: int, said: Totals) -> dict[str, Any]:
    """The facts of one box.

    Args:
        evidence: the explanation.
        k: which box.
        said: of its map.
    """
    complete = math.nan if evidence.completeness is None else float(evidence.completeness[k])
    detections, peak = evidence.detections, said.peak
    told = evidence.candidates[k] if evidence.candidates else None
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
        "rounding": is_rounding(evidence, k, said),
        "share_inside_box": None if evidence.query.classifier else said.inside,
        "completeness": round(complete, 6) if math.isfinite(complete) else None,
        "against": evidence.others[k] if evidence.others else None,
        "candidate": None if told is None else _candidate_facts(told),
    }


def _candidate_facts(told: Candidate) -> dict[str, Any]:
    """Why a box was not reported."""
    figures = {name: int(value) if name in NUMBERS else round(float(value), 6) for name, value in told.figures.items()}
    return {"reason": told.reason, "why": told.why, "iou": round(told.iou, 6), "figures": figures}


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
