"""The benchmark in short: what is not as it was kept is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from examples.truth import run
from examples.truth.measure import Case, Row
from examples.truth.reduced import TOLERANCE, differences
from examples.truth.results import PATH, SECOND_PATH, read
from examples.truth.subjects import committed, subject

NONE = float("nan")
KEPT = [
    Case("clean-1", "far", "reporting", Row("hirescam", "neck"), box, 0.2, 0.5, 1.0, 0.0, 0.01, 0.02, 0.1)
    for box in range(2)
]


def test_small_differences_are_none() -> None:
    found = [replace(case, on_cue=case.on_cue + 0.9 * TOLERANCE, seconds=9.0, hits_cue=0.0) for case in KEPT]
    assert differences(KEPT, found) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"on_cue": 0.3}, "on_cue was 0.200 and is 0.300"),
        ({"on_symbol": NONE}, "on_symbol was 0.500 and is nan"),
        ({"area_symbol": 0.2}, "area_symbol was 0.020 and is 0.200"),
    ],
)
def test_other_figures_are_told(change: dict[str, float], told: str) -> None:
    found = [KEPT[0], replace(KEPT[1], **change)]  # type: ignore[arg-type]
    assert differences(KEPT, found) == [f"clean-1, far, box 1, `hirescam`, neck: {told}"]


def test_what_is_missing_or_new_is_told() -> None:
    new = replace(KEPT[0], row=Row("gradcam", "neck"))
    assert differences(KEPT, [KEPT[0], new]) == [
        "clean-1, far, box 0, `gradcam`, neck: not measured before",
        "clean-1, far, box 1, `hirescam`, neck: not measured any more",
    ]


def test_what_is_told_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [replace(KEPT[0], box=box) for box in range(100)]
    monkeypatch.setattr(run, "measure_again", lambda kept: (found, []))
    with pytest.raises(SystemExit) as stop:
        run.compare([])
    assert "results.json is not what is measured now. Run make truth." in str(stop.value)
    assert str(stop.value).endswith("and 80 more")


def test_a_new_way_is_told_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "measure_again", lambda kept: (KEPT, [Row("new", "neck")]))
    run.compare(KEPT)
    assert "Not measured yet: `new`, neck." in capsys.readouterr().out


def test_nothing_measured_is_no_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "measure_again", lambda kept: ([], []))
    with pytest.raises(SystemExit, match="Run make truth"):
        run.compare([])


def test_boxes_of_all_committed_detectors_are_kept() -> None:
    kept = {(case.subject, case.cue) for path in (PATH, SECOND_PATH) for case in read(path).cases}
    assert {name for name, _ in kept} == {one.name for one in committed()}
    assert {cue for name, cue in kept if subject(name).clean} == {cue for name, cue in kept if not subject(name).clean}
