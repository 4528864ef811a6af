"""Everybody who works has a share of the time, whoever else works at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.fuzz import shares
from tests.fuzz.shares import Shares


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (1, [10, 20, 30, 40, 50]),  # each ends when the next one begins
        (2, [17, 25, 33, 50, 50]),  # of two, one has three turns and the other one has two
        (9, [50] * 5),
    ],
)
def test_shares(jobs: int, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(shares, "time", SimpleNamespace(monotonic=lambda: clock.now))
    found = []
    ends = [0.0] * jobs  # of those that work
    for worker, until in Shares("abcde", 50, jobs):
        found.append((worker, int(until + 0.5)))
        ends[ends.index(min(ends))] = until
        clock.now = min(ends)
    assert [worker for worker, _ in found] == list("abcde")
    assert [until for _, until in found] == expected
