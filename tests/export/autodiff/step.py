"""The ways in which a random graph grows, by their names."""

from __future__ import annotations

from collections.abc import Callable

from tests.export.autodiff.eager import Eager

Step = Callable[[Eager, str], "str | list[str] | None"]
STEPS: dict[str, Step] = {}
"""Ways in which a graph grows: from a value to one or more others, or to none where they do not fit."""


def step(function: Step) -> Step:
    STEPS[function.__name__] = function
    return function
