"""Detections + gradients + a method → an explanation."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from boxcam.arguments import check_callable
from boxcam.bundle import Gradient, Layer
from boxcam.errors import ArgumentError, BoxcamWarning, EngineError, UnknownLayerError, UnknownNameError
from boxcam.explain.advice import on_empty_maps
from boxcam.explain.defaults import default_of
from boxcam.explain.evidence import DETECTION, NO_ENGINE, Color, Part, Query
from boxcam.explain.explanation import Explanation
from boxcam.explain.maps import maps_of
from boxcam.explain.methods import METHODS, Method, Perturbation
from boxcam.explain.options import Options
from boxcam.explain.path import completeness, forward_passes, path_parts
from boxcam.explain.perturbation import Draws, draws_of, look, masked_parts
from boxcam.explain.selection import Selection, select
from boxcam.runtime.engines import ENGINES
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.pixels import load_image, order_of
from boxcam.runtime.planes import picture_of, words_of
from boxcam.types import IMAGE, Image, Patch

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
    options, method = plan.options, plan.method
    channels = model.manifest.preprocess.channels
    pixels = load_image(image, color, channels)
    query = _query(model, options, selection, image, color)
    if plan.masking is not None:
        return _behind_masks(plan, plan.masking, selection, pixels, query, progress)
    layers, targets = [view.layer for view in plan.views], [view.target for view in plan.views]
    steps_of_path = max(view.method.path for view in plan.views)
    prediction = model.predict(pixels, layers, options.engine, targets, ends=steps_of_path > 0)
    found = prediction.detections
    boxes = selection.of(found)
    steps = itertools.count(1)

    def one_done() -> None:
        if progress is not None:
            progress(next(steps) // len(plan.views), len(boxes))

    if progress is not None:
        progress(0, len(boxes))
    passes = forward_passes(model, pixels, prediction, layers, options, steps_of_path) if steps_of_path else []
    made = [
        path_parts(model, view.method, view.layer, options, passes, boxes, one_done)
        if view.method.path
        else parts_of(plan, view, prediction, boxes, one_done)
        for view in plan.views
    ]
    alone = bool(passes) and len(plan.views) == 1  # only of one layer can it be told how complete a map is
    guided = plan.views[-1].method.times is not None
    explanation = Explanation(
        image=picture_of(pixels),
        detections=found.select(boxes),
        method=method,
        layer=", ".join(dict.fromkeys(view.layer.name for view in (plan.views[:1] if guided else plan.views))),
        engine=plan.gradient(plan.views[0]).engine,
        target=model.manifest.target(plan.views[0].target).name,
        values=model.values(prediction, plan.views[0].target)[boxes],
        parts=made[0],
        guides=made[1] if guided else None,
        fused=() if guided else tuple(made[1:]),
        fusion=options.fusion,
        other_boxes=len(found) - len(boxes),
        left_out=selection.left_out(found),
        completeness=completeness(model, options, passes, boxes, made[0]) if alone else None,
        query=query,
    )
    if alone and explanation.completeness is None:
        warnings.warn(
            f"how complete the maps are cannot be told: bundle {model.path} was exported by an earlier boxcam. Export"
            " the model again.",
            BoxcamWarning,
            stacklevel=3,
        )
    if advice := on_empty_maps(explanation):
        warnings.warn(advice, BoxcamWarning, stacklevel=3)
    return explanation


def _behind_masks(
    plan: Plan,
    draws: Draws,
    selection: Selection,
    pixels: Image,
    query: Query,
    progress: Callable[[int, int], None] | None,
) -> Explanation:
    """The explanation by a method of masks."""
    model, method = plan.model, METHODS[plan.method]
    assert isinstance(method, Perturbation)
    looked = look(model, pixels)
    found = looked[0].detections
    boxes = selection.of(found)

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress(done, total)

    chosen = found.select(boxes)
    explanation = Explanation(
        image=picture_of(pixels),
        detections=chosen,
        method=plan.method,
        layer=IMAGE,
        engine=NO_ENGINE,
        target=DETECTION,
        values=chosen.scores,
        parts=masked_parts(model, method, looked, boxes, draws, count) if boxes else (),
        guides=None,
        other_boxes=len(found) - len(boxes),
        left_out=selection.left_out(found),
        query=replace(query, masks=draws.count, seed=draws.seed),
    )
    if advice := on_empty_maps(explanation):
        warnings.warn(advice, BoxcamWarning, stacklevel=4)
    return explanation


def _query(model: Model, options: Options, selection: Selection, image: Any, color: Color) -> Query:
    """What was asked for, of which picture and model."""
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
        drawn=words_of(model.manifest.preprocess.channels),
    )


def prepare(model: Model, options: Options) -> None:
    """Check the options of `explain` and open what they need, so that what is missing is said before any picture."""
    Plan(model, options).open()
    select(model, options)


def usable_methods(model: Model) -> tuple[str, ...]:
    """The methods that a bundle has layers and gradients for, by whichever engine."""

    def usable(method: str, engine: str) -> bool:
        try:
            Plan(model, Options(method=method, engine=engine))
        except (UnknownNameError, UnknownLayerError, EngineError):
            return False
        return True

    return tuple(method for method in METHODS if any(usable(method, engine) for engine in ("auto", *ENGINES)))


@dataclass(frozen=True, eq=False)
class View:
    """A method at a layer, of a target: None for the bundle's first one."""

    method: Method
    layer: Layer
    target: str | None


