"""What several tests of the export share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from boxcam.export.source import SOURCES
from tests.export.detectors import Detector


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``tiny(head=…)`` makes a detector what ``x.tiny`` is exported from, until the test ends."""

    def put(**options: Any) -> None:
        monkeypatch.setitem(SOURCES._things, "tiny", Detector(**options).way())

    return put
