"""Why a box was not reported: the right word and figures in every scene, for detectors of every family."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import boxcam
from tests.explain.whynot.cases import Mechanism, box_of, make, mechanisms, score_of
from tests.explain.whynot.detectors import FAMILIES
from tests.explain.whynot.scene import picture

SEEDS = 5


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(
    ("name", "mechanism"), [pytest.param(*one, id=f"{one[0]}: {one[1].__name__}") for one in mechanisms()]
)
def test_the_reason_and_its_figures(
    name: str, mechanism: Mechanism, seed: int, models: Callable[[str], boxcam.Model]
) -> None:
    case, family = make(name, mechanism, seed), FAMILIES[name]
    (found,) = models(name).candidates(picture(case.things, seed), case.place, classes=case.label, score=0.0)
    assert found.reason == case.reason, (found, case)
    for figure, value in case.figures.items():
        assert found.figures[figure] == pytest.approx(value, abs=2e-3, rel=1e-3), (figure, found, case)
    assert found.label == case.label
    assert found.iou == pytest.approx(case.iou, abs=1e-4), (found, case)
    if case.thing is not None:
        assert found.box == pytest.approx(box_of(family, case.thing, case.label), abs=1e-3), (found, case)
        assert found.logit == pytest.approx(case.thing.logits[case.label], abs=1e-3)
        assert found.score == pytest.approx(score_of(family, case.thing, case.label), abs=1e-3)


def test_there_are_at_least_two_hundred_scenes() -> None:
    assert len(mechanisms()) * SEEDS >= 200
