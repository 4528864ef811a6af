"""How the time of a run is shared."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Shares(Generic[T]):
    """A time that is shared by workers, of which so many work at once.

    Args:
        workers: all of them.
        seconds: in all.
        jobs: how many work at once.
    """

    def __init__(self, workers: Sequence[T], seconds: float, jobs: int) -> None:
        self._waiting, self._jobs, self._end = list(workers), jobs, time.monotonic() + seconds
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[tuple[T, float]]:
        """The workers that nobody has begun yet, each with the time at which it has to be done."""
        while True:
            with self._lock:
                if not self._waiting:
                    return
                now, turns = time.monotonic(), math.ceil(len(self._waiting) / self._jobs)
                share = self._waiting.pop(0), now + (self._end - now) / turns
            yield share
