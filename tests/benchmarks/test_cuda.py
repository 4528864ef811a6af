"""The check of a GPU, as far as it can be tested without one: what it takes for wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxcam
from benchmarks.cuda import compared, faults, late

DEMO = Path(boxcam.__file__).parent / "demo"
OURS = "agreement as boxcam runs it"


@pytest.fixture(scope="module")
def explanation() -> Any:
    return boxcam.explain(boxcam.load(DEMO / "signs", threads=1), DEMO / "images" / "cat.jpg", top=2)


def wrong(cpu: Any, cuda: Any, device: str = "cuda") -> list[str]:
    row = {**compared(cpu, cuda), "device": device}
    return list(faults({OURS: {"neck": {"gradcam": row}}}))


def test_the_same_is_not_wrong(explanation: Any) -> None:
    assert wrong(explanation, explanation) == []
    assert compared(explanation, explanation)["boxes"] == 2


def test_a_session_that_fell_back_is_wrong(explanation: Any) -> None:
    assert wrong(explanation, explanation, "cpu") == ["neck gradcam ran on cpu"]


def test_another_box_is_wrong(explanation: Any) -> None:
    origin = explanation.detections.origin + np.array([[1], [0]])
    moved = dataclasses.replace(explanation.detections, origin=origin)
    assert wrong(explanation, dataclasses.replace(explanation, detections=moved)) == [
        "neck gradcam: 1 of 2 boxes are the same"
    ]


def test_a_map_that_differs_is_wrong(explanation: Any) -> None:
    first, second = explanation.parts
    cells = first[0].cells
    values = cells.values * np.float32(1.01)
    changed = (dataclasses.replace(first[0], cells=dataclasses.replace(cells, values=values)), *first[1:])
    (said,) = wrong(explanation, dataclasses.replace(explanation, parts=(changed, second)))
    assert said.startswith("neck gradcam: maps differ by ")


def test_what_ends_late_is_wrong() -> None:
    good = [0.2, -2, "ready cuda"]
    assert list(late({"ctrl-c": [good], "timeout": 1.1})) == []
    assert list(late({"ctrl-c": [[3.0, -2, "ready cuda"], good, [0.1, 0, ""]], "timeout": 9.0})) == [
        "Ctrl-C: exit code -2 after 3.0 s (ready cuda)",
        "Ctrl-C: exit code 0 after 0.1 s ()",
        "a time limit of 1 s: 9.0",
    ]
