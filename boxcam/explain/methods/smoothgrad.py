"""SmoothGrad."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.methods.arithmetic import strongest
from boxcam.types import CellMap, Float, Patch

SAMPLES = 50
"""Noisy images, as in the paper's figures."""
NOISE = 0.15
"""Standard deviation of the noise as a share of the range of the image's values; the paper advises 0.1 to 0.2."""


def smoothgrad(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """SmoothGrad: maxₖ |(1/n) Σᵢ Gₖ(x + εᵢ)|, pixel by pixel, ε normal noise.

    Smilkov et al., "SmoothGrad: removing noise by adding noise", ICML workshop 2017 (arXiv:1706.03825): the gradient to
    the image is averaged over n noisy images, with its sign; then it is shown as `saliency` is, by the size of the
    largest channel, as in their section 3.1 and unlike captum's ``NoiseTunnel(Saliency)``, which averages sizes. The
    noise's standard deviation is a share of the largest value of the input less the smallest one. What pads the image
    gets no noise. In every noisy pass the box's target is the number that it was in the image as it is
    (`boxcam.explain.noise`).

    Args:
        activation: float32 [C, H, W], the image.
        patches: the means of the gradients.
    """
    return strongest(activation, patches)
