"""Progress, counted."""

from __future__ import annotations

from collections.abc import Callable


class Counter:
    """Tells how much is done of something.

    Args:
        report: called with the number that is done, 0 at first, and their total.
        total: how many there are.
        each: how often each is added.
    """

    def __init__(self, report: Callable[[int, int], None], total: int, each: int = 1) -> None:
        self._report, self._total, self._each, self._done = report, total, each, 0
        report(0, total)

    def add(self, number: int = 1) -> None:
        """So many more are done."""
        before = self._done // self._each
        self._done += number
        if (done := self._done // self._each) != before:
            self._report(done, self._total)

    def ignore(self) -> None:
        """What is done is not counted."""
