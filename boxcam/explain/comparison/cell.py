"""One method at one layer: what is known of it before anything is computed, and what it shows of a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from boxcam.errors import ArgumentError, EngineError, RunError, UnknownLayerError, UnknownNameError
from boxcam.explain.methods import METHODS, AnyMethod, ChannelMasks, FeatureMasks, Method, Perturbation
from boxcam.explain.options import Options
from boxcam.explain.plan import Plan
from boxcam.runtime.model import Model
from boxcam.types import IMAGE, Image

CANNOT = (ArgumentError, EngineError, UnknownLayerError, UnknownNameError)
"""What is raised where a method cannot be used at a layer, or for a target."""


@dataclass(frozen=True, eq=False)
class Cell:
    """A method at a layer.

    Attributes:
        method, layer: their names.
        plan: what has to be computed; None if it cannot be.
        facts: what is said of the box, see `boxcam.explain.facts.box_facts`; None without a map.
        peak_at: row and column of the map's largest value; None if nothing of it is positive.
        picture: the part of the image that is shown, under the heatmap; None without a map.
        fine: whether the map is of single pixels.
        rounding: whether it is nothing but rounding errors; then nothing of it is drawn.
        short: why there is no map, in a few words; empty if there is one.
        why: the same as a sentence.
    """

    method: str
    layer: str
    plan: Plan | None = None
    facts: dict[str, Any] | None = None
    peak_at: tuple[int, int] | None = None
    picture: Image | None = None
    fine: bool = False
    rounding: bool = False
    short: str = ""
    why: str = ""

    def failed(self, error: Exception) -> Cell:
        """The cell without a map."""
        return replace(self, plan=None, short=_short(METHODS[self.method], self.layer, error), why=str(error))


def cells_of(model: Model, options: Options, methods: Sequence[str] | None, layers: Sequence[str]) -> list[list[Cell]]:
    """A row of cells for each method, one for each layer.

    Args:
        model: a detector or classifier.
        options: of all of them; it has no method and no layer.
        methods: their names; by default those of gradients and of one forward pass that the bundle can do.
        layers: names of layers of the bundle.

    Raises:
        EngineError, UnknownLayerError, UnknownNameError: none of the methods can be used at any of the layers.
    """
    names = [name for name, one in METHODS.loaded().items() if _is_default(one)] if methods is None else methods
    first: Exception | None = None
    rows = []
    for name in names:
        row = []
        for layer in layers:
            cell = Cell(name, layer)
            try:
                if isinstance(METHODS[name], Perturbation) and layer != layers[0]:
                    same = f"the method {name!r} looks at no layer: its map is the same at all"
                    cell = replace(cell, short="looks at no layer", why=same)
                else:
                    cell = replace(cell, plan=Plan(model, _options(options, name, layer)))
            except CANNOT as error:
                first = first or error
                cell = cell.failed(error)
            row.append(cell)
        if methods is not None or any(cell.plan for cell in row):
            rows.append(row)
    if first is not None and not any(cell.plan for row in rows for cell in row):
        raise first
    return rows


def _options(options: Options, method: str, layer: str) -> Options:
    """Those of a cell; a method of random masks has neither layer nor engine."""
    if isinstance(METHODS[method], Perturbation):
        return replace(options, method=method, engine="auto")
    return replace(options, method=method, layer=layer)


def _is_default(method: AnyMethod) -> bool:
    """Whether it is one of gradients, of one forward pass."""
    return isinstance(method, Method) and not (method.path or method.samples)


def _short(method: AnyMethod, layer: str, error: Exception) -> str:
    """Why a method cannot be used at a layer, in a few words."""
    maps = isinstance(method, ChannelMasks | FeatureMasks)
    if isinstance(method, Method):
        if method.image and method.times is None and layer != IMAGE:
            return "for the layer image only"
        maps = method.features or method.times is not None
    if maps and layer == IMAGE:
        return "for feature maps only"
    if isinstance(error, ArgumentError):
        return "not for this target"
    if isinstance(error, UnknownLayerError):
        return "needs the layer image"
    return "fails on this image" if isinstance(error, RunError) else "cannot be used here"
