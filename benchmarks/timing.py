"""How long things take."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Seconds that one run takes, and what it returns."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def median(run: Callable[[], object], repeats: int, warm: bool = True) -> float:
    """Seconds: the median of several runs, after one that is not counted."""
    return medians({"": run}, repeats, warm)[""]


def medians(runs: Mapping[str, Callable[[], object]], repeats: int, warm: bool = True) -> dict[str, float]:
    """Seconds that each of some runs takes: medians of what `rounds` finds."""
    return {name: statistics.median(values) for name, values in rounds(runs, repeats, warm).items()}


def rounds(runs: Mapping[str, Callable[[], object]], repeats: int, warm: bool = True) -> dict[str, list[float]]:
    """Seconds that each of some runs takes in each of ``repeats`` rounds, in each of which all run once.

    Taking turns spreads a machine's slow moments over all of them. A round before the first one is not counted.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(-1 if warm else 0, repeats):
        gc.collect()
        for name, run in runs.items():
            seconds, _ = timed(run)
            if number >= 0:
                taken[name].append(seconds)
    return taken


def added(base: Callable[[], object], runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds that each of some runs takes longer than what they contain: medians over ``repeats`` rounds.

    What they contain runs right before each of them, and it is the two that are compared: a machine that is slow for a
    minute is slow for both. The difference of two medians was off by the whole forward pass on a machine shared with
    others.
    """
    pairs = {(name, part): run for name, whole in runs.items() for part, run in (("base", base), ("run", whole))}
    taken = rounds({f"{part} {name}": run for (name, part), run in pairs.items()}, repeats)
    return {
        name: statistics.median(b - a for a, b in zip(taken[f"base {name}"], taken[f"run {name}"], strict=True))
        for name in runs
    }
