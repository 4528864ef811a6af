"""The place that was asked about is drawn, dashed, wherever its candidates are; and what these are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import boxcam
from boxcam.explain import sheet as pages
from boxcam.explain.browse import card as cards
from boxcam.explain.browse.card import card_of, entry_of
from boxcam.explain.candidate import Candidate
from boxcam.explain.explanation import Explanation
from boxcam.explain.facts import box_facts
from boxcam.explain.look import Look
from boxcam.explain.nouns import question, standing
from boxcam.explain.place import WHITE, dashed, hull, mark
from boxcam.explain.totals import totals_of
from boxcam.types import Corners
from tests.explain.browse.made import card, written
from tests.explain.made import EVEN, LEFT, explanation

SHAPE = (400, 600)
BOX, PLACE = (290, 190, 310, 210), (320, 180, 350, 200)


def candidate(reason: Any = "class", name: str = "stop", **figures: float) -> Candidate:
    why = "Another class won."
    return Candidate(name, 0, BOX, 0.1, 0.05, -3.0, reason, why, figures, origin=np.zeros(2, np.int64))


def asked(*reasons: str, place: Corners = PLACE, box: Corners = BOX, **query: Any) -> Explanation:
    """Candidates on a grey image, with a map whose cells are larger than all of it."""
    found = explanation(*[EVEN] * len(reasons), at=place, **query)
    boxes = np.array([box] * len(reasons), np.float32)
    return replace(
        found,
        image=np.full((*SHAPE, 3), 90, np.uint8),
        detections=replace(found.detections, boxes=boxes),
        candidates=tuple(candidate(reason, f"class {k}") for k, reason in enumerate(reasons)),
    )


def is_dashed(picture: np.ndarray, box: tuple[int, int, int, int]) -> bool:
    """Whether the upper side of a place is white, with gaps, in a picture."""
    x1, y1, x2, _ = box
    white = (picture[y1, x1 : x2 + 1] == WHITE).all(axis=1)
    return bool(0.3 < white.mean() < 0.8 and white[0])


def caught(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The pictures of sheets, before they are framed."""
    pictures: list[np.ndarray] = []
    frame = pages._frame
    monkeypatch.setattr(pages, "_frame", lambda cell, drawn: (pictures.append(drawn.copy()), frame(cell, drawn))[1])
    return pictures


def test_dashes_are_white_between_dark_lines_and_leave_the_picture_between_them() -> None:
    picture = np.full((100, 120, 3), 77, np.uint8)
    dashed(picture, (10, 20, 109, 79))
    for y in (20, 79):
        white = (picture[y, 10:110] == 255).all(axis=1)
        assert white[:8].all()
        assert (picture[y, 18:24] == 77).all()
        assert white[14:22].all()
    assert (picture[40:52, 10] == 255).all(axis=1).sum() in range(5, 9)
    assert (picture[19, 10:18] == 0).all()
    assert (picture[18] == 77).all()
    assert (picture[30:70, 20:100] == 77).all()


@pytest.mark.parametrize("box", [(5, 5, 5, 5), (0, 0, 119, 99), (5, 5, 9, 60), (0, 3, 2, 4)])
def test_any_place_can_be_drawn(box: tuple[int, int, int, int]) -> None:
    picture = np.full((100, 120, 3), 77, np.uint8)
    dashed(picture, box)
    assert (picture[box[1], box[0]] == 255).all()


def test_a_place_that_leaves_the_image_ends_at_its_edge() -> None:
    picture = np.full((100, 120, 3), 77, np.uint8)
    mark(picture, (-50, -50, 30, 25), (0, 0, 60, 50))  # on a picture of half the image, twice as large
    assert is_dashed(picture[::-1], (0, 99 - 49, 59, 0))
    untouched = picture.copy()
    mark(picture, None, (0, 0, 60, 50))
    assert (picture == untouched).all()


def test_a_box_and_a_place_together() -> None:
    assert hull((1, 2, 3, 4), None) == (1, 2, 3, 4)
    assert hull((1, 2, 3, 4), (0, 3, 2, 9)) == (0, 2, 3, 9)


