"""The size of the picture as an input of a model: whether it puts the boxes into the scale in which they are read.

RT-DETR, D-FINE and Paddle multiply normalised boxes by such an input, or divide boxes by one. boxcam fills in the size
of the model's input, or takes what the user gives; either may be another size than boxes are read in, or its height
where the width belongs, and every box would lie elsewhere. So the graph is run with each number doubled: what doubles
or halves with it shows what the number does, whatever the input is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from boxcam.errors import SourceError
from boxcam.export.graphs.query import Array
from boxcam.export.graphs.run import observe_values
from boxcam.export.heads.convention import Convention, Piece
from boxcam.export.sources.onnx.fixed import PREFIX

_MOST_NUMBERS = 8
"""Of an input that may be a size."""
_NORMALISED = 2.0
"""Boxes up to this are shares of a side: those of an untrained model reach beyond the picture."""
_CLOSE = 1e-3


@dataclass(frozen=True)
class _Effect:
    """What a number of an input does to the boxes: along one axis they are multiplied or divided by it.

    Attributes:
        along: ``width`` or ``height``.
        needed: what it has to be for boxes in the scale in which they are read.
    """

    along: str
    needed: float


def check_picture_size(
    model: ir.Model, convention: Convention, feeds: Mapping[str, Array], size: tuple[int, int], is_open: bool
) -> None:
    """See that the inputs which scale boxes are those of the scale in which the boxes are read.

    Args:
        model: the graph, whose fixed inputs are constants.
        convention: how its boxes are read.
        feeds: an image to run it with.
        size: height and width of that image.
        is_open: whether images of other sizes are taken too.

    Raises:
        SourceError: another value would put the boxes where they are.
    """
    piece = convention.boxes
    if piece is None or convention.decode is not None:
        return
    for name, constant in list(model.graph.initializers.items()):
        array = None if constant.const_value is None or not name.startswith(PREFIX) else constant.const_value.numpy()
        if array is None or array.size > _MOST_NUMBERS or array.dtype.kind not in "iuf":
            continue
        values = array.reshape(-1).astype(np.float64)
        effects = _effects(model, name, array, piece, convention, feeds, size)
        wrong = [at for at, effect in effects.items() if abs(values[at] - effect.needed) > _CLOSE * effect.needed]
        plain = name.removeprefix(PREFIX)
        if wrong:
            _refuse(plain, values, effects, wrong[0], convention.scale, size)
        if is_open and any(effect.needed > _NORMALISED for effect in effects.values()):
            raise SourceError(
                f"inputs=: the input {plain!r} is fixed to {_listed(values)}, by which the model multiplies its boxes,"
                f" and images of other sizes are taken too. Pass shape=({size[0]}, {size[1]})."
            )


def _refuse(
    plain: str, values: Array, effects: Mapping[int, _Effect], at: int, scale: str, size: tuple[int, int]
) -> None:
    right = values.copy()
    for place, effect in effects.items():
        right[place] = effect.needed
    read = "from 0 to 1" if scale != "pixels" else f"in pixels of the model's input, {size[0]}x{size[1]}"
    raise SourceError(
        f"inputs=: the input {plain!r} is {_listed(values)}, and the model scales the {effects[at].along} of its boxes"
        f" by {values[at]:g}; boxes are read {read}, and would all lie elsewhere. Pass"
        f' inputs="{plain}={_listed(right)}".'
    )


def _effects(
    model: ir.Model,
    name: str,
    array: Array,
    piece: Piece,
    convention: Convention,
    feeds: Mapping[str, Array],
    size: tuple[int, int],
) -> dict[int, _Effect]:
    """What each number of an input does, by its place; nothing of one that does not scale boxes."""
    before = _columns(model, piece, feeds)
    letters = convention.form.replace("c", "")
    axes = {"width": [at for at, one in enumerate(letters) if one in "xw"]}
    axes["height"] = [at for at in range(4) if at not in axes["width"]]
    found: dict[int, _Effect] = {}
    for at, value in enumerate(array.reshape(-1).tolist()):
        changed = array.copy().reshape(-1)
        changed[at] = 2 * value
        if before.shape[-1] != 4 or not value:
            continue
        after = _with(model, name, changed.reshape(array.shape), piece, feeds)
        if after.shape != before.shape:
            continue
        for along, columns in axes.items():
            factor = _factor(before[:, columns], after[:, columns])
            if factor is None:
                continue
            side = size[1] if along == "width" else size[0]
            share = np.abs(before[:, columns]).max() / abs(value)
            in_pixels = convention.scale == "pixels"
            found[at] = _Effect(along, float(side) if factor > 1 and share <= _NORMALISED and in_pixels else 1.0)
    return found


def _factor(before: Array, after: Array) -> float | None:
    """2 or ½, if all coordinates are that much larger; None otherwise."""
    for factor in (2.0, 0.5):
        if before.any() and np.allclose(after, before * factor, rtol=_CLOSE, atol=_CLOSE * float(np.abs(before).max())):
            return factor
    return None


def _with(model: ir.Model, name: str, array: Array, piece: Piece, feeds: Mapping[str, Array]) -> Array:
    constant = model.graph.initializers[name]
    own = constant.const_value
    try:
        constant.const_value = ir.tensor(array, name=name)
        return _columns(model, piece, feeds)
    finally:
        constant.const_value = own


def _columns(model: ir.Model, piece: Piece, feeds: Mapping[str, Array]) -> Array:
    """The numbers of the boxes in one run, float64 [N, 4]."""
    (array,) = observe_values(model, [piece.value], feeds)
    if piece.across:
        array = array.swapaxes(-1, -2)
    if piece.picked:
        array = array[..., list(piece.picked)]
    elif piece.columns is not None:
        array = array[..., piece.columns[0] : piece.columns[1]]
    return np.asarray(array.reshape(-1, array.shape[-1]), np.float64)


def _listed(values: Array) -> str:
    return ",".join(f"{value:g}" for value in values.tolist())
