"""Means and audits of the benchmark, worked out by hand, and the page that is made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from examples.truth import page
from examples.truth.intervene import Reliance
from examples.truth.measure import Case, Row
from examples.truth.results import ALL, Results, read
from examples.truth.summary import summarise

NONE = float("nan")
ROW = Row("hirescam", "neck")


def case(subject: str, cue: str, box: int, on_cue: float, on_symbol: float = 0.25) -> Case:
    """Seeds of 0 stand for tuning pictures."""
    split = "tuning" if subject.endswith("0") else "reporting"
    return Case(subject, cue, split, ROW, box, on_cue, on_symbol, float(on_cue > 0.3), 1.0, 0.1, 0.05, 0.5)


def reliance(subject: str, cue: str, flipped: float) -> Reliance:
    return Reliance(subject, cue, 10, 0.5, flipped, None, 0.75, 0.5, 1.0)


@pytest.fixture
def made() -> Results:
    return summarise(
        [
            reliance("clean-0", "far", 0.0),
            reliance("clean-1", "far", 0.0),
            reliance("far-0.9-0", "far", 0.9),
            reliance("far-0.9-1", "far", 0.9),
            reliance("far-0.6-1", "far", 0.2),
            reliance("inside-0.9-1", "inside", 0.1),
        ],
        [
            *(case("clean-0", "far", box, 0.02 * box) for box in range(11)),  # lifts of 0 to 2
            case("clean-1", "far", 0, 0.1, 0.75),
            case("clean-1", "far", 1, 0.3, 0.25),
            case("clean-1", "far", 2, NONE, NONE),
            case("far-0.9-0", "far", 0, 0.5),
            case("far-0.9-1", "far", 0, 0.2),
            case("far-0.9-1", "far", 1, 0.4),
            case("far-0.6-1", "far", 0, 0.4),
            case("inside-0.9-1", "inside", 0, 0.9),
        ],
    )


def test_means_are_of_what_is_truly_evidence(made: Results) -> None:
    far, clean = (made.energy("reporting", question, ROW) for question in ("far", "clean"))
    assert far is not None
    assert (far.energy, far.pointing, far.boxes, far.empty) == (pytest.approx(0.3), 0.5, 2, 0)
    assert clean is not None
    assert (clean.energy, clean.pointing, clean.boxes, clean.empty) == (0.5, 1.0, 2, 1)


def test_all_questions_count_alike(made: Results) -> None:
    both = made.energy("reporting", ALL, ROW)
    assert both is not None
    assert (both.energy, both.boxes, both.empty) == (pytest.approx(0.4), 4, 1)
    assert both.low < both.energy < both.high


def test_a_detector_that_does_not_rely_on_its_cue_is_left_out(made: Results) -> None:
    assert {one.question for one in made.energies} == {"clean", "far", ALL}
    assert [one.subject for one in made.reliances if not one.relies] == [
        "clean-0",
        "clean-1",
        "far-0.6-1",
        "inside-0.9-1",
    ]


def test_an_audit_compares_planted_boxes_with_clean_ones(made: Results) -> None:
    found = made.audit("reporting", "far", ROW)
    assert found is not None
    assert found.dose == 0.9
    assert found.auroc == 5 / 6  # lifts 2 and 4 against 1, 3 and, of the empty map, 0
    assert (found.planted, found.clean) == (2, 3)
    assert (found.alarms, found.detected) == (1 / 3, 1.0)  # the threshold is 1.9


def test_a_lower_dose_is_audited_by_itself_whether_or_not_it_relies(made: Results) -> None:
    found = made.audit("reporting", "far", ROW, 0.6)
    assert found is not None
    assert (found.auroc, found.planted, found.clean) == (1.0, 1, 3)


def test_levels_are_means_over_boxes_of_a_detector(made: Results) -> None:
    levels = {one.subject: one.lift for one in made.levels}
    assert levels == {"clean-1": pytest.approx(4 / 3), "far-0.9-1": pytest.approx(3)}


def test_boxes_of_committed_detectors_are_kept_one_by_one(made: Results) -> None:
    assert [(one.subject, one.box) for one in made.cases] == [("clean-1", 0), ("clean-1", 1), ("clean-1", 2)]


def test_the_default_is_compared_with_on_the_same_boxes() -> None:
    other = Row("gradcam", "neck")
    shares = {ROW: (0.2, 0.4, 0.3), other: (0.3, NONE)}
    cases = [
        replace(case("clean-1", "far", box, 0.0, share), row=row)
        for row, values in shares.items()
        for box, share in enumerate(values)
    ]
    found = summarise([], cases).energy("reporting", "clean", other)
    assert found is not None
    assert found.ahead == pytest.approx((0.1 - 0.4) / 2)  # an empty map has nothing on the truth
    assert (found.ahead_low, found.ahead_high) == (pytest.approx(-0.4), pytest.approx(0.1))


def test_results_are_read_as_they_were_written(made: Results, tmp_path: Path) -> None:
    made.write(tmp_path / "results.json")
    again = read(tmp_path / "results.json")
    assert again.reliances == made.reliances
    assert len(again.energies) == len(made.energies)
    assert again.audit("reporting", "far", ROW) == replace(
        made.audits[-2], auroc=0.8333, low=again.audits[-2].low, alarms=0.3333
    )
    again.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "results.json").read_text()


def test_the_page_has_a_line_for_each_way_to_make_a_map(made: Results) -> None:
    text = page.markdown(made, further=page.Further(made, []), other=made)
    assert "| `hirescam`, neck | 0.38 | 0.40 (" in text
    assert "| 0.50 / 1.00 | 0.30 / 0.50 | 1 |  |" in text
    assert "| far-0.9-1 | far | 10 | 100 % | 50 % | 90 % | 50 % | – | 75 % | yes |" in text
    assert "| far | 0.6 | 1 | 20 % | 50 % | 1.00 (–) |" in text
