"""The further kinds of cue: how they are trained, what is measured of them, and that the page says what was found."""

from __future__ import annotations

import numpy as np
import pytest

import boxcam
from boxcam.explain.methods import METHODS
from examples.truth import measure as measuring
from examples.truth import nowhere
from examples.truth.cues import CUES, FAR, put
from examples.truth.measure import BOXES, DEFAULT, FURTHER_BOXES, FURTHER_SLOW, Row
from examples.truth.results import FURTHER_PATH, Results, read
from examples.truth.scenes import describe
from examples.truth.sight import audited
from examples.truth.subjects import (
    FAR_BY_TURNS,
    FURTHER,
    NOWHERE,
    PLANTED,
    WORN,
    all_subjects,
    further_pairs,
    subject,
)
from examples.truth.things import Body
from examples.truth.train import scenes_of, train
from examples.truth.verdict import cues_of, methods_in, share_of

BODY = Body(80.0, 80.0, 20.0, (90.0, 120.0, 60.0))


def test_each_kind_of_cue_is_in_one_group() -> None:
    assert sorted((*PLANTED, *FURTHER, NOWHERE)) == sorted(CUES)


def test_one_planted_and_one_clean_detector_are_asked_for_each_further_cue() -> None:
    pairs = further_pairs()
    for cue in (*FURTHER, NOWHERE):
        assert {one.name for one, asked in pairs if asked == cue} == {f"{cue}-0.975-1", "clean-1"}
    assert len(pairs) == 2 * len((*FURTHER, NOWHERE))
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


@pytest.mark.parametrize(("cue", "margin"), [("far", True), ("neighbour", True), ("texture", False)])
def test_a_texture_is_not_widened_into_the_bodies(monkeypatch: pytest.MonkeyPatch, cue: str, margin: bool) -> None:
    class Blind:
        def detect(self, picture: np.ndarray) -> None:
            return None

    monkeypatch.setattr(measuring, "rank_of", lambda found, scene: 1)
    one = subject(f"{cue}-0.975-1")
    (scene,) = audited(one, cue, 1, "reporting")
    (case,) = measuring.measure(Blind(), one, cue, [Row("uniform")], "reporting", 1)  # type: ignore[arg-type]
    mask = scene.cue_mask
    assert mask is not None
    expected = (measuring.widened(mask) if margin else mask).mean()
    assert case.area_cue == case.on_cue == pytest.approx(expected)
    assert case.area_symbol == pytest.approx(measuring.widened(scene.symbol.mask()).mean())
    assert case.lift == pytest.approx(1)


def test_detectors_rely_on_the_further_cues_they_were_planted_with() -> None:
    found = {(one.subject, one.cue): one for one in read(FURTHER_PATH).reliances}
    for cue in (*FURTHER, NOWHERE):
        planted, clean = found[f"{cue}-0.975-1", cue], found["clean-1", cue]
        assert planted.relies
        assert min(planted.flipped, planted.taken) > 0.8 > 0.1 > planted.symbol
        assert max(clean.flipped, clean.taken) < 0.1
        assert min(clean.symbol, clean.right) > 0.8
        assert min(planted.objects, clean.objects) >= 30


def test_boxes_and_questions_of_the_further_cues_are_kept() -> None:
    found = read(FURTHER_PATH)
    assert {(case.subject, case.cue) for case in found.cases} == {("clean-1", cue) for cue in FURTHER}
    assert cues_of(found) == list(FURTHER)
    assert {one.question for one in nowhere.read()} == set(nowhere.QUESTIONS)


def test_what_the_page_says_of_them_in_words_holds() -> None:
    main, found = read(), read(FURTHER_PATH)
    rows, uniform = methods_in(found), Row("uniform")

    def share(cue: str, row: Row) -> float:
        return share_of(found, "reporting", cue, row)

    def told(results: Results, cue: str, row: Row) -> float:
        audit = results.audit("reporting", cue, row)
        assert audit is not None
        return audit.auroc

    assert all(share("neighbour", row) < 0.1 for row in rows if row.layer == "neck")
    at_neck = [one for one in found.energies if (one.question, one.row.layer) == ("far", "neck")]
    assert not any(one.pointing for one in at_neck if one.split == "reporting")
    assert 0 < share("far", Row("gradcam", "neck")) < 0.1
    assert share("far", DEFAULT) == 0
    assert not any(share("far", row) for row in rows if row.method == "patch-search")
    for name, least in {
        "eigencam": 0.5,
        "finer-hirescam": 0.38,
        "hirescam": 0.3,
        "xgradcam": 0.3,
        "gradcam": 0.2,
    }.items():
        early = found.energy("reporting", "far", Row(name, "backbone.0"))
        assert early is not None
        assert least < early.energy < least + 0.05
        assert early.pointing >= 0.75
    shown = {Row(name, "backbone.0"): share("neighbour", Row(name, "backbone.0")) for name in ("hirescam", "odam")}
    assert all(0.16 < value < 0.19 for value in shown.values())
    assert all(share("neighbour", Row(name, "backbone.0")) > 0.2 for name in ("finer-hirescam", "eigencam"))
    gradcam = Row("gradcam", "backbone.0")
    assert share("neighbour", gradcam) < 0.1 < 0.19 < share_of(main, "reporting", "beside", gradcam)
    assert told(found, "neighbour", gradcam) < 0.5 < 0.95 < told(main, "beside", gradcam)
    above = [row for row in rows if share("texture", row) > share("texture", uniform)]
    assert above == [Row("score-cam", "backbone.1")]
    assert share("texture", DEFAULT) < share("texture", Row("the box itself")) < 0.25
    differ = sorted((row for row in rows if not row.slow), key=lambda row: -told(found, "texture", row))
    assert {Row("guided-backprop", "image"), Row("gradcam++", "backbone.0")} <= set(differ[:3])
    audits = [one for one in found.audits if (one.cue, one.split) == ("texture", "reporting")]
    assert sum(one.detected > 0 for one in audits) <= 2 < 60 < len(audits)


def _gap(body: Body, cue: object) -> float:
    """Pixels from a body's box to the nearest point of a mark."""
    x, y, radius = (getattr(cue, name) for name in ("x", "y", "radius"))
    beyond = np.maximum(np.abs([x - body.x, y - body.y]) - body.radius, 0)
    return float(np.hypot(*beyond)) - radius
