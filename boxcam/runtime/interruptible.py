"""Long work of native code that can be ended: by Ctrl-C, by what a signal's handler raises, and by a deadline.

While native code runs, Python handles no signal. So in the main thread, which signals are for, and wherever there is a
deadline, the work is done by a thread of its own, and the caller waits, which can be interrupted.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from boxcam.budget import current

T = TypeVar("T")

_GRACE = 0.7
"""Seconds that work is waited for once it was told to stop."""
_SLICE = 0.5
_lock = threading.Lock()
_idle: list[_Worker] = []
_left: set[_Worker] = set()


def run(work: Callable[[], T], stop: Callable[[], None]) -> T:
    """Do some work and return what it returns.

    Args:
        work: what to do; it must let other threads run.
        stop: tells it to end soon.

    Raises:
        TimeIsUp: it took longer than `boxcam.limits` allows; work that does not end then is left to itself.
    """
    budget = current()
    if budget.deadline is None and threading.current_thread() is not threading.main_thread():
        return work()
    budget.check_time()
    worker = _worker()
    done = worker.begin(work)
    try:
        # In slices, since not every system interrupts a wait without an end.
        while not done.wait(_SLICE if budget.left is None else min(budget.left, _SLICE)):
            budget.check_time()
    except BaseException:
        stop()
        with contextlib.suppress(BaseException):
            done.wait(_GRACE)
        _put_back(worker)
        raise
    try:
        return worker.result()  # type: ignore[no-any-return]
    finally:
        _put_back(worker)


def is_left_running() -> bool:
    """Whether there is work that was told to stop and did not: the process can then only be ended hard."""
    with _lock:
        return any(not worker.done.is_set() for worker in _left)


class _Worker:
    """A thread that does one piece of work after the other."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self._work: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()
        self._value: Any = None
        self._error: BaseException | None = None
        threading.Thread(target=self._loop, name="boxcam", daemon=True).start()

    def begin(self, work: Callable[[], Any]) -> threading.Event:
        self.done = threading.Event()
        self._work.put(work)
        return self.done

    def result(self) -> Any:
        error, value = self._error, self._value
        self._error = self._value = None
        if error is not None:
            raise error
        return value

    def _loop(self) -> None:
        while True:
            work = self._work.get()
            self._value = self._error = None
            try:
                self._value = work()
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                self._error = error
            del work
            self.done.set()


def _worker() -> _Worker:
    with _lock:
        if _idle:
            return _idle.pop()
    return _Worker()


def _put_back(worker: _Worker) -> None:
    with _lock:
        if worker.done.is_set():
            _idle.append(worker)
        else:
            _left.add(worker)


def _forget() -> None:
    """A process that was forked has none of its parent's threads."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()
    _left.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
