"""Score-CAM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def scorecam(scores: Float64) -> Float64:
    """Score-CAM: wₖ = exp(yₖ) / Σⱼ exp(yⱼ), y the target on the image behind each channel; the map is ReLU(Σₖ wₖ Aₖ).

    Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", CVPR 2020 workshops
    (arXiv:1910.01279): a channel is enlarged to the image, scaled to 0..1, and multiplied with the model's input; how
    high the class then scores, by a softmax over the channels, is its weight. The paper takes the score of a blank
    image away first, which a softmax does not notice. This is the paper's algorithm 1, as pytorch-grad-cam has it; in
    code of its authors the weight is the class's own probability. As in that code, channels are enlarged bilinearly
    between the centres of cells (pytorch-grad-cam puts the outermost centres onto the image's edge), and a channel that
    is the same everywhere has no weight. What pads the image stays.

    In a detector y is the number that the box's target was in the image as it is, its logit for instance, whether or
    not the box is found behind the channel; and the channels are those of all maps of the layer that the box depends
    on, together.

    Args:
        scores: float64 [C], y; NaN for a channel that is the same everywhere.

    Returns:
        float64 [C], which add up to 1, or are all zero if no channel differs from place to place.
    """
    known = np.isfinite(scores)
    weights: Float64 = np.zeros(len(scores))
    if known.any():
        shares = np.exp(scores[known] - scores[known].max())
        weights[known] = shares / shares.sum()
    return weights