class Plan:
    """What has to be computed for an explanation.

    Attributes:
        method: its name: the one that was asked for, or the model's default.
        views: the method at each of its layers, of each of its targets; for a method that multiplies the map of
            another one, this one comes first. None for a method of masks, which looks at no layer.
        masking: the masks of such a method; None for others.

    Raises:
        UnknownLayerError, UnknownNameError, EngineError, ArgumentError: as for `explain`.
    """

    def __init__(self, model: Model, options: Options) -> None:
        by_default = default_of(model.manifest, options.layers).method
        self.method = by_default if options.method is None else options.method
        self.model, self.options = model, replace(options, method=self.method)
        chosen, layers = METHODS[self.method], options.layers or (None,)
        self.views: list[View] = []
        self.masking: Draws | None = None
        if isinstance(chosen, Perturbation):
            self.masking = draws_of(chosen, self.options)
            return
        for name in ("masks", "seed"):
            if (given := getattr(options, name)) is not None:
                others = [one for one in METHODS if isinstance(METHODS[one], Perturbation)]
                raise ArgumentError(
                    f"the method {self.method!r} draws nothing at random, so {name}={given} means nothing. Leave it"
                    f" out, or pass another method= ({', '.join(others)})."
                )
        if chosen.times is not None and len(layers) > 1:
            raise ArgumentError(
                f"the method {self.method!r} multiplies the maps of two layers already. Pass one layer= only."
            )
        if chosen.targets and options.target is not None:
            raise ArgumentError(
                f"the method {self.method!r} is of {', '.join(chosen.targets)} together. Leave out"
                f" target={options.target!r}, or pass another method=."
            )
        there = {target.name for target in model.manifest.targets}
        missing = [name for name in chosen.targets if name not in there]
        if missing and not model.manifest.outputs.whole_image:
            raise UnknownNameError(
                f"the method {self.method!r} needs the targets {', '.join(missing)}, which bundle {model.path}"
                " lacks."
                ' Export the model again with targets=["all"], in addition to the options you used before.'
            )
        self.views = [view for layer in layers for view in self._views(chosen, layer)]
        for view in self.views:
            self.gradient(view)
        if options.fuse != "max" and (len(self.views) == 1 or chosen.times is not None):
            raise ArgumentError(
                f"fuse={options.fuse!r} is how several maps of a box become one, and there is one only. Pass several"
                " layer=, or leave it out."
            )

    def _views(self, chosen: Method, layer: str | None) -> list[View]:
        """The method at a layer, of each of its targets; before it, the method whose map multiplies its own."""
        model, method, target = self.model, self.method, self.options.target
        maps = next((name for name in model.layers if name != IMAGE), None) if layer is None else layer
        if maps in (None, IMAGE) and (chosen.features or chosen.times is not None):
            others = [name for name in model.layers if name not in (IMAGE, *(self.options.layers or ()))]
            choose = f"Choose another layer ({', '.join(others)}), or pass"
            if len(self.options.layers or ()) > 1:
                choose = f"Leave out layer {IMAGE!r}, or pass"
            elif not others:
                choose = "There is no other layer: pass"
            raise UnknownNameError(
                f"the method {method!r} is one of feature maps, and the channels of the image are its colours. {choose}"
                ' method="hirescam", which is for both, or method="saliency".'
            )
        if chosen.image and chosen.times is None and layer not in (None, IMAGE):
            raise UnknownNameError(
                f"the method {method!r} is one of pixels: it is for the layer 'image', not {layer!r}."
            )
        at = self._layer(method, IMAGE if chosen.image else maps or IMAGE)
        if chosen.path and at.kind == "roi":
            others = [one.name for one in model.manifest.layers if one.kind != "roi"]
            raise UnknownNameError(
                f"the method {method!r} follows a box through blends of the image, and the proposals of layer"
                f" {at.name!r} are others in each. Choose another layer ({', '.join(others) or 'there is none'}), or"
                " another method."
            )
        views = [View(chosen, at, one) for one in chosen.targets or (target,)]
        if chosen.times is None:
            return views
        other = METHODS[chosen.times]
        assert isinstance(other, Method)
        return [View(other, self._layer(method, maps), target), *views]

    def gradient(self, view: View) -> Gradient:
        """The gradient that a view needs."""
        return self.model.gradient(view.layer, self.options.engine, view.target, view.method.rules)

    def open(self) -> None:
        """Open all engines, so that what is missing is said before any picture is read."""
        for view in self.views:
            self.model.engine(self.gradient(view), means=view.method.means)

    def _layer(self, method: str, name: str | None) -> Layer:
        if name == IMAGE and IMAGE not in self.model.layers:
            raise UnknownLayerError(
                IMAGE,
                self.model.layers,
                f"bundle {self.model.path}",
                advice=f"The method {method!r} needs it: export the model again with layers=image in addition to the"
                " others.",
            )
        return self.model.layer(name)


def parts_of(
    plan: Plan,
    view: View,
    prediction: Prediction,
    boxes: Sequence[int],
    progress: Callable[[], None],
    of: Prediction | None = None,
) -> tuple[tuple[Part, ...], ...]:
    """Of each box, its maps by the tensors of a layer.

    Args:
        plan, view: what is computed.
        prediction: the forward pass.
        boxes: indices into its detections, or into those of another pass.
        progress: called for each box that is done.
        of: this other pass, see `Model.patches`.
    """
    model, options, layer, method = plan.model, plan.options, view.layer, view.method
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
