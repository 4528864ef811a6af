"""What colours stand for: one scale for all pictures of a sheet, and what its bar says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from boxcam.commands.summary import summary
from boxcam.explain import sheet as pages
from boxcam.explain.colors import line_width, paint
from boxcam.explain.figures import without
from boxcam.explain.heat import shown
from boxcam.explain.legend import strongest_of
from boxcam.explain.look import Look
from boxcam.explain.panel import CloseUp, Panel, Shown
from boxcam.explain.pictures import make_panel
from boxcam.explain.sheet import Words, sheet
from boxcam.explain.totals import totals_of
from tests.explain.made import explanation
from tests.explain.panels import panel
from tests.explain.small import SHAPE as LARGE
from tests.explain.small import small_box, small_evidence, with_values

SHAPE = 200, 300
VIEW = (0, 0, 60, 40)


def close(top: float) -> Panel:
    """One with a close-up, whose small picture of the whole image has half the peak."""
    made = panel(SHAPE, peak=top, among=2)
    small = Shown(np.full((60, 90), top / 2, np.float32), top / 2)
    return replace(made, shown=replace(made.shown, top=top), close_up=CloseUp(VIEW, small))


@pytest.mark.parametrize(("fine", "small"), [(False, 10.0), (True, 0.5)])
def test_the_small_picture_of_a_close_up_has_the_common_scale_too(fine: bool, small: float) -> None:
    """That of single pixels has one for all small pictures: peaks are lost where it is made small."""
    large = panel(SHAPE, peak=10.0, among=2)
    first, second = pages._on_one_scale([large, close(1.0)], fine)
    assert (first.shown.top, second.shown.top) == (10.0, 10.0)
    assert second.close_up is not None
    assert second.close_up.whole.top == small


def told(monkeypatch: pytest.MonkeyPatch, look: Look) -> Any:
    """The raw value that the bar of a sheet gives for its strongest colour."""
    given: list[Any] = []
    monkeypatch.setattr(pages, "legend", lambda place, strongest, look, peak: given.append(peak))
    made = [replace(panel(SHAPE, among=2), shown=Shown(np.ones((320, 480), np.float32), top)) for top in (3.0, 2.0)]
    sheet(np.zeros((*SHAPE, 3), np.uint8), [replace(one, peak=7.0) for one in _fitting(made)], Words("t"), look)
    return given[0]


def _fitting(panels: list[Panel]) -> list[Panel]:
    size = pages.resize(np.zeros((*SHAPE, 3), np.uint8), *pages.fit(SHAPE, len(panels))).shape[:2]
    return [replace(one, shown=Shown(np.ones(size, np.float32), one.shown.top)) for one in panels]


@pytest.mark.parametrize(
    ("look", "value", "said"),
    [
        (Look(), None, "largest value of each map"),
        (Look(scale="common"), 3.0, "largest value of all maps"),
        (Look(scale="common", fine=True), 3.0, "hottest 1 % of the positive pixels of all maps"),
        # lines of pixels are those of smooth maps, whose values are others
        (Look("contours", "common", fine=True), None, "hottest 1 % of the positive pixels of all maps, made smooth"),
        (Look("contours", fine=True), None, "largest value of each map, made smooth"),
        (Look("contours", "common"), 3.0, "largest value of all maps"),
    ],
)
def test_the_bar_has_raw_values_only_where_colours_stand_for_them(
    look: Look, value: float | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(monkeypatch, look) == value
    assert strongest_of(look) == said


def test_lines_end_at_the_edge_of_the_picture() -> None:
    """And do not go along it, where heat has other levels."""
    picture = np.full((101, 201, 3), 128, np.uint8)
    rising = np.tile(np.linspace(0, 1, 201, dtype=np.float32), (101, 1))
    changed = (paint(picture, rising, Look("contours")) != 128).any(axis=2)
    assert changed[:, ::50].any()
    assert (changed == changed[50]).all()  # each row is like the next one: lines go straight up and down
    assert not changed[:, 160:].any()  # the last line is that of 0.75


def test_lines_of_pixels_of_a_large_picture_are_those_of_a_smaller_one() -> None:
    look = Look("contours", fine=True)
    small = np.zeros((300, 400), np.float32)
    small[100:200, 100:300] = np.random.default_rng(0).random((100, 200)) > 0.5
    large = small.repeat(6, 0).repeat(6, 1)
    drawn, whole = (
        (paint(np.full((*heat.shape, 3), 128, np.uint8), heat, look) != 128).any(axis=2) for heat in (small, large)
    )
    found = [
        np.argwhere(lines).min(axis=0).tolist() + np.argwhere(lines).max(axis=0).tolist() for lines in (drawn, whole)
    ]
    assert np.array(found[1]) / 6 == pytest.approx(found[0], abs=6)


@pytest.mark.parametrize(("side", "width"), [(100, 1), (800, 1), (1600, 2), (4000, 5)])
def test_lines_are_as_wide_as_the_picture_needs(side: int, width: int) -> None:
    assert line_width(np.zeros((side, 10, 3), np.uint8)) == width


def test_what_is_rounding_has_no_close_up_and_is_said_by_its_larger_side() -> None:
    lit, noise = (replace(small_evidence(np.full(LARGE, peak, np.float32)), method="hirescam") for peak in (1.0, 1e-9))
    first, second = (make_panel(one, 0, totals_of(one.map(0), one.detections.boxes[0])) for one in (lit, noise))
    assert first.close_up is not None
    assert (second.close_up, second.rounding) == (None, True)
    assert without(replace(second, peak=1e-9, against=3e-8)) == "no evidence: 3e-08 is rounding"


def test_rounding_is_told_to_machines_and_on_the_command_line() -> None:
    found = with_values(1e-7, 5)
    (fact,) = found.facts()["detections"]
    assert (fact["rounding"], fact["positive_evidence"]) == (True, True)
    assert summary(found) == "1 box, 1 with no evidence beyond rounding, 4 others left out"
    (fact,) = with_values(1, 5).facts()["detections"]
    assert fact["rounding"] is False
    assert summary(with_values(1, 5)) == "1 box, 4 others left out"


def test_a_part_of_pixels_has_the_colours_of_the_whole_map_unless_it_is_hotter() -> None:
    values = np.zeros(LARGE, np.float32)
    values[:100] = 4  # a quarter of the map, none of it in the close-up
    for peak, top in ((1.0, 4.0), (9.0, 9.0)):
        values[200:220, 290:310] = peak
        assert small_box(values, "image").shown.top == pytest.approx(top, rel=0.02)


def test_what_speaks_against_does_not_take_from_what_speaks_for() -> None:
    """Where a map of pixels without a sign is made smaller."""
    values = np.where(np.indices((64, 64)).sum(axis=0) % 2, 1.0, -1.0).astype(np.float32)
    found = explanation(values.tolist())
    said = totals_of(values, found.detections.boxes[0])
    small = shown(found, 0, said, values, (0, 0, 64, 64), (32, 32))
    assert small.values == pytest.approx(np.full((32, 32), 0.5), abs=1e-6)


def test_the_whole_image_lies_neither_on_what_speaks_for_nor_against() -> None:
    heat = np.zeros((100, 100), np.float32)
    heat[60:, 60:], heat[:40, 60:], heat[60:, :40] = -0.5, -0.5, 0.5
    small, drawn = np.full((30, 30, 3), 9, np.uint8), np.zeros((100, 100, 3), np.uint8)
    image, made = np.zeros((100, 100, 3), np.uint8), panel((100, 100))
    seen = replace(made, shown=Shown(heat, 1.0), close_up=CloseUp((40, 40, 60, 60), Shown(small[..., 0] * 0.0, 0.0)))
    drawn = pages._drawn(image, image, seen, Look(signed=True), None)
    assert (drawn[0, 0] == pages.PAPER).all()
    assert not (drawn[99, 99] == pages.PAPER).all()
