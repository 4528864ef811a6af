"""What a run may take: time, memory, and pixels of an image. `boxcam.limits` sets it for a block of code.

Time is watched in three ways, as none of them reaches everywhere: ONNX Runtime is told to stop (see
`boxcam.runtime.interruptible`), Python code of the main thread is interrupted by an alarm where the system has one, and
code of other threads looks at the clock when it runs a graph.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType

from boxcam.arguments import is_number
from boxcam.errors import ArgumentError, LimitError

MAX_PIXELS = 179_000_000
"""Pixels of an image, unless another limit is set. Decoded they take three bytes each, and more while being decoded."""
_AGAIN = 5.0
"""Seconds until an alarm that was lost, as those in a destructor are, is given again."""
_LONGEST = 1e8
"""Seconds that an alarm can be set to on every system: three years."""
_LARGEST = (1 << 62) - 1
"""Bytes that can be said to every system, and that none has."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


@dataclass(frozen=True)
class Budget:
    """What holds in a block.

    Attributes:
        pixels: of an image, height times width.
        timeout: seconds, for messages; None if time is not limited.
        deadline: when they are over, by ``time.monotonic()``.
        memory: bytes; None if memory is not limited.
    """

    pixels: int = MAX_PIXELS
    timeout: float | None = None
    deadline: float | None = None
    memory: int | None = None

    @property
    def left(self) -> float | None:
        """Seconds that are left, 0 if none; None if time is not limited."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

    def check_time(self) -> None:
        """Go on only if there is time left.

        Raises:
            TimeIsUp: there is none.
        """
        if self.left == 0:
            raise TimeIsUp

    def expired(self) -> LimitError:
        """The error of a run that took too long."""
        return LimitError(f"it took longer than the {self.timeout:g} s that timeout={self.timeout:g} allows.")

    def exhausted(self) -> LimitError:
        """The error of a run that asked for too much memory."""
        if self.memory is None:
            return LimitError("there is not enough memory. Pass a smaller image, or export with a smaller shape=.")
        most = f"{self.memory / (1 << 30):.3g} GiB"
        return LimitError(f"it needs more memory than the {most} that max_memory={self.memory} allows.")


class TimeIsUp(BaseException):
    """The time is over: no `Exception`, as code that runs foreign code catches all of these.

    It becomes a `LimitError` where the block of `boxcam.limits` ends.
    """


_CURRENT: ContextVar[Budget] = ContextVar("boxcam.budget", default=Budget())  # noqa: B039 - it is frozen


def current() -> Budget:
    """What holds here."""
    return _CURRENT.get()


@contextlib.contextmanager
def limits(
    *, timeout: float | None = None, max_memory: int | str | None = None, max_pixels: int | None = None
) -> Iterator[None]:
    """See `boxcam.limits`."""
    outer = _CURRENT.get()
    memory = None if max_memory is None else size(max_memory)
    _check(timeout, memory, max_pixels)
    deadline, seconds = outer.deadline, outer.timeout
    if timeout is not None and (deadline is None or time.monotonic() + timeout < deadline):
        deadline, seconds = time.monotonic() + timeout, timeout
    inner = Budget(
        pixels=outer.pixels if max_pixels is None else max_pixels,
        timeout=seconds,
        deadline=deadline,
        memory=min((one for one in (outer.memory, memory) if one is not None), default=None),
    )
    token = _CURRENT.set(inner)
    try:
        with _memory(inner, outer), _alarm(inner, outer):
            yield
            inner.check_time()  # for code that nothing could interrupt
    except TimeIsUp:
        raise inner.expired() from None
    except MemoryError as error:
        raise inner.exhausted() from error
    finally:
        _CURRENT.reset(token)


def size(given: int | str) -> int:
    """A number of bytes, as ``4G``, ``512M`` or in digits; units are powers of 1024.

    Raises:
        ArgumentError: it is none.
    """
    found = _SIZE.fullmatch(str(given).strip())
    if found is None or not 0 < float(found[1]) < float("inf"):
        raise ArgumentError(f"max_memory={given!r} is not a size. Pass one such as 4G or 512M.")
    return int(float(found[1]) * (1 << _UNITS[found[2].upper()]))


def _check(timeout: float | None, memory: int | None, pixels: int | None) -> None:
    for name, value in (("timeout", timeout), ("max_pixels", pixels)):
        if value is not None and not (is_number(value) and 0 < value < float("inf")):
            raise ArgumentError(f"{name}={value!r} is not a number above 0. Pass one that is.")
    if memory is not None:
        taken = _taken()
        if taken is None:
            raise ArgumentError("max_memory= is available on Linux only. Leave it out.")
        if taken >= memory:
            raise ArgumentError(
                f"max_memory={memory} is less than the {taken >> 20} MiB that are in use already. Raise it."
            )


def _taken() -> int | None:
    """Bytes of data that this process has asked the system for; None where that is not told or cannot be limited."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmData:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return None


@contextlib.contextmanager
def _memory(inner: Budget, outer: Budget) -> Iterator[None]:
    """Let the system refuse memory beyond the limit: what asks for it fails by an error of its own."""
    if inner.memory is None or inner.memory == outer.memory:
        yield
        return
    _MEMORY.add(inner.memory)
    try:
        yield
    finally:
        _MEMORY.remove(inner.memory)


class _Memory:
    """The limits of memory that hold now. It is the process that has one, so the lowest holds for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[int] = []
        self._before = 0
        if hasattr(os, "register_at_fork"):  # a process that was forked has none of the threads that may hold the lock
            os.register_at_fork(after_in_child=lambda: setattr(self, "_lock", threading.Lock()))

    def add(self, limit: int) -> None:
        import resource

        with self._lock:
            if not self._held:
                self._before = resource.getrlimit(resource.RLIMIT_DATA)[0]
            self._held.append(limit)
            self._apply()

    def remove(self, limit: int) -> None:
        with self._lock:
            self._held.remove(limit)
            self._apply()

    def _apply(self) -> None:
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limits = (self._before, most, *(min(limit, _LARGEST) for limit in self._held))
        known = [limit for limit in limits if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min(known, default=resource.RLIM_INFINITY), most))


_MEMORY = _Memory()


@contextlib.contextmanager
def _alarm(inner: Budget, outer: Budget) -> Iterator[None]:
    """Interrupt Python code when the time is over, where that can be done without taking an alarm from others."""
    mine = inner.deadline is not None and inner.deadline != outer.deadline and (inner.left or 0.0) < _LONGEST
    if not mine or threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    before, waiting = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    if before not in (signal.SIG_DFL, _ring):
        yield
        return
    signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, max(inner.left or 0.0, 1e-3), _AGAIN)
    try:
        yield
    finally:
        left = outer.left
        signal.setitimer(
            signal.ITIMER_REAL, *((max(left, 1e-3), _AGAIN) if left is not None and waiting[0] else (0, 0))
        )
        signal.signal(signal.SIGALRM, before)


def _ring(number: int, frame: FrameType | None) -> None:
    raise TimeIsUp
