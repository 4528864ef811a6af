"""What has to be computed for an explanation, and what cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from boxcam.bundle import Gradient, Layer
from boxcam.errors import ArgumentError, EngineError, UnknownLayerError, UnknownNameError
from boxcam.explain.advice import CELL_BY_CELL
from boxcam.explain.defaults import default_of
from boxcam.explain.methods import METHODS, AnyMethod, ChannelMasks, FeatureMasks, Method, Perturbation, Search
from boxcam.explain.options import Options
from boxcam.explain.perturbation import draws_of
from boxcam.explain.selection import class_against, class_indices
from boxcam.runtime.model import Model
from boxcam.targets import LOGIT
from boxcam.types import IMAGE


@dataclass(frozen=True, eq=False)
class View:
    """A method at a layer, of a target: None for the bundle's first one."""

    method: Method | ChannelMasks | FeatureMasks
    layer: Layer
    target: str | None

    @property
    def path(self) -> int:
        """How many steps the method's path has; 0 without one."""
        return self.method.path if isinstance(self.method, Method) else 0


class Plan:
    """What has to be computed for an explanation.

    Attributes:
        method: its name: the one that was asked for, or the model's default.
        chosen: the method itself.
        views: the method at each of its layers, of each of its targets; for a method that multiplies the map of
            another one, this one comes first; for a search, those of the method that guides it. None for a method of
            random masks, which looks at no layer.

    Raises:
        UnknownLayerError, UnknownNameError, EngineError, ArgumentError: as for `explain`.
    """

    def __init__(self, model: Model, options: Options) -> None:
        by_default = default_of(model.manifest, options.layers).method
        if options.against is not None and not _is_signed(METHODS[by_default]):
            by_default = CELL_BY_CELL.method  # two classes are compared by what can be subtracted
        self.method = by_default if options.method is None else options.method
        asks = options.at is not None or options.against is not None
        logit = LOGIT.name if asks and any(of.name == LOGIT.name for of in model.manifest.targets) else None
        self.model = model
        self.options = options = replace(options, method=self.method, target=options.target or logit)
        self.chosen: AnyMethod = METHODS[self.method]
        self.views: list[View] = []
        self._check_options()
        self._check_question()
        chosen, layers = self.chosen, options.layers or (None,)
        if isinstance(chosen, Perturbation):
            draws_of(chosen, self.options)
            return
        if isinstance(chosen, Search):
            if options.target is not None:
                raise ArgumentError(
                    f"the method {self.method!r} explains whole boxes by hiding parts of the image: it has no"
                    f" target. Leave out target={options.target!r}, or pass another method=."
                )
            guide = METHODS[chosen.guide]
            assert isinstance(guide, Method)
            chosen = guide
        if isinstance(chosen, ChannelMasks):
            self.views = [View(chosen, self._map_layer(layer), options.target) for layer in layers]
        elif isinstance(chosen, FeatureMasks):
            self.views = [View(chosen, self._head_layer(layer), options.target) for layer in layers]
        else:
            self.views = self._of_gradients(chosen, layers)
        for view in self.views:
            self.gradient(view)
        self._check_places()
        self._check_contrast()
        if options.fuse is not None and (len(self.views) == 1 or chosen.times is not None):
            raise ArgumentError(
                f"fuse={options.fuse!r} is how several maps of a box become one, and there is one only. Pass several"
                " layer=, or leave it out."
            )

    def _check_options(self) -> None:
        """Refuse options that are for other methods.

        Raises:
            ArgumentError: one is given.
        """
        for name in ("masks", "passes", "samples", "noise", "seed"):
            given = getattr(self.options, name)
            if given is not None and name not in self.chosen.takes:
                others = ", ".join(one for one, of in METHODS.loaded().items() if name in of.takes)
                raise ArgumentError(
                    f"the method {self.method!r} has no {name}, so {name}={given} means nothing. Leave it out,"
                    f" or pass another method= ({others})."
                )

    def _check_places(self) -> None:
        """Refuse a method that reads a box's number in other images where other boxes may stand in its place.

        An integral along a path is not refused: its completeness tells.

        Raises:
            EngineError: the model chooses boxes before that number.
        """
        if not self._reads_elsewhere or self.model.manifest.outputs.whole_image:
            return
        if operator := self.model.selecting_operator(self.options.target):
            raise EngineError(
                f"bundle {self.model.path} chooses its boxes in the middle of the model ({operator}), so that in other"
                f" images its logits are of other boxes, and the method {self.method!r} asks for the same ones. Choose"
                ' a method of one forward pass, such as method="hirescam", or one of whole boxes, method="d-rise".'
            )

    def _check_question(self) -> None:
        """Refuse methods and targets that cannot tell of candidates, or of two classes, and classes that are not there.

        Raises:
            ArgumentError, UnknownNameError, EngineError: of what cannot be.
        """
        options, model = self.options, self.model
        if options.at is None and options.against is None:
            return
        given = "at" if options.at is not None else "against"
        if model.manifest.target(options.target).name != LOGIT.name:
            raise ArgumentError(
                f"{given}= is about class logits, and target={model.manifest.target(options.target).name!r} is another"
                " number. Leave out target=."
            )
        if not isinstance(self.chosen, Method):
            raise ArgumentError(
                f"the method {self.method!r} runs the model again, and {given}= needs one of gradients. Pass another"
                f' method=, such as "hirescam".'
            )
        if self.chosen.targets:
            raise ArgumentError(
                f"the method {self.method!r} is of {', '.join(self.chosen.targets)} together, and {given}= is about"
                ' class logits. Pass another method=, such as "hirescam".'
            )
        if options.at is not None:
            if model.manifest.outputs.whole_image:
                raise ArgumentError(
                    "at= asks for a missed box, and a classifier's only box is the whole image. Pass classes= to"
                    " explain any class."
                )
            if options.rank is not None:
                raise ArgumentError(
                    "at= asks for a box at a place, and rank= for one by its score. Leave one of them out."
                )
            if options.top is not None:
                raise ArgumentError("at= asks for one box of each class, so top= means nothing. Leave it out.")
            _ = model.selection
        if options.against is not None and len(model.manifest.labels) == 1:
            raise ArgumentError("the model has one class only, so there is none to compare with. Leave out against=.")
        classes = class_indices(model, options.classes)
        if self.against is not None and classes is not None and set(classes) == {self.against}:
            raise ArgumentError(
                f"against={options.against!r} is the boxes' own class, so there is no contrast. Pass another class, or"
                ' "runner-up" for the one that comes next.'
            )

    def _check_contrast(self) -> None:
        """Refuse maps that cannot be subtracted where two classes are compared.

        Raises:
            ArgumentError: they cannot be.
        """
        if self.options.against is None:
            return
        assert isinstance(self.chosen, Method)
        if not self.chosen.signed or len(self.views) > 1:
            fitting = [name for name, of in METHODS.loaded().items() if _is_signed(of)]
            why = "of several layers" if self.chosen.signed else f"by the method {self.method!r}"
            raise ArgumentError(
                f"maps {why} cannot be subtracted, so they show no contrast between classes. Pass one layer=, and one"
                f" of the methods {', '.join(fitting)}."
            )

    @property
    def against(self) -> int | None:
        """The class that others are contrasted with; None for each box's runner-up, or without contrast."""
        return class_against(self.model, self.options)

    @property
    def is_signed(self) -> bool:
        """Whether what speaks against a box is to be seen, and the method tells it."""
        asked = self.options.at is not None or self.options.against is not None
        return asked and _is_signed(self.chosen) and len(self.views) == 1

    @property
    def _reads_elsewhere(self) -> bool:
        """Whether the numbers of boxes are read in changed images, as if they were of the same boxes there."""
        methods = [view.method for view in self.views]
        return any(isinstance(of, ChannelMasks) or (isinstance(of, Method) and of.samples > 0) for of in methods)

    def _of_gradients(self, chosen: Method, layers: Sequence[str | None]) -> list[View]:
        """A method of gradients at each of its layers, of each of its targets."""
        model, options = self.model, self.options
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
        counted = bool(model.manifest.labels) or model.manifest.candidates is not None
        if chosen.rivals and not counted and not model.manifest.outputs.whole_image:
            raise UnknownNameError(
                f"the method {self.method!r} compares classes, and bundle {model.path} has no class names, which tell"
                " how many there are. Export the model again with class_names=, or choose another method, such as"
                ' method="hirescam".'
            )
        if chosen.rivals and len(model.manifest.labels) == 1:
            raise UnknownNameError(
                f"the method {self.method!r} compares classes, and bundle {model.path} has one only. Choose another"
                ' method, such as method="hirescam".'
            )
        if chosen.rivals and options.target not in (None, LOGIT.name):
            raise ArgumentError(
                f"the method {self.method!r} compares the logits of classes. Leave out target={options.target!r}, or"
                " pass another method=."
            )
        return [view for layer in layers for view in self._views(chosen, layer)]

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
                f"the method {method!r} is one of pixels: it is for the layer 'image', not {layer!r}. Pass"
                ' layer="image", or another method=.'
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

    def _map_layer(self, name: str | None) -> Layer:
        """A layer of feature maps of the whole image; the bundle's first one by default.

        Raises:
            UnknownNameError: it is another one.
        """
        fitting = [one.name for one in self.model.manifest.layers if one.kind == "map" and one.name != IMAGE]
        if name is None and fitting:
            name = fitting[0]
        layer = None if name == IMAGE else self.model.layer(name)
        if layer is None or layer.name not in fitting:
            raise UnknownNameError(
                f"the method {self.method!r} hides the image behind feature maps of all of it, and layer"
                f" {(name if layer is None else layer.name)!r} is none. Choose another layer"
                f" ({', '.join(fitting) or 'there is none'}), or another method."
            )
        return layer

    def _head_layer(self, name: str | None) -> Layer:
        """A layer after which the rest of the model can be run again; the bundle's first one by default.

        Raises:
            UnknownLayerError, UnknownNameError, EngineError: it is another one, or there is none.
        """
        model, ends = self.model, [end.name for end in self.model.manifest.target(self.options.target).ends]
        fitting = [one.name for one in model.manifest.layers if any(one.head(end) for end in ends)]
        layer = None if name == IMAGE else model.layer(fitting[0] if name is None and fitting else name)
        if layer is not None and layer.name in fitting:
            return layer
        if layer is None or layer.name == IMAGE:
            why = f"is one of feature maps, and layer {IMAGE!r} is the image"
        else:
            why = f"runs the model again from layer {layer.name!r} on"
            chosen = model.selecting_operator(self.options.target, layer)
            if chosen is not None:
                why += f", and the model chooses its boxes after it ({chosen}), so that they would be others"
            elif fitting:
                why += ", which cannot be done: what comes after it has branches, reads the image too, or gives other"
                why += " numbers by itself"
            else:
                why += f", and bundle {model.path} has no graph for that"
        if fitting:
            raise UnknownNameError(
                f"the method {self.method!r} {why}. Choose another layer ({', '.join(fitting)}), or another method."
            )
        raise EngineError(
            f"the method {self.method!r} {why}. If an earlier boxcam exported the bundle, export the model again;"
            ' otherwise choose another method, such as method="hirescam".'
        )

    @property
    def is_path(self) -> bool:
        """Whether what is asked for is an integral along a path."""
        return isinstance(self.chosen, Method) and self.chosen.path > 0

    @property
    def is_of_logits(self) -> bool:
        """Whether maps are of gradients of one number of a box, which another model with these layers has, too."""
        methods = [self.chosen, *(view.method for view in self.views)]
        return all(isinstance(of, Method) and not (of.samples or of.rivals or of.targets) for of in methods)

    @property
    def is_product(self) -> bool:
        """Whether the maps of the first two views are multiplied."""
        return self.chosen.times is not None

    @property
    def ends(self) -> bool:
        """Whether a forward pass has to give the tensors that the targets are in."""
        methods = [view.method for view in self.views]
        of_gradients = [of for of in methods if isinstance(of, Method)]
        contrast = self.options.at is not None or self.options.against is not None
        several = any(of.path or of.rivals for of in of_gradients)
        return contrast or several or any(isinstance(of, ChannelMasks) for of in methods)

    @property
    def rest(self) -> bool:
        """Whether the rest of the model after the layers is run again."""
        return isinstance(self.chosen, FeatureMasks)

    def gradient(self, view: View) -> Gradient:
        """The gradient that a view needs."""
        return self.model.gradient(view.layer, self.options.engine, view.target, view.method.rules)

    def open(self) -> None:
        """Open all engines, so that what is missing is said before any picture is read."""
        for view in self.views:
            self.model.engine(self.gradient(view), means=view.method.means)
            if self.rest:
                for end in self.model.manifest.target(view.target).ends:
                    self.model.head(view.layer, end.name)

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


def _is_signed(method: AnyMethod) -> bool:
    """Whether what is negative in its maps speaks against a box, and two of them can be subtracted."""
    return isinstance(method, Method) and method.signed
