"""Steps that are counted."""

from __future__ import annotations

import itertools

from boxcam.export.source import Progress


def numbered(progress: Progress, total: int) -> Progress:
    """The same, but for the number of the step and their total, which are told after its name.

    >>> told = numbered(print, 2)
    >>> told("differentiating neck"), told("differentiating image")
    differentiating neck, step 1 of 2
    differentiating image, step 2 of 2
    (None, None)
    """
    numbers = itertools.count(1)
    return lambda step: progress(f"{step}, step {next(numbers)} of {total}")
