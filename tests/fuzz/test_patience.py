"""How long a case may take: by what it works, and not by what else the machine does meanwhile."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.fuzz import __main__ as fuzz


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield process
        process.kill()


def test_a_process_that_works_too_long_is_given_up(busy: subprocess.Popen[bytes]) -> None:
    assert fuzz._next(queue.SimpleQueue(), busy.pid, fuzz._worked(busy.pid), 0.5) is None
    assert fuzz._worked(busy.pid) >= 0.4


def test_a_process_that_gets_no_processor_is_waited_for(
    busy: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "BUSY", 4)
    os.kill(busy.pid, signal.SIGSTOP)
    waited: list[float] = []

    class Lines(queue.SimpleQueue[str]):
        def get(self, block: bool = True, timeout: float | None = None) -> str:
            waited.append(timeout or 0)
            return super().get(block, timeout)

    assert fuzz._next(Lines(), busy.pid, fuzz._worked(busy.pid), 0.1) is None
    assert len(waited) >= 2


def test_a_line_that_comes_is_taken(busy: subprocess.Popen[bytes]) -> None:
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    lines.put("case 3")
    assert fuzz._next(lines, busy.pid, 0.0, 0.1) == "case 3"