def test_the_sheet_draws_it_on_the_overview_and_in_close_ups_that_show_it_and_the_box(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = caught(monkeypatch)
    asked("class").sheet()
    overview, close_up = pictures  # of 480 x 320 pixels
    assert is_dashed(overview, (256, 144, 279, 159))
    # Box and place together are 60 x 30 pixels, so the close-up has three times 60 columns of 600, 180 x 120 pixels.
    x1, y1, scale = 320 - 90, 195 - 60, 480 / 180
    x, y = round((PLACE[0] - x1) * scale), round((PLACE[1] - y1) * scale)
    assert is_dashed(close_up, (x, y, x + round(30 * scale) - 1, 0))


def test_the_sheet_draws_it_on_the_whole_image_where_box_and_place_are_far_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = caught(monkeypatch)
    asked("nothing", place=(10, 20, 60, 80)).sheet()
    for drawn in pictures:
        assert drawn.shape == (320, 480, 3)
        assert is_dashed(drawn, (8, 16, 47, 0))


def test_without_a_question_nothing_is_dashed(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = caught(monkeypatch)
    found = asked("class")
    replace(found, candidates=(), query=replace(found.query, at=None)).sheet()
    assert not any((drawn == WHITE).all(axis=2)[:60].any() for drawn in pictures[:1])


def test_the_small_picture_of_the_whole_image_does_not_cover_the_place() -> None:
    seen: list[Any] = []
    locator = pages._locator
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pages, "_locator", lambda *given: (seen.append(given[-1]), locator(*given))[1])
        asked("class").sheet()
    scale = 480 / 180
    assert seen == [(round(60 * scale), round(45 * scale), round(120 * scale) - 1, round(75 * scale) - 1)]


def test_the_pages_thumbnail_shows_both(monkeypatch: pytest.MonkeyPatch) -> None:
    views: list[Any] = []
    drawn_view = cards.draw_view
    monkeypatch.setattr(cards, "draw_view", lambda *given: (views.append(given[2]), drawn_view(*given))[1])
    for place in (PLACE, (10, 20, 60, 80)):
        found = asked("class", place=place)
        values = found.map(0)
        facts = box_facts(found, 0, totals_of(values, found.detections.boxes[0]))
        made = card_of(found, 0, values, facts, Look())
        x1, y1, x2, y2 = views.pop()
        assert x1 <= min(place[0], BOX[0])
        assert y1 <= min(place[1], BOX[1])
        assert x2 >= max(place[2], BOX[2])
        assert y2 >= max(place[3], BOX[3])
        thumbnail = cv2.imdecode(np.frombuffer(made.thumbnail, np.uint8), cv2.IMREAD_COLOR)
        assert thumbnail is not None
        scale = thumbnail.shape[1] / (x2 - x1)
        row = thumbnail[round((place[1] - y1) * scale) :][:2, round((place[0] - x1) * scale) :].mean(axis=(0, 2))
        assert row[: round((place[2] - place[0]) * scale)].max() > 170


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([candidate("reported", by=2.0, by_iou=1.0)], "1 candidate, reported"),
        ([candidate("class")], "1 candidate, not reported"),
        ([candidate("suppressed", by=1.0, by_iou=0.7)], "1 candidate, not reported"),
        ([candidate("class", by=1.0, by_iou=0.9)], "1 candidate, reported below score 0.3"),
        ([candidate("threshold", threshold=0.3, by_iou=0.9)], "1 candidate, reported below score 0.3"),
        ([candidate("threshold"), candidate("rank")], "2 candidates, not reported"),
        ([candidate("reported", by_iou=1.0), candidate("rank")], "2 candidates, 1 not reported"),
        ([candidate("class", by_iou=0.9), candidate("rank")], "2 candidates, 1 not reported"),
        ([candidate("reported"), candidate("class", by_iou=0.9)], "2 candidates, 1 reported below score 0.3"),
    ],
)
def test_how_candidates_stand(found: list[Candidate], said: str) -> None:
    assert standing(found, 0.3) == said


def test_sheet_and_page_call_them_candidates_and_say_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    write = pages.write
    monkeypatch.setattr(pages, "write", lambda page, text, *rest: (texts.append(text), write(page, text, *rest))[1])
    found = asked("class", "suppressed", place=(320, 180.5, 350, 200))
    found.sheet()
    assert texts[2] == "at 320,180.5,350,200 in image pixels, drawn dashed"
    assert texts[3:5] == ["class 0: another class won.", "class 1: another class won."]  # a line each
    assert "2 candidates, not reported" in texts
    page = written([replace(entry_of(found, "a", Look()), cards=[card(), card()])])
    for said in (
        "<h1>2 candidates in 1 image</h1>",
        "At 320,180.5,350,200 in image pixels, drawn dashed.",
        "candidate 2 of 2",
        '<h2 class="unseen">Candidates</h2>',
        "No candidate fits.",
    ):
        assert said in page
    assert question(explanation(LEFT)) == []


def test_of_a_real_model_what_is_said_is_so(signs: Path, signs_model: boxcam.Model) -> None:
    """At a no-entry sign: a class that was reported below the score asked for, and one that was not reported there."""
    street, place = signs / "images" / "street.jpg", (24, 62, 108, 150)
    both = {
        name: signs_model.explain(street, at=place, classes=name).candidates
        for name in ("stop", "give way", "no entry")
    }
    assert [standing(found, 0.3).partition(", ")[2] for found in both.values()] == [
        "reported below score 0.3",
        "not reported",
        "reported",
    ]
    found = signs_model.detect(cv2.imread(str(street)))
    there = np.abs(found.boxes - np.float32(place)).max(axis=1) < 20
    assert {name for name, near in zip(found.names, there, strict=True) if near} == {"stop", "no entry"}
