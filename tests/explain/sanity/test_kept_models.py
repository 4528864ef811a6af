"""Which shuffled models stay open, and maps of theirs that are none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import boxcam
from boxcam.commands.demo import DATA
from boxcam.explain.evidence import Evidence
from boxcam.explain.explainer import explain
from boxcam.explain.options import Options
from boxcam.explain.sanity import check
from boxcam.explain.sanity.check import Sanity
from boxcam.explain.sanity.randomised import Weights
from boxcam.runtime.model import Model

ROWS = [Options(method="hirescam", layer="neck", top=1)]


@pytest.fixture(scope="module")
def model() -> Model:
    return boxcam.load(DATA / "signs", threads=1).runtime


@pytest.fixture
def street(signs: Path) -> Any:
    return cv2.imread(str(signs / "images" / "street.jpg"))


def test_large_models_are_opened_one_at_a_time(model: Model, street: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    real = Weights.shuffled
    monkeypatch.setattr(
        Weights, "shuffled", lambda self, count, *given: (opened.append(count), real(self, count, *given))[1]
    )
    before, found = [explain(model, street, ROWS[0])], []
    for most, expected in ((check._KEPT, [11, 22]), (0, [11, 22, 11, 22])):
        monkeypatch.setattr(check, "_KEPT", most)
        opened.clear()
        sanity = Sanity(model, ROWS, 2, 0)
        found += [sanity.measure(street, before, [0]) for _ in range(2)]
        assert opened == expected
        assert len(sanity._open) == (2 if most else 0)
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_map_that_is_not_finite_is_no_number(
    value: float, model: Model, street: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sanity, before = Sanity(model, ROWS, 1, 0), [explain(model, street, ROWS[0])]
    real = Evidence.map
    monkeypatch.setattr(
        Evidence,
        "map",
        lambda self, k: real(self, k) if self is before[0] else np.full_like(real(self, k), value),
    )
    (((pair,),),) = sanity.measure(street, before, [0])
    assert all(map(math.isnan, pair))
