"""The maps of the same numbers, by another model: one with the same layers and other weights."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.evidence import Evidence, Query
from boxcam.explain.explainer import parts_of
from boxcam.explain.methods import Method
from boxcam.explain.options import Options
from boxcam.explain.path import forward_passes, path_parts
from boxcam.explain.plan import Plan
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.planes import picture_of
from boxcam.types import Image


def explain_again(model: Model, image: Image, options: Options, of: Prediction, boxes: Sequence[int]) -> Evidence:
    """Explain the numbers that another model's boxes come from, whether or not this one draws boxes there.

    Args:
        model: it has the layers and targets of the other one.
        image: uint8 [H, W, channels], as `Model.predict` takes it.
        options: what is asked for, by a method whose `Plan.is_of_logits`.
        of: the forward pass of the other model.
        boxes: indices into its detections.

    Raises:
        RunError: the model fails on the image.
    """
    plan = Plan(model, options)
    options = plan.options
    layers, targets = [view.layer for view in plan.views], [view.target for view in plan.views]
    steps = max(view.path for view in plan.views)
    prediction = model.predict(image, layers, options.engine, targets, ends=steps > 0)
    passes = forward_passes(model, image, prediction, layers, options, steps) if steps else []
    made = [
        path_parts(model, view.method, view.layer, options, passes, boxes, _nothing, of=of)
        if isinstance(view.method, Method) and view.method.path
        else parts_of(plan, view, image, prediction, boxes, _nothing, of=of)
        for view in plan.views
    ]
    guided = plan.is_product
    found = of.detections.select(boxes)
    return Evidence(
        image=picture_of(image),
        detections=found,
        method=plan.method,
        layer=", ".join(dict.fromkeys(view.layer.name for view in plan.views)),
        engine=plan.gradient(plan.views[0]).engine,
        target=model.manifest.target(plan.views[0].target).name,
        values=found.logits,
        parts=made[0],
        guides=made[1] if guided else None,
        fused=() if guided else tuple(made[1:]),
        fusion=options.fusion,
        other_boxes=0,
        query=Query(model.path.name),
    )


def _nothing() -> None:
    """Nobody counts these boxes."""
