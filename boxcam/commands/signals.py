"""Ctrl-C and SIGTERM end a command in good order: what it was writing is removed, and the exit code tells which it was.

The exit codes are those of a shell, 128 and the signal's number: 130 and 143.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from boxcam.commands.console import say
from boxcam.runtime import interruptible


class Terminated(BaseException):
    """SIGTERM came."""


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise `Terminated` where SIGTERM comes; SIGINT raises KeyboardInterrupt, as it does in Python."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave(event: BaseException) -> NoReturn:
    """Exit by the code of the signal that came."""
    number = signal.SIGTERM if isinstance(event, Terminated) else signal.SIGINT
    say("boxcam: interrupted" if number == signal.SIGINT else "boxcam: terminated", err=True)
    end(128 + number)


def signal_behind(error: BaseException) -> BaseException | None:
    """The event of a signal that an error was made of, as pybind11 does where it comes while a module is imported."""
    seen: list[BaseException] = []
    while error not in seen:
        if isinstance(error, KeyboardInterrupt | Terminated):
            return error
        seen.append(error)
        error = error.__cause__ or error.__context__ or error
    return None


def end(code: int) -> NoReturn:
    """Exit, hard if native code is still at work: the interpreter cannot shut down under it."""
    if interruptible.is_left_running():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, AttributeError):  # AttributeError: it is closed, and None
                stream.flush()
        os._exit(code)
    raise SystemExit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
