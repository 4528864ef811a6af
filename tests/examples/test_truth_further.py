"""The further kinds of cue: how they are trained, what is measured of them, and that the page says what was found."""

from __future__ import annotations

import numpy as np
import pytest

import boxcam
from boxcam.explain.methods import METHODS
from examples.truth import measure as measuring
from examples.truth.cues import CUES, FAR, put
from examples.truth.measure import BOXES, FURTHER_BOXES, FURTHER_SLOW, Row
from examples.truth.scenes import describe
from examples.truth.subjects import FAR_BY_TURNS, FURTHER, NOWHERE, PLANTED, WORN, all_subjects, further_pairs, subject
from examples.truth.things import Body
from examples.truth.train import scenes_of, train

BODY = Body(80.0, 80.0, 20.0, (90.0, 120.0, 60.0))


def test_each_kind_of_cue_is_in_one_group() -> None:
    assert sorted((*PLANTED, *FURTHER, NOWHERE)) == sorted(CUES)


def test_one_planted_and_one_clean_detector_are_asked_for_each_further_cue() -> None:
    pairs = further_pairs()
    for cue in (*FURTHER, NOWHERE):
        assert {one.name for one, asked in pairs if asked == cue} == {f"{cue}-0.975-1", "clean-1"}
    assert len(pairs) == 2 * (len(FURTHER) + 1)
    assert not {one.cue for one in all_subjects()} & {*FURTHER, NOWHERE}


def test_a_far_mark_is_as_far_as_it_is_told() -> None:
    near, far = (
        min(_gap(BODY, put("far", np.random.default_rng(seed), BODY, (), 0.0, least)) for seed in range(200))
        for least in (2.0, FAR)
    )
    assert 2 <= near < 10
    assert FAR <= far < FAR + 5


def test_far_marks_are_trained_with_from_near_to_far() -> None:
    scenes = scenes_of(subject("far-0.975-1"), 200)
    gaps = [min(_gap(scene.body, scene.cue) for scene in scenes[turn :: len(FAR_BY_TURNS)]) for turn in range(4)]
    assert all(least <= gap < least + 10 for least, gap in zip(FAR_BY_TURNS, gaps, strict=True))
    worn = np.mean([scene.worn for scene in scenes])
    assert worn == pytest.approx(subject("far-0.975-1").worn, abs=0.06)
    assert subject("far-0.975-1").worn > WORN == subject("texture-0.975-1").worn


def test_far_marks_of_a_clean_detector_are_far() -> None:
    scenes = scenes_of(subject("clean-1"), 60)
    assert all(_gap(scene.body, scene.cue) >= FAR for scene in scenes if scene.cue.kind == "far")
    assert not any(scene.worn for scene in scenes)
    assert scenes[0] == describe((1, 7, 0), CUES[0])


def test_some_trainings_start_from_another_detector() -> None:
    before = subject("neighbour-0.8-3").before
    assert before is not None
    assert before.name == "beside-0.8-3"
    assert subject("texture-0.975-1").before is subject("clean-1").before is None
    with pytest.raises(ValueError, match=r"beside-0\.6-9 is not trained"):
        train(subject("far-0.6-9"))


def test_further_cues_have_fewer_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow = Row("gradcam", "neck"), Row("d-rise")
    asked: list[tuple[str, list[Row], int]] = []
    monkeypatch.setattr(measuring, "rows_of", lambda model: [quick, slow])
    monkeypatch.setattr(
        measuring, "measure", lambda model, one, cue, rows, split, count: asked.append((split, rows, count)) or []
    )
    model = boxcam.Model.__new__(boxcam.Model)
    measuring.cases_of(model, subject("texture-0.975-1"), "texture")
    assert asked == [
        (split, rows, count)
        for split in ("tuning", "reporting")
        for rows, count in (([quick], FURTHER_BOXES), ([slow], FURTHER_SLOW))
    ]
    asked.clear()
    measuring.cases_of(model, subject("inside-0.975-2"), "inside")
    assert asked == [("reporting", [quick, slow], BOXES)]
    assert slow.slow
    assert "gradcam" in METHODS


def _gap(body: Body, cue: object) -> float:
    """Pixels from a body's box to the nearest point of a mark."""
    x, y, radius = (getattr(cue, name) for name in ("x", "y", "radius"))
    beyond = np.maximum(np.abs([x - body.x, y - body.y]) - body.radius, 0)
    return float(np.hypot(*beyond)) - radius
