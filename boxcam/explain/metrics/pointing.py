"""The pointing game."""

from __future__ import annotations

import numpy as np

from boxcam.explain.metrics.arithmetic import Array, check_mask, evidence, highest
from boxcam.types import Float


def pointing_game(values: Float, box: Array, mask: Array | None = None) -> float:
    """Whether a map is highest inside its object: 1 or 0, the share of the pixels if several are equally high.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016 (arXiv:1608.00507), without their
    margin of 15 pixels. As in ODAM's code (tools/eval_pointgame.py), the maximum lies *strictly* inside of the
    box, and counts as inside of the mask only if it is inside of the box as well. Differences from that code: a pixel
    lies where its centre does, and not half a pixel up and to the left, so that the first row and column of the image
    can be inside; and several equally high pixels count by their share, where that code leaves the object out.
    Microsoft's vision-explanation-methods gives another quantity this name: salient pixels per pixel of the box.

    Args:
        values: [H, W], a map in image pixels; negative values are no evidence.
        box: [4], x1 y1 x2 y2 in image pixels.
        mask: bool [H, W], the object's pixels; the whole box by default.

    Returns:
        0 to 1, NaN for a map without evidence, which points nowhere.

    Raises:
        ArgumentError: it is not a map, or the mask is of another size.

    >>> import numpy as np
    >>> pointing_game(np.eye(4, dtype=np.float32), np.array([1, 1, 4, 4]))
    0.75
    """
    rows, columns = highest(evidence(values))
    if not len(rows):
        return float("nan")
    y, x = rows + 0.5, columns + 0.5
    inside = (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])
    if mask is not None:
        inside &= check_mask(mask, values.shape)[rows, columns]
    return float(np.mean(inside))
