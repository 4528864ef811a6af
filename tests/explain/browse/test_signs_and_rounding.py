"""Cards of maps that are rounding, have a sign, or are of pixels: the colours and the words of the sheet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest

from boxcam.explain.browse import card as cards
from boxcam.explain.browse.card import Card, card_of, entry_of
from boxcam.explain.explanation import Explanation
from boxcam.explain.facts import box_facts
from boxcam.explain.legend import strongest_of
from boxcam.explain.look import Look
from boxcam.explain.totals import totals_of
from tests.explain.browse.made import card, entry, written
from tests.explain.made import AGAINST, EVEN, LEFT, explanation


def card_from(found: Explanation) -> Card:
    values = found.map(0)
    facts = box_facts(found, 0, totals_of(values, found.detections.boxes[0]))
    return card_of(found, 0, values, facts, Look(signed=found.signed, fine=found.of_pixels))


def thumbnail(of: Card) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(of.thumbnail, np.uint8), cv2.IMREAD_COLOR)).astype(int)


def page_of(found: Explanation) -> str:
    return written([replace(entry_of(found, "a", Look(signed=found.signed)), cards=[card_from(found)])])


@pytest.mark.parametrize("peak", [1e-9, 1.0])
def test_a_map_that_is_rounding_has_no_colours_and_no_share(peak: float) -> None:
    found = replace(explanation((np.array(LEFT) / 2 * peak).tolist()), method="hirescam", values=np.float32([5]))
    found = replace(
        found, query=replace(found.query, classifier=True)
    )  # so that there is no outline, which has colours
    assert (np.ptp(thumbnail(card_from(found)), axis=2).max() < 8) == (peak < 1e-6)
    boxes = replace(found, query=replace(found.query, classifier=False))
    page = page_of(boxes)
    assert ("no evidence: 1e-09 is rounding" in page) == (peak < 1e-6)
    assert ("of heat inside" in page) == ('data-inside=""' not in page) == (peak == 1)


def test_what_speaks_against_a_box_is_blue_and_is_said() -> None:
    found = explanation(AGAINST, signed=True, classifier=True)
    made = card_from(found)
    assert made.against == 1
    assert (thumbnail(made)[..., 0] - thumbnail(made)[..., 2]).min() > 60
    page = page_of(found)
    assert "peak for 0, peak against 1" in page
    assert "empty map" not in page
    assert "peak for 1, 25% inside, peak against 0<" in page_of(explanation(EVEN, signed=True))


def test_a_card_shows_the_strongest_of_both_signs() -> None:
    seen: list[Any] = []
    view_of = cards.view_of
    found = explanation([[0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, -7.0]], signed=True)
    for signed in (True, False):
        with mock.patch.object(cards, "view_of", lambda *given: (seen.append(given[3]), view_of(*given))[1]):
            card_from(replace(found, query=replace(found.query, signed=signed)))
    values = found.map(0)
    ends = [np.unravel_index(one(values), values.shape) for one in (np.argmax, np.argmin)]
    assert seen == [ends, ends[:1]]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("fine", [False, True])
def test_the_legend_says_what_the_sheets_does(signed: bool, fine: bool) -> None:
    how = Look(signed=signed, fine=fine)
    page = written([entry("a.jpg", look=replace(how, fine=True)), entry("b.jpg", card(), look=how)])
    assert f"the {strongest_of(how)}." in page.replace("&#x27;", "'")
    assert "own peak" not in page
