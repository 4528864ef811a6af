"""Detections + gradients + a method → an explanation."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boxcam.errors import UnknownNameError
from boxcam.explain.methods import METHODS, Method
from boxcam.explain.placement import place
from boxcam.runtime.images import check_array, read_image
from boxcam.runtime.model import Model
from boxcam.types import CellMap, Detections, Float, Grid, Image, Patch

DEFAULT_METHOD = "gradcam"
DEFAULT_SCORE = 0.3
_WAITING = 1 << 26
"""Bytes of gradients that are kept to be made into maps together."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model drew its boxes on one image.

    Attributes:
        image: uint8 [H, W, 3], BGR, the image given.
        detections: the K boxes that were explained.
        method, layer, engine: how.
        cells: the K maps as the method made them, in cells of their feature maps.
        grids: where those cells lie on the image.
        tensors: which feature map each belongs to.
        dependent: whether each box's score depends on the layer at all; see `depends`.
        other_boxes: how many boxes the model drew that were not asked for (too low a score, another class).
    """

    image: Image
    detections: Detections
    method: str
    layer: str
    engine: str
    cells: tuple[CellMap, ...]
    grids: tuple[Grid, ...]
    tensors: tuple[str, ...]
    dependent: tuple[bool, ...]
    other_boxes: int

    def __len__(self) -> int:
        return len(self.detections)

    def map(self, index: int) -> Float:
        """The map of one box: float32 [H, W], raw, in image pixels."""
        height, width = self.image.shape[:2]
        return place(self.cells[index], self.grids[index], height, width)

    @property
    def maps(self) -> Float:
        """All maps: float32 [K, H, W], raw. For many boxes on a large image, take `map` one by one."""
        height, width = self.image.shape[:2]
        result = np.zeros((len(self), height, width), np.float32)
        for index in range(len(self)):
            result[index] = self.map(index)
        return result

    def depends(self, index: int) -> bool:
        """Whether the box's score depends on the layer at all.

        If not, its map is empty because there was nothing to look at: when the layer is one level of a pyramid, say,
        the boxes that other levels drew. That is no absence of evidence.
        """
        return self.dependent[index]

    def has_evidence(self, index: int) -> bool:
        """Whether any pixel of the map speaks for the box. If not, there is no positive evidence.

        Cells that show padding only, or lie outside a proposal's part of the image, are no evidence.
        """
        return bool((self.cells[index].values > 0).any()) and bool((self.map(index) > 0).any())


def explain(
    model: Model,
    image: Image | str | os.PathLike[str],
    *,
    method: str = DEFAULT_METHOD,
    layer: str | None = None,
    engine: str = "auto",
    score: float = DEFAULT_SCORE,
    top: int | None = None,
    classes: str | int | np.integer[Any] | Sequence[str | int | np.integer[Any]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explain the boxes that a model draws on an image.

    Args:
        model: from `boxcam.load`.
        image: a file, or uint8 [H, W, 3] in BGR (as ``cv2.imread`` gives it), or uint8 [H, W] grey.
        method: a CAM method, see ``boxcam.methods()``.
        layer: which layer to look at; the bundle's first one by default.
        engine: gradient engine, or ``auto``.
        score: explain boxes of at least this score.
        top: explain at most so many boxes, the best first; all by default.
        classes: explain boxes of these classes only, by name or index.
        progress: called with the number of boxes done and their total.

    Raises:
        InputError: the image cannot be read.
        UnknownLayerError, UnknownNameError, EngineError: layer, method, class or engine is not there.
        ValueError: ``top`` is negative.
    """
    if top is not None and top < 0:
        raise ValueError(f"top: {top}, expected 0 or more")
    compute = METHODS[method]
    chosen_layer = model.layer(layer)
    engine_name = model.engine_name(chosen_layer, engine)
    wanted = class_indices(model, classes)
    pixels = read_image(image) if isinstance(image, str | os.PathLike) else check_array(image)
    prediction = model.predict(pixels, chosen_layer, engine)
    found = prediction.detections
    keep = found.scores >= score
    if wanted is not None:
        keep &= np.isin(found.labels, wanted)
    boxes = np.flatnonzero(keep)[:top]
    cells: list[CellMap] = []
    grids, tensors, dependent = [], [], []
    waiting: list[Patch] = []
    patches = model.patches(prediction, chosen_layer, boxes.tolist(), engine, means=compute.means)
    for done, patch in enumerate(patches, start=1):
        grids.append(model.grid(prediction, chosen_layer, patch))
        tensors.append(chosen_layer.tensors[patch.tensor].name)
        dependent.append(patch.gradient.size > 0 or patch.uniform is not None)
        waiting.append(patch)
        if done == len(boxes) or sum(map(_bytes, waiting)) > _WAITING:
            cells += _maps(compute, waiting, lambda some: model.activation(prediction, chosen_layer, some))
            waiting.clear()
        if progress is not None:
            progress(done, len(boxes))
    return Explanation(
        image=pixels,
        detections=found.select(boxes),
        method=method,
        layer=chosen_layer.name,
        engine=engine_name,
        cells=tuple(cells),
        grids=tuple(grids),
        tensors=tuple(tensors),
        dependent=tuple(dependent),
        other_boxes=len(found) - len(boxes),
    )


def _bytes(patch: Patch) -> int:
    return patch.gradient.nbytes + (0 if patch.uniform is None else patch.uniform.nbytes)


def _maps(compute: Method, patches: Sequence[Patch], activation: Callable[[Patch], Float]) -> list[CellMap]:
    """One map for each patch; a method sees the patches of one feature map together."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, patch in enumerate(patches):
        groups.setdefault((patch.tensor, patch.row), []).append(index)
    found: dict[int, CellMap] = {}
    for members in groups.values():
        mine = [patches[index] for index in members]
        found.update(zip(members, compute(activation(mine[0]), mine), strict=True))
    return [found[index] for index in range(len(patches))]


def class_indices(
    model: Model, classes: str | int | np.integer[Any] | Sequence[str | int | np.integer[Any]] | None
) -> list[int] | None:
    """Class names or numbers as indices; letters need not match in case.

    Raises:
        UnknownNameError: the model has no such class.
    """
    if classes is None:
        return None
    names = model.manifest.labels
    result = []
    for wanted in [classes] if isinstance(classes, str | int | np.integer) else classes:
        text = str(wanted)
        if isinstance(wanted, str) and wanted in names:
            index = names.index(wanted)
        elif text.isdecimal():
            index = int(text)
        else:
            index = next((k for k, name in enumerate(names) if name.lower() == text.lower()), -1)
        if not 0 <= index < len(names):
            raise _unknown_class(text, names)
        result.append(index)
    return result


def _unknown_class(wanted: str, names: Sequence[str]) -> UnknownNameError:
    known = {name.lower(): name for name in names}
    close = [known[name] for name in difflib.get_close_matches(wanted.lower(), known, n=3, cutoff=0.5)]
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return UnknownNameError(f"the model has no class {wanted!r}.{hint} There are: {shown}.")
