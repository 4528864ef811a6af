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
    """Seconds that each of some runs takes: medians of ``repeats`` rounds, in each of which all run once.

    Taking turns spreads a machine's slow moments over all of them. A round before the first one is not counted.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(-1 if warm else 0, repeats):
        gc.collect()
        for name, run in runs.items():
            seconds, _ = timed(run)
            if number >= 0:
                taken[name].append(seconds)
    return {name: statistics.median(values) for name, values in taken.items()}
