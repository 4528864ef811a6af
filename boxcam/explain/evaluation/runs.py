"""Masks that are stored as run lengths, as COCO's annotations have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from boxcam.explain.metrics.arithmetic import Mask

_LONGEST = 7
"""Characters of one number, five bits each."""


def mask_of_runs(counts: Any, shape: tuple[int, ...]) -> Mask | None:
    """The pixels of a mask: bool [H, W]; None if its runs do not fill the image exactly.

    Runs go down one column after the other, by turns of pixels that do not belong to the mask and of those that do.
    pycocotools, which draws the same, leaves what no run reaches as it was in memory.

    Args:
        counts: their lengths, or the text that COCO's tools make of them.
        shape: height and width of the image.

    >>> mask_of_runs([1, 2, 3], (2, 3)).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0]]
    >>> mask_of_runs("123", (2, 3)).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0]]
    """
    runs = _of_text(counts) if isinstance(counts, str) else counts
    height, width = shape[:2]
    if not isinstance(runs, Sequence) or not all(type(run) is int and run >= 0 for run in runs):
        return None
    if sum(runs) != height * width:
        return None
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _of_text(text: str) -> list[int] | None:
    """The runs that a text stands for; None if it is of another form.

    Each number is that of five bits a character, the lowest first, with a sign; from the fourth on it is the difference
    to the last but one (``rleToString`` in maskApi.c of COCO's tools).
    """
    runs: list[int] = []
    value = places = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or places == _LONGEST:
            return None
        value |= (bits & 31) << 5 * places
        places += 1
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << 5 * places
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = places = 0
    return runs if places == 0 else None
