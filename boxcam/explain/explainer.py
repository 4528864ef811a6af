"""Detections + gradients + a method → an explanation."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from boxcam.arguments import check_callable
from boxcam.errors import BoxcamWarning, EngineError, UnknownLayerError, UnknownNameError
from boxcam.explain.advice import on_empty_maps
from boxcam.explain.asked import at_place, candidates_at
from boxcam.explain.candidate import Candidate
from boxcam.explain.channels import channel_parts, count_channels
from boxcam.explain.contrast import difference, rivals_of
from boxcam.explain.counter import Counter
from boxcam.explain.evidence import DETECTION, NO_ENGINE, Color, Part, Parts, Query
from boxcam.explain.explanation import Explanation
from boxcam.explain.feature_runs import count_parts, masked_feature_parts
from boxcam.explain.features import on_negative_features
from boxcam.explain.maps import maps_of
from boxcam.explain.methods import METHODS, AnyMethod, ChannelMasks, FeatureMasks, Method, Perturbation, Search
from boxcam.explain.noise import noise_of, noisy_parts
from boxcam.explain.options import Options
from boxcam.explain.path import completeness, forward_passes, path_parts
from boxcam.explain.perturbation import draws_of, look, masked_parts
from boxcam.explain.plan import Plan, View
from boxcam.explain.rivals import contrasted
from boxcam.explain.search import search_parts, trials_of
from boxcam.explain.selection import Selection, select
from boxcam.runtime.engines import ENGINES
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.pixels import load_image, order_of
from boxcam.runtime.planes import picture_of, words_of
from boxcam.types import IMAGE, Float, Image, Patch

_WAITING = 1 << 26
"""Bytes of gradients that are kept to be made into maps together."""


def explain(
    model: Model,
    image: Any,
    options: Options,
    *,
    color: Color = "BGR",
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explain the boxes that a model draws on an image: `boxcam.explain`, of a model that is loaded."""
    check_callable("progress", progress)
    selection = select(model, options)
    plan = Plan(model, options)
    channels = model.manifest.preprocess.channels
    pixels = load_image(image, color, channels)
    explanation = explained(plan, selection, pixels, query_of(plan, selection, image, color), progress)
    told = explanation.completeness is not None or options.against is not None  # of one class alone can it be told
    if plan.is_path and len(plan.views) == 1 and not told:
        warnings.warn(
            f"how complete the maps are cannot be told: bundle {model.path} was exported by an earlier boxcam. Export"
            " the model again.",
            BoxcamWarning,
            stacklevel=3,
        )
    if advice := on_empty_maps(explanation):
        warnings.warn(advice, BoxcamWarning, stacklevel=3)
    return explanation


def explained(
    plan: Plan,
    selection: Selection,
    pixels: Image,
    query: Query,
    progress: Callable[[int, int], None] | None = None,
    prediction: Prediction | None = None,
) -> Explanation:
    """The explanation that is planned.

    Args:
        plan, selection: what is computed, of which boxes.
        pixels: the image, as `boxcam.runtime.model.Model.predict` takes it.
        query: what was asked for, see `query_of`.
        progress: as for `boxcam.explain`.
        prediction: the forward pass of this image for this plan and others, see `predict`; it is made if it is not
            given. Methods of random masks make passes of their own.
    """
    report = progress or (lambda done, total: None)
    if isinstance(plan.chosen, Perturbation):
        return _behind_masks(plan, plan.chosen, selection, pixels, query, report)
    return _at_layers(plan, selection, pixels, query, report, prediction or predict([plan], pixels))


def predict(plans: Sequence[Plan], pixels: Image) -> Prediction:
    """One forward pass with all that some plans need of it; they are of one model and engine."""
    views = [view for plan in plans for view in plan.views]
    layers = list({view.layer.name: view.layer for view in views}.values())
    return plans[0].model.predict(
        pixels,
        layers,
        plans[0].options.engine,
        list(dict.fromkeys(view.target for view in views)),
        extra=plans[0].model.selection.names if any(plan.options.at is not None for plan in plans) else (),
        ends=any(plan.ends for plan in plans),
        rest=any(plan.rest for plan in plans),
    )


