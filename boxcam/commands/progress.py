"""How far a run is: a line that moves on a terminal, and a line now and then of a long run in a file or a pipe."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from boxcam.commands.console import is_terminal, one_line, put, say

INTERVAL = 30.0
"""Seconds between two lines where stderr is not a terminal; what takes less says nothing there."""

TICK = 1.0
"""Seconds between two looks at whether a line is due."""

SOON = 3.0
"""Seconds from which on a line on a terminal tells what time is left."""


class StepLines:
    """Tells the steps of an export, with the time that has passed, and of a step that takes long that it goes on.

    Args:
        quiet: whether to say nothing.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._began = self._said = time.monotonic()
        self._step = ""
        self._lock = threading.Lock()

    def begin(self, step: str) -> None:
        """A step begins: a line on a terminal, and elsewhere if there was none for a while."""
        with self._lock:
            self._step = step
            if is_terminal() or self._is_time():
                self._say(step)

    def remind(self) -> None:
        """A line, if there was none for a while."""
        with self._lock:
            if self._step and self._is_time():
                self._say(f"{self._step} (goes on)")

    def _is_time(self) -> bool:
        return time.monotonic() - self._said >= INTERVAL

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._said = time.monotonic()
            say(f"[{self._said - self._began:5.1f} s] {text}", err=True)


@contextlib.contextmanager
def report_steps(quiet: bool) -> Iterator[Callable[[str], None]]:
    """What to call as each step of an export begins; while the block lasts, no longer step passes in silence."""
    lines, over = StepLines(quiet), threading.Event()

    def remind() -> None:
        while not over.wait(TICK):
            lines.remind()

    clock = threading.Thread(target=remind, name="boxcam.steps", daemon=True)
    if not quiet:
        with contextlib.suppress(RuntimeError):  # no memory for a thread is left: steps are still told as they begin
            clock.start()
    try:
        yield lines.begin
    finally:
        over.set()


class WholeRun:
    """A run over many images, of which each has a line of its own: the time that is left is that of all of them.

    Args:
        total: how many images there are.

    Attributes:
        done: how many are done.
        began, said: when it began, and when it last said something.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.began = self.said = time.monotonic()


class ProgressLine:
    """Tells how many boxes of an image are done.

    Args:
        text: what it begins with: the image.
        one: what is counted, in the singular: ``box``.
        quiet: whether to say nothing.
        whole: the run that the image is one of, if the time that is left is to be told of all of it.
    """

    def __init__(self, text: str, one: str, quiet: bool, whole: WholeRun | None = None) -> None:
        self._text, self._one, self._quiet, self._whole = text, one, quiet, whole
        self._terminal = is_terminal()
        self._said = time.monotonic()

    def counter(self, doing: str = "", one: str | None = None) -> Callable[[int, int], None]:
        """What to call with the number that is done and their total, as one job of the run goes on.

        Args:
            doing: what is done, if it is not explaining: ``writing``.
            one: what is counted, if it is something else: ``mask``.
        """
        began = time.monotonic()

        def count(done: int, total: int) -> None:
            line = f"{self._text}: {f'{doing} ' if doing else ''}{one or self._one} {done} of {total}"
            now = time.monotonic()
            start, share, said = began, done / total if total else 1.0, self._said
            if (whole := self._whole) is not None:
                start, share, said = whole.began, (whole.done + share) / whole.total, whole.said
            left = f", about {_time((now - start) / share * (1 - share))} left" if 0 < share < 1 else ""
            if self._terminal:
                self._show(line + (left if now - start >= SOON else ""))
            elif not self._quiet and now - said >= INTERVAL and left:
                self._said = now
                if whole is not None:
                    whole.said = now
                say(f"{line}{left}", err=True)

        return count

    def announce(self, text: str) -> None:
        """Say something about a run that will take long, as a line of its own."""
        self.clear()
        if not self._quiet:
            say(f"{self._text}: {text}", err=True)

    def start(self) -> None:
        """Show the line without a number."""
        self._show(self._text)

    def clear(self) -> None:
        """Take the line off the terminal."""
        self._show("")

    def _show(self, line: str) -> None:
        if self._terminal and not self._quiet:
            put("\r\x1b[K", err=True, nl=False)
            say(one_line(line), err=True, nl=False)


@contextlib.contextmanager
def progress_line(text: str, one: str, quiet: bool, whole: WholeRun | None = None) -> Iterator[ProgressLine]:
    """A line of progress, which is gone when the block ends; the run that it is a part of is further by one then."""
    line = ProgressLine(text, one, quiet, whole)
    line.start()
    try:
        yield line
    finally:
        line.clear()
        if whole is not None:
            whole.done += 1


def _time(seconds: float) -> str:
    """A time for people: ``40 s``, ``5 min``."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
