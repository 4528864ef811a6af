"""A bundle at work, as users see it: what it holds, what it finds on an image, and why."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from boxcam.bundle import MANIFEST, Manifest
from boxcam.errors import ArgumentError, BundleError
from boxcam.explain import explainer
from boxcam.explain.candidate import Candidate
from boxcam.explain.evidence import Color, Fusion
from boxcam.explain.explanation import Explanation
from boxcam.explain.options import Classes, Options
from boxcam.plurals import counted
from boxcam.runtime import model as runtime_model
from boxcam.runtime.pixels import load_image
from boxcam.types import Detections, ImageLike


class Model:
    """A detector or classifier out of a bundle: what `boxcam.load` returns.

    >>> import boxcam
    >>> model = boxcam.load("signs.boxcam")
    >>> model
    <Model signs.boxcam: 5 classes, layers neck, on cpu>
    >>> model.explain("street.jpg", top=1)[0].name
    'pedestrian crossing'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int = 0,
        device: str = "cpu",
        providers: str | Sequence[str] = (),
    ) -> None:
        """Open a bundle, as `boxcam.load` does.

        Raises:
            ArgumentError, BundleError, EngineError, UnknownNameError: as for `boxcam.load`.
        """
        if not isinstance(path, str | os.PathLike):
            raise ArgumentError(f"a bundle is given by its path, not by {_kind(path)}. Pass the bundle's folder.")
        try:
            self._runtime = runtime_model.Model(path, threads=threads, device=device, providers=providers)
        except BundleError:
            from boxcam.inspection import check_bundle

            check_bundle(path)  # says more where something else was given
            raise

    def __repr__(self) -> str:
        """One line: the bundle, and what it is for."""
        classes = counted(len(self.names), "class", "classes") if self.names else "classes without names"
        return f"<Model {self.path.name}: {classes}, layers {', '.join(self.layers)}, on {self.device}>"

    @property
    def path(self) -> Path:
        """The bundle's folder.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").path.name
        'signs.boxcam'
        """
        return self._runtime.path

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").manifest.source["kind"]
        'mmdet'
        """
        return self._runtime.manifest

    @property
    def device(self) -> str:
        """What it runs on: ``cpu`` or ``cuda``, whichever it got, or a word for the provider that was asked for.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").device
        'cpu'
        """
        return self._runtime.device

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers of ONNX Runtime that it got, the preferred one first.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").providers
        ('CPUExecutionProvider',)
        """
        return self._runtime.providers

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that can be explained; the first is the default.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").layers
        ('neck',)
        """
        return self._runtime.layers

    @property
    def runtime(self) -> runtime_model.Model:
        """Its graphs at work, for maps of one's own: the forward pass, features, and gradients of boxes.

        >>> import boxcam, cv2
        >>> runtime = boxcam.load("signs.boxcam").runtime
        >>> layer = runtime.layer("neck")
        >>> prediction = runtime.predict(cv2.imread("street.jpg"), layer)
        >>> (patch,), *others = runtime.patches(prediction, layer, [0, 1])  # of each box, one for each tensor it is of
        >>> patch.gradient.ndim  # [channels, height, width] of the window that the box's score depends on
        3
        """
        return self._runtime

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by index; empty if the bundle has none.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").names
        ('stop', 'give way', 'speed limit', 'no entry', 'pedestrian crossing')
        """
        return self.manifest.labels

    @property
    def targets(self) -> tuple[str, ...]:
        """What of a box can be explained; the first is the default.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").targets
        ('logit',)
        """
        return tuple(target.name for target in self.manifest.targets)

    def methods(self) -> tuple[str, ...]:
        """Names of the methods that the bundle has the layers and gradients for; ``boxcam.methods()`` gives all.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").methods()[:4]
        ('gradcam', 'hirescam', 'gradcam++', 'xgradcam')
        """
        return explainer.usable_methods(self._runtime)

    def detect(self, image: ImageLike, *, color: Color = "BGR") -> Detections:
        """The boxes on an image, best score first, in image pixels.

        Args:
            image: as for `boxcam.explain`.
            color: as for `boxcam.explain`.

        Raises:
            InputError: the image cannot be read.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").detect("street.jpg").names[:2]
        ('pedestrian crossing', 'no entry')
        """
        return self._runtime.detect(load_image(image, color, self.manifest.preprocess.channels))

    def explain(
        self,
        image: ImageLike,
        *,
        method: str | None = None,
        layer: str | Sequence[str] | None = None,
        fuse: Fusion | None = None,
        target: str | None = None,
        engine: str = "auto",
        score: float | None = None,
        top: int | None = None,
        classes: Classes | None = None,
        rank: int | Sequence[int] | None = None,
        at: Sequence[float] | None = None,
        against: str | int | None = None,
        masks: int | None = None,
        passes: int | None = None,
        samples: int | None = None,
        noise: float | None = None,
        seed: int | None = None,
        color: Color = "BGR",
        progress: Callable[[int, int], None] | None = None,
    ) -> Explanation:
        """Explain the boxes on an image: ``boxcam.explain(model, image, …)``, which tells of every argument.

        >>> import boxcam
        >>> model = boxcam.load("signs.boxcam")
        >>> model.explain("street.jpg", method="hirescam", classes="no entry").save("out")[0].name
        'street.png'
        """
        options = Options(
            method=method,
            layer=layer,
            fuse=fuse,
            target=target,
            engine=engine,
            score=score,
            top=top,
            classes=classes,
            rank=rank,
            at=at,
            against=against,
            masks=masks,
            passes=passes,
            samples=samples,
            noise=noise,
            seed=seed,
        )
        return explainer.explain(self._runtime, image, options, color=color, progress=progress)

    def candidates(
        self,
        image: ImageLike,
        box: Sequence[float],
        classes: Classes | None = None,
        *,
        score: float | None = None,
        color: Color = "BGR",
    ) -> tuple[Candidate, ...]:
        """The best box of each class that the model might have reported at a place, and why it did not.

        Args:
            image, color: as for `boxcam.explain`.
            box: x1 y1 x2 y2 in image pixels: where something is missed.
            classes: names or indices; by default the likeliest class there.
            score: what was reported with a lower score counts as missed; 0.3 by default.

        Returns:
            One for each class, in the order given.

        Raises:
            ArgumentError: the place has no area, or lies outside of the image; or the model is a classifier.
            UnknownNameError: there is no such class.
            EngineError: the bundle does not tell of boxes that were not reported.
            RunError: there are no candidates in the image at all, or the model gives boxes that are no numbers.
            InputError: the image cannot be read.

        >>> import boxcam
        >>> model = boxcam.load("signs.boxcam")
        >>> found, = model.candidates("street.jpg", (159, 8, 237, 89), classes="stop")
        >>> found.reason
        'class'
        """
        if box is None:
            raise ArgumentError("box=None is no place of the image. Pass x1, y1, x2, y2 in its pixels.")
        try:
            options = Options(at=box, classes=classes, score=score)
        except ArgumentError as error:
            raise ArgumentError(str(error).replace("at=", "box=")) from None
        return explainer.candidates(self._runtime, load_image(image, color, self.manifest.preprocess.channels), options)

    def prepare(
        self,
        *,
        method: str | None = None,
        layer: str | Sequence[str] | None = None,
        fuse: Fusion | None = None,
        target: str | None = None,
        engine: str = "auto",
        score: float | None = None,
        top: int | None = None,
        classes: Classes | None = None,
        rank: int | Sequence[int] | None = None,
        at: Sequence[float] | None = None,
        against: str | int | None = None,
        masks: int | None = None,
        passes: int | None = None,
        samples: int | None = None,
        noise: float | None = None,
        seed: int | None = None,
    ) -> None:
        """Check arguments of `explain` and open what they need: for an error before the first image, not with it.

        Raises:
            UnknownLayerError, UnknownNameError, EngineError, ArgumentError: as for `boxcam.explain`.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").prepare(method="hirescam", layer="neck")
        """
        options = Options(
            method=method,
            layer=layer,
            fuse=fuse,
            target=target,
            engine=engine,
            score=score,
            top=top,
            classes=classes,
            rank=rank,
            at=at,
            against=against,
            masks=masks,
            passes=passes,
            samples=samples,
            noise=noise,
            seed=seed,
        )
        explainer.prepare(self._runtime, options)


def open_model(model: Any, image: Any) -> runtime_model.Model:
    """The model that was given to explain an image, loaded if it is a path.

    Raises:
        ArgumentError: it is neither a model nor a path, or the image was given in its place.
        BundleError: there is no bundle of that path.
    """
    if isinstance(model, Model):
        return model.runtime
    if isinstance(model, runtime_model.Model):
        return model
    if isinstance(image, Model | runtime_model.Model) or (_is_bundle(image) and not _is_bundle(model)):
        raise ArgumentError("the model and the image are swapped. Pass the model first, then the image.")
    if isinstance(model, str | os.PathLike):
        return Model(model).runtime
    raise ArgumentError(f"a model cannot be {_kind(model)}. Pass what boxcam.load returns, or a bundle's path.")


def _is_bundle(given: Any) -> bool:
    return isinstance(given, str | os.PathLike) and os.path.isfile(os.path.join(os.fspath(given), MANIFEST))


def _kind(given: object) -> str:
    return f"a value of type {type(given).__name__}"