def _at_layers(
    plan: Plan,
    selection: Selection,
    pixels: Image,
    query: Query,
    report: Callable[[int, int], None],
    prediction: Prediction,
) -> Explanation:
    """The explanation by a method that looks at layers."""
    model, options, views = plan.model, plan.options, plan.views
    layers = [view.layer for view in views]
    asked = at_place(plan, selection, prediction) if options.at is not None else None
    if asked is not None:
        prediction = asked.prediction
    found = prediction.detections
    boxes = list(range(len(found))) if asked is not None else selection.of(found)
    rival = None
    if options.against is not None and boxes:
        rival, others = rivals_of(model, (pixels, prediction), boxes, plan.against)
    counter = _counter(plan, prediction, len(boxes), report)
    steps = max(view.path for view in views)
    passes = forward_passes(model, pixels, prediction, layers, options, steps) if steps and boxes else []
    made = [_made(plan, view, pixels, prediction, passes, boxes, counter) for view in views]
    if rival is not None:
        theirs = _made(plan, views[0], pixels, rival, [*passes[:-1], rival], range(len(boxes)), counter)
        made = [difference(made[0], theirs)]
    alone = steps > 0 and len(views) == 1 and rival is None  # only of one layer can it be told how complete a map is
    guided = plan.is_product
    explanation = Explanation(
        image=picture_of(pixels),
        detections=found.select(boxes),
        method=plan.method,
        layer=", ".join(dict.fromkeys(view.layer.name for view in (views[:1] if guided else views))),
        engine=plan.gradient(views[0]).engine,
        target=model.manifest.target(views[0].target).name,
        values=_values(plan, prediction, rival, boxes),
        parts=made[0],
        guides=made[1] if guided else None,
        fused=() if guided else tuple(made[1:]),
        fusion=options.fusion,
        other_boxes=len(found) - len(boxes),
        left_out=selection.left_out(found) if asked is None else None,
        completeness=completeness(model, options, passes, boxes, made[0]) if alone else None,
        query=query,
        candidates=() if asked is None else asked.candidates,
        others=() if rival is None else others,
    )
    if advice := on_negative_features(plan.method, views, made, prediction):
        warnings.warn(advice, BoxcamWarning, stacklevel=5)
    return (
        _searched(plan, plan.chosen, pixels, explanation, counter) if isinstance(plan.chosen, Search) else explanation
    )


def _values(plan: Plan, prediction: Prediction, rival: Prediction | None, boxes: Sequence[int]) -> Float:
    """The number of each box that is explained: that of its target, or its class logit less that of another class."""
    own: Float = plan.model.values(prediction, plan.views[0].target)[boxes]
    return own if rival is None else own - rival.detections.logits


def _counter(plan: Plan, prediction: Prediction, boxes: int, report: Callable[[int, int], None]) -> Counter:
    """Counts what the method's progress is counted in."""
    chosen, options = plan.chosen, plan.options
    if isinstance(chosen, Search):
        return Counter(report, boxes * trials_of(chosen, options).passes)
    if isinstance(chosen, ChannelMasks):
        return Counter(report, sum(count_channels(view.layer) for view in plan.views))
    if isinstance(chosen, FeatureMasks):
        return Counter(report, boxes * sum(count_parts(chosen, view.layer, prediction) for view in plan.views))
    if isinstance(chosen, Method) and chosen.samples:
        return Counter(report, noise_of(chosen, options).samples)
    return Counter(report, boxes, each=len(plan.views) if options.against is None else 2)


def _made(
    plan: Plan,
    view: View,
    pixels: Image,
    prediction: Prediction,
    passes: Sequence[Prediction],
    boxes: Sequence[int],
    counter: Counter,
) -> Parts:
    """Of each box, its maps by the tensors of a layer, by whichever way the method goes."""
    model, options, layer, method = plan.model, plan.options, view.layer, view.method
    if isinstance(method, ChannelMasks):
        return channel_parts(model, method, layer, options, pixels, prediction, boxes, counter.add)
    if isinstance(method, FeatureMasks):
        return masked_feature_parts(model, method, layer, options, prediction, boxes, counter.add)
    if method.samples:
        return noisy_parts(model, method, layer, options, pixels, prediction, boxes, counter.add)
    done = counter.ignore if isinstance(plan.chosen, Search) else counter.add
    if method.path:
        return path_parts(model, method, layer, options, passes, boxes, done)
    return parts_of(plan, view, pixels, prediction, boxes, done)


def _searched(plan: Plan, method: Search, pixels: Image, guide: Explanation, counter: Counter) -> Explanation:
    """The explanation by a search, which another method's explanation guides."""
    trials = trials_of(method, plan.options)
    parts = search_parts(plan.model, method, pixels, guide, trials, counter.add)
    return replace(
        guide, target=DETECTION, values=guide.detections.scores, parts=parts, fused=(), fusion="max", completeness=None
    )


def _behind_masks(
    plan: Plan,
    method: Perturbation,
    selection: Selection,
    pixels: Image,
    query: Query,
    report: Callable[[int, int], None],
) -> Explanation:
    """The explanation by a method of random masks."""
    model, draws = plan.model, draws_of(method, plan.options)
    looked = look(model, pixels)
    found = looked[0].detections
    boxes = selection.of(found)
    chosen = found.select(boxes)
    return Explanation(
        image=picture_of(pixels),
        detections=chosen,
        method=plan.method,
        layer=IMAGE,
        engine=NO_ENGINE,
        target=DETECTION,
        values=chosen.scores,
        parts=masked_parts(model, method, looked, boxes, draws, report) if boxes else (),
        guides=None,
        other_boxes=len(found) - len(boxes),
        left_out=selection.left_out(found),
        query=query,
    )


