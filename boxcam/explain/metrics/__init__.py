"""Metrics: how good the map of a box is, as a number.

A metric is one short function of a map and of the object that it should be about; those that run the model again are
functions of a `Sample`, which shares their forward passes. Each says what was published, what its authors' code does,
and where it differs. One metric, or two that are each other's reverse, is one file and a row here.
"""

from __future__ import annotations

from boxcam.explain.metrics.compactness import compactness
from boxcam.explain.metrics.energy import energy
from boxcam.explain.metrics.faithfulness import deletion, insertion, overall
from boxcam.explain.metrics.local import local_deletion, local_insertion
from boxcam.explain.metrics.mask_iou import THRESHOLDS, mask_iou
from boxcam.explain.metrics.metric import METRICS as METRICS
from boxcam.explain.metrics.metric import Metric as Metric
from boxcam.explain.metrics.odi import odi
from boxcam.explain.metrics.pointing import pointing_game
from boxcam.explain.metrics.sample import Sample
from boxcam.explain.metrics.sparseness import sparseness
from boxcam.explain.metrics.vps import PARTS, highest_confidence, success, vps_deletion, vps_insertion

_NONE = float("nan")


def _odi_of_masks(sample: Sample) -> float:
    masks = [one.mask for one in (sample.thing, *sample.others)]
    known = [mask for mask in masks if mask is not None]
    return odi(sample.values, known[0], known[1:]) if len(known) == len(masks) else _NONE


def _mask_iou(sample: Sample, threshold: str) -> float:
    mask = sample.thing.mask
    return _NONE if mask is None else mask_iou(sample.values, mask)[_THRESHOLDS.index(threshold)]


_THRESHOLDS = tuple(map(str, THRESHOLDS))

METRICS.register("pointing")(
    Metric(lambda s, _: pointing_game(s.values, s.thing.box), "is the map highest inside the box", "higher")
)
METRICS.register("pointing-mask")(
    Metric(
        lambda s, _: _NONE if s.thing.mask is None else pointing_game(s.values, s.thing.box, s.thing.mask),
        "is the map highest on the object",
        "higher",
        "masks",
    )
)
METRICS.register("energy")(
    Metric(lambda s, _: energy(s.values, s.thing.box), "share of the evidence inside the box", "higher")
)
METRICS.register("energy-mask")(
    Metric(
        lambda s, _: _NONE if s.thing.mask is None else energy(s.values, s.thing.box, s.thing.mask),
        "share of the evidence on the object",
        "higher",
        "masks",
    )
)
METRICS.register("compactness")(
    Metric(lambda s, _: compactness(s.values, s.thing.box), "spread about the peak, in half diagonals", "lower")
)
METRICS.register("odi")(
    Metric(
        lambda s, _: odi(s.values, s.thing.box, [one.box for one in s.others]),
        "share of the evidence on objects that is on others",
        "lower",
        "objects",
    )
)
METRICS.register("odi-mask")(Metric(lambda s, _: _odi_of_masks(s), "the same, of their pixels", "lower", "masks"))
METRICS.register("mask-iou")(
    Metric(_mask_iou, "IoU of the object and the map above a share of its peak", "higher", "masks", _THRESHOLDS)
)
METRICS.register("sparseness")(
    Metric(lambda s, _: sparseness(s.values), "Gini index: how few pixels hold the evidence", "neither")
)
METRICS.register("insertion")(
    Metric(insertion, "is the box back early, as the image is shown", "higher", fills=True, passes=True)
)
METRICS.register("deletion")(
    Metric(deletion, "is the box gone early, as the image is hidden", "lower", fills=True, passes=True)
)
METRICS.register("oa")(Metric(overall, "insertion minus deletion", "higher", fills=True, passes=True))
METRICS.register("local-insertion")(
    Metric(lambda s, _: local_insertion(s), "ODAM's: an object's area, shown in black", "higher", passes=True)
)
METRICS.register("local-deletion")(
    Metric(lambda s, _: local_deletion(s), "ODAM's: an object's area, hidden by noise", "lower", passes=True)
)
METRICS.register("vps-insertion")(
    Metric(vps_insertion, "VPS's: over the revealed area", "higher", variants=PARTS, passes=True)
)
METRICS.register("vps-deletion")(
    Metric(vps_deletion, "VPS's: over the hidden area", "lower", variants=PARTS, passes=True)
)
METRICS.register("vps-highest")(
    Metric(lambda s, _: highest_confidence(s), "VPS's: highest score on the way", "higher", passes=True)
)
METRICS.register("vps-success")(
    Metric(lambda s, _: success(s), "VPS's: is that score above 0.35", "higher", passes=True)
)
