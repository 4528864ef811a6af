"""How pictures name a contrast: in the heading, in captions that are not cut off, and on the page of all boxes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from boxcam.explain import sheet as pages
from boxcam.explain.browse.card import entry_of
from boxcam.explain.explanation import Explanation
from boxcam.explain.lettering import text_width
from boxcam.explain.look import Look
from tests.explain.browse.made import card, written
from tests.explain.made import EVEN, LEFT, explanation

LONG = "pedestrian crossing"


def contrasted(*others: str, names: tuple[str, ...] = (LONG, "stop"), **query: Any) -> Explanation:
    """Two boxes on an image whose pictures are 320 pixels wide, contrasted with these classes."""
    found = explanation(EVEN, LEFT, names=names, signed=True, **query)
    return replace(found, others=others, image=np.full((320, 320, 3), 90, np.uint8))


class Captions:
    """What is written below the pictures of sheets: where it begins, in rows below the picture."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[tuple[int, str]] = []
        write = pages.write
        monkeypatch.setattr(
            pages,
            "write",
            lambda page, text, start, *rest: (
                self.lines.append((start[1], text)),
                write(page, text, start, *rest),
            )[1],
        )

    def of(self, line: int) -> list[str]:
        """All texts in a line below a picture, without numbers and scores."""
        return [text for y, text in self.lines if y == line and not text.replace(".", "").isdigit()]


@pytest.fixture
def captions(monkeypatch: pytest.MonkeyPatch) -> Captions:
    return Captions(monkeypatch)


def test_a_contrast_stands_next_to_its_class_where_there_is_room(captions: Captions) -> None:
    contrasted("no entry", "give way", names=("tram", "stop")).sheet()
    assert captions.of(20) == ["tram against no entry", "stop against give way"]
    assert captions.of(42)[0].startswith("peak for 1, ")


def test_a_contrast_that_is_too_wide_has_a_line_of_its_own_in_all_captions(captions: Captions) -> None:
    page = contrasted("speed limit", "give way").sheet()
    assert captions.of(20) == [LONG, "stop"]
    assert captions.of(42) == ["against speed limit", "against give way"]
    assert sum(text.startswith("peak for ") for text in captions.of(64)) == 2
    assert not any("..." in text for _, text in captions.lines)
    short = contrasted("speed limit", "give way", names=("tram", "stop")).sheet()
    assert page.shape[0] == short.shape[0] + pages.LINE


def test_it_is_a_line_that_the_classes_width_decides(captions: Captions) -> None:
    room = 320 - text_width("1", 8) - 16 - text_width("0.90", 9) - 12
    rival = next("x" * n for n in range(99, 0, -1) if text_width(f"tram against {'x' * n}", 9) <= room)
    contrasted(rival, "y", names=("tram", "stop")).sheet()
    contrasted(rival + "x", "y", names=("tram", "stop")).sheet()
    assert captions.of(20) == [f"tram against {rival}", "stop against y", "tram", "stop"]


def test_a_class_whose_name_cannot_be_drawn_is_told_by_its_number_and_the_note(captions: Captions) -> None:
    contrasted("停", "stop", names=("猫", "tram")).sheet()
    assert captions.of(20) == ["class 2 against another class", "tram against stop"]
    note = "Class names that this font lacks are numbers here; index.html and the .json have them."
    assert note in " ".join(text for _, text in captions.lines)
    captions.lines.clear()
    contrasted("stop", "stop", names=("Fußgänger", "tram")).sheet()
    assert not any("font" in text for _, text in captions.lines)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"against": "3"}, "what speaks for a box's class rather than for no entry"),
        ({"against": "runner-up"}, "what speaks for a box's class rather than for its runner-up"),
        ({"against": "3", "classifier": True}, "what speaks for a class rather than for no entry"),
        ({"against": "3", "at": (1, 2, 3, 4)}, "what speaks for a candidate's class rather than for no entry"),
    ],
)
def test_the_heading_names_the_contrast(query: dict[str, Any], said: str, captions: Captions) -> None:
    found = contrasted("no entry", "no entry", **query)
    found.sheet()
    assert said in [text for _, text in captions.lines]
    page = written([replace(entry_of(found, "a", Look()), cards=[card()])])
    assert f" {said[0].upper()}{said[1:]}.</p>" in page.replace("&#x27;", "'")


def test_where_no_box_is_left_the_contrast_is_named_as_it_was_given() -> None:
    found = explanation(against="stop")
    assert entry_of(found, "a", Look()).asked == ("what speaks for a box's class rather than for stop",)
    assert entry_of(explanation(EVEN), "a", Look()).asked == ()