def query_of(plan: Plan, selection: Selection, image: Any, color: Color) -> Query:
    """What was asked for, of which picture and model."""
    model, options, chosen = plan.model, plan.options, plan.chosen
    return Query(
        bundle=model.path.name,
        classifier=model.manifest.outputs.whole_image,
        device=model.device,
        providers=model.providers,
        image=os.fspath(image) if isinstance(image, str | os.PathLike) else None,
        color=order_of(image, color),
        score=selection.score,
        top=selection.top,
        classes=options.named_classes,
        rank=selection.rank or (),
        at=None if options.at is None else options.place,
        against="" if options.against is None else str(options.against),
        signed=plan.is_signed,
        drawn=words_of(model.manifest.preprocess.channels),
        **_drawn(chosen, options),
    )


def _drawn(chosen: AnyMethod, options: Options) -> dict[str, Any]:
    """How often the model was run again, and what was drawn for that."""
    if isinstance(chosen, Perturbation):
        draws = draws_of(chosen, options)
        return {"masks": draws.count, "seed": draws.seed}
    if isinstance(chosen, Search):
        trials = trials_of(chosen, options)
        return {"passes": trials.passes, "seed": trials.seed}
    if isinstance(chosen, Method) and chosen.samples:
        noise = noise_of(chosen, options)
        return {"samples": noise.samples, "noise": noise.share, "seed": noise.seed}
    return {}


def prepare(model: Model, options: Options) -> None:
    """Check the options of `explain` and open what they need, so that what is missing is said before any picture."""
    Plan(model, options).open()
    select(model, options)


def candidates(model: Model, pixels: Image, options: Options) -> tuple[Candidate, ...]:
    """The best candidates at a place, and why they were not reported: `boxcam.Model.candidates`.

    Args:
        model: a detector.
        pixels: the image, as `Model.predict` takes it.
        options: the place, classes and lowest score.
    """
    plan, selection = Plan(model, options), select(model, options)
    prediction = model.predict(pixels, extra=model.selection.names)
    return candidates_at(plan.model, prediction, options.place, selection.classes, selection.score)


def usable_methods(model: Model) -> tuple[str, ...]:
    """The methods that a bundle has layers and gradients for, by whichever engine."""

    def usable(method: str, engine: str) -> bool:
        try:
            Plan(model, Options(method=method, engine=engine))
        except (UnknownNameError, UnknownLayerError, EngineError):
            return False
        return True

    return tuple(method for method in METHODS if any(usable(method, engine) for engine in ("auto", *ENGINES)))


def parts_of(
    plan: Plan,
    view: View,
    pixels: Image,
    prediction: Prediction,
    boxes: Sequence[int],
    progress: Callable[[], None],
    of: Prediction | None = None,
) -> tuple[tuple[Part, ...], ...]:
    """Of each box, its maps by the tensors of a layer.

    Args:
        plan, view: what is computed.
        pixels: the image, as `Model.predict` takes it.
        prediction: its forward pass.
        boxes: indices into its detections, or into those of another pass.
        progress: called for each box that is done.
        of: this other pass, see `Model.patches`; not for a method that compares classes.
    """
    model, options, layer, method = plan.model, plan.options, view.layer, view.method
    assert isinstance(method, Method)
    if method.rivals:
        patches = contrasted(model, (method, layer), options, (pixels, prediction), boxes)
    else:
        patches = model.patches(
            prediction, layer, boxes, options.engine, target=view.target, rules=method.rules, means=method.means, of=of
        )
    made: list[list[Part]] = [[] for _ in boxes]
    waiting: list[tuple[int, Patch]] = []
    for number, mine in enumerate(patches):
        waiting += [(number, patch) for patch in mine]
        if number + 1 == len(boxes) or sum(_bytes(patch) for _, patch in waiting) > _WAITING:
            maps = maps_of(
                method, [patch for _, patch in waiting], lambda one: model.activation(prediction, layer, one)
            )
            for (box, patch), cells in zip(waiting, maps, strict=True):
                grid = model.grid(prediction, layer, patch)
                made[box].append(Part(layer.tensors[patch.tensor].name, cells, grid))
            waiting.clear()
        progress()
    return tuple(map(tuple, made))


def _bytes(patch: Patch) -> int:
    return patch.gradient.nbytes + (0 if patch.uniform is None else patch.uniform.nbytes)
