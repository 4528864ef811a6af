"""Methods: how the gradients of some boxes' targets become maps of cells.

A method is one short function of the activation A of one feature map (float32 [C, H, W], the whole map or the
proposal's row) and the patches of all boxes that look at it: each holds G = ∂y/∂A, which outside the patch is zero, or
``uniform`` in each channel. It gives one map for each patch, and sees no image: `placement` puts its maps there.
Means of gradients are taken in float64, products over channels in float32, as the frameworks do; maps are float32
and finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Rules
from boxcam.errors import BoxcamError
from boxcam.registry import Registry
from boxcam.types import CellMap, Float, Patch

Compute = Callable[[Float, Sequence[Patch]], list[CellMap]]


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        compute: from an activation and patches to maps.
        means: whether of a gradient it needs only each channel's mean over the map, which can be had for less: a patch
            may then hold nothing but a uniform gradient with that mean.
        rules: which gradient it is made of: the plain one, or the guided one, which activations pass only where they
            are active and what arrives is positive (`boxcam.export.autodiff.guided`).
        image: whether it is for the gradient to the model's input, the layer ``image``, and for no other layer.
        times: the method whose map on another layer, placed on the image, its own map is multiplied with there.
    """

    compute: Compute
    means: bool = False
    rules: Rules = "plain"
    image: bool = False
    times: str | None = None

    def __call__(self, activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
        return self.compute(activation, patches)


METHODS: Registry[Method] = Registry("method", "boxcam.methods")


def method(
    name: str, means: bool = False, rules: Rules = "plain", image: bool = False, times: str | None = None
) -> Callable[[Compute], Compute]:
    """Register a function as a method; see `Method`."""

    def put(function: Compute) -> Compute:
        METHODS.register(name)(Method(function, means, rules, image, times))
        return function

    return put


@method("gradcam", means=True)
def gradcam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Grad-CAM: ReLU(Σₖ αₖ Aₖ), αₖ = (1/Z) Σᵢⱼ Gₖᵢⱼ, Z = H·W.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
    equations 1 (α) and 2 (the map). Z counts the cells of the whole feature map, whatever the patch covers, and the
    map covers all of it: its corner is (0, 0). Where no channel speaks for the box, the map is zero.
    """
    _check(activation, patches)
    alphas, count = [], activation[0].size
    for patch in patches:
        gradient, _ = _inside(activation, patch)
        alpha = gradient.sum(axis=(1, 2), dtype=np.float64) / count
        alphas.append(alpha if patch.uniform is None else alpha + patch.uniform)
    maps = _weighted(alphas, activation)
    np.maximum(maps, 0, out=maps)
    return [CellMap(values, (0, 0)) for values in maps]


@method("hirescam")
def hirescam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """HiResCAM: Σₖ Gₖ ⊙ Aₖ, cell by cell.

    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks",
    2020 (arXiv:2011.08891), the definition of HiResCAM in section 3. As published there is no ReLU: negative cells
    speak against the box. The map covers the patch only, or the whole feature map if the gradient is uniform outside;
    cells of it that overhang the feature map are zero.
    """
    _check(activation, patches)
    everywhere = iter(_weighted([patch.uniform for patch in patches if patch.uniform is not None], activation))
    maps = []
    for patch in patches:
        gradient, (rows, columns) = _inside(activation, patch)
        product = np.einsum(
            "kij,kij->ij", gradient, activation[:, rows, columns], dtype=np.float64, casting="same_kind"
        )
        if patch.uniform is None:
            values, (y0, x0) = np.zeros(patch.gradient.shape[1:], np.float32), patch.corner
        else:
            values, (y0, x0) = next(everywhere), (0, 0)
        there = values[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
        there[:] = _float32(there + product)
        maps.append(CellMap(values, (y0, x0)))
    return maps


@method("saliency", image=True)
def saliency(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Saliency: maxₖ |Gₖ|, pixel by pixel.

    Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks: Visualising Image Classification Models and
    Saliency Maps", ICLR workshop 2014 (arXiv:1312.6034), section 3.1: how much the target changes with the colour of
    each pixel that it depends on most, whether for or against. The map covers what the patch covers, or everything if
    the gradient is uniform outside; cells that overhang the image are zero.
    """
    return _strongest(activation, patches)


@method("guided-backprop", rules="guided", image=True)
def guided_backprop(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Guided backpropagation: maxₖ |Gₖ| of the guided gradient, pixel by pixel.

    Springenberg et al., "Striving for Simplicity: The All Convolutional Net", ICLR workshop 2015 (arXiv:1412.6806),
    section 3.4. They show G itself as colours; here its channels become one number as in `saliency`, so that both may
    be compared. Activations other than ReLU: see `boxcam.export.autodiff.guided`.
    """
    return _strongest(activation, patches)


@method("guided-gradcam", rules="guided", image=True, times="gradcam")
def guided_gradcam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Guided Grad-CAM: maxₖ |Gₖ| of the guided gradient, times Grad-CAM's map at the same pixel.

    Selvaraju et al. 2017, section 3.2: Grad-CAM, of another layer, is enlarged to the image and multiplied with guided
    backpropagation. As it is nowhere negative, it does not matter that the channels become one number before. This
    gives the first factor; who knows both layers multiplies it with the second.
    """
    return _strongest(activation, patches)


def _strongest(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """The absolute gradient of the channel where it is largest, cell by cell."""
    _check(activation, patches)
    maps = []
    for patch in patches:
        gradient, (rows, columns) = _inside(activation, patch)
        if patch.uniform is None:
            total: npt.NDArray[Any] = gradient
            values, (y0, x0) = np.zeros(patch.gradient.shape[1:], np.float32), patch.corner
        else:
            strongest = _float32(np.abs(patch.uniform).max(keepdims=True))
            total = gradient + patch.uniform.astype(np.float64)[:, None, None]
            values, (y0, x0) = np.full(activation.shape[1:], strongest, np.float32), (0, 0)
        there = values[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
        there[:] = _float32(np.abs(total).max(axis=0))
        maps.append(CellMap(values, (y0, x0)))
    return maps


@cache
def _threads() -> Any:
    """What sets the number of a BLAS's threads."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _weighted(weights: Sequence[npt.NDArray[Any]], activation: Float) -> Float:
    """Σₖ wₖ Aₖ for each of some boxes, as one product of matrices: [boxes, H, W]."""
    shape = len(weights), *activation.shape[1:]
    if not len(weights):
        return np.zeros(shape, np.float32)
    table, flat = np.array(weights, np.float64), activation.reshape(len(activation), -1)
    # On one thread: those of a BLAS spin on after a product, which slows down the next forward pass by a tenth.
    with np.errstate(over="ignore", invalid="ignore"), _threads().limit(limits=1, user_api="blas"):
        result: Float = table.astype(np.float32) @ flat
    if not np.isfinite(result).all():  # beyond float32, or no number, which is refused
        with np.errstate(invalid="ignore"):
            result = _float32(table @ flat.astype(np.float64))
    return result.reshape(shape)


def _check(activation: Float, patches: Sequence[Patch]) -> None:
    """Check that shapes and dtypes go together.

    Raises:
        ValueError: they do not.
    """
    if activation.ndim != 3 or activation.dtype != np.float32 or 0 in activation.shape:
        raise ValueError(f"activation: {activation.dtype} {list(activation.shape)}, expected float32 [C, H, W]")
    for patch in patches:
        if len(patch.gradient) != len(activation):
            raise ValueError(f"gradient of {len(patch.gradient)} channels, activation of {len(activation)}")


def _inside(activation: Float, patch: Patch) -> tuple[Float, tuple[slice, slice]]:
    """The part of the patch's gradient that lies on the feature map, and where: rows and columns of the map."""
    rows, columns = (
        slice(min(max(corner, 0), size), min(max(corner + extent, 0), size))
        for corner, extent, size in zip(patch.corner, patch.gradient.shape[1:], activation.shape[1:], strict=True)
    )
    y0, x0 = patch.corner
    cut = patch.gradient[:, rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
    return cut, (rows, columns)


def _float32(values: npt.NDArray[Any]) -> Float:
    """Float32, held within its range.

    Raises:
        BoxcamError: a value is NaN or infinite.
    """
    with np.errstate(over="ignore"):
        result: Float = values.astype(np.float32)
    if np.isfinite(result).all():
        return result
    if not np.isfinite(values).all():
        raise BoxcamError(
            "a map holds NaN or infinite values: the model's feature map or gradient does."
            " Check the model on this image, or choose another layer."
        )
    limit = np.finfo(np.float32).max
    return np.clip(values, -limit, limit).astype(np.float32)
