"""Thumbnails and legend of the page follow the look: colours or lines, a scale of each map or one of the image's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from boxcam.explain.browse import index as indices
from boxcam.explain.browse.card import Card
from boxcam.explain.browse.index import Index
from boxcam.explain.browse.view import draw_view
from boxcam.explain.explanation import Explanation
from boxcam.explain.legend import bar
from boxcam.explain.look import SCALES, STYLES, Look, look
from boxcam.explain.names import PAGE
from tests.explain.made import EVEN, explanation

WEAK = (np.array(EVEN) / 4).tolist()
GREY = np.full((40, 80, 3), 90, np.uint8)


def found(*cells: list[list[float]], **query: Any) -> Explanation:
    """Classes of a grey image: nothing but heat has colours."""
    return replace(explanation(*cells, classifier=True, **query), image=GREY)


def made(of: Explanation, how: Look | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Card], str]:
    """The cards of a page, and the page."""
    cards: list[Card] = []
    card_of = indices.card_of
    monkeypatch.setattr(indices, "card_of", lambda *given: (cards.append(card_of(*given)), cards[-1])[1])
    index = Index(folder)
    index.save(of, "a", look=how)
    index.write()
    return cards, (folder / PAGE).read_text(encoding="utf-8")


def color(card: Card) -> int:
    """How much colour the middle of a thumbnail has."""
    picture = cv2.imdecode(np.frombuffer(card.thumbnail, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return int(np.ptp(picture[10, 10].astype(int)))


@pytest.mark.parametrize("layer", ["neck", "image"])
def test_on_a_common_scale_a_weak_map_is_weak(layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the weak one is drawn first: the scale is known before."""

    for number, cells in enumerate(((WEAK, EVEN), (EVEN, WEAK))):
        both = replace(found(*cells), layer=layer)
        (tmp_path / str(number)).mkdir()
        how = look("blend", "common", fine=both.of_pixels)
        cards, page = made(both, how, tmp_path / str(number), monkeypatch)
        weak, strong = sorted(map(color, cards))
        assert strong > weak + 30
        assert color(cards[number]) == weak
        said = "hottest 1 % of the positive pixels" if both.of_pixels else "largest value"
        assert f"the {said} of all maps of an image. One scale for all classes of an image." in page


def test_otherwise_each_map_has_a_scale_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (weak, strong), page = made(found(WEAK, EVEN), None, tmp_path, monkeypatch)
    assert color(weak) == pytest.approx(color(strong), abs=2)
    assert "the largest value of each map. Each heatmap has a scale of its own." in page


def test_a_map_that_is_rounding_has_no_colours_on_a_common_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = replace(found(EVEN, (np.array(EVEN) * 1e-9).tolist()), method="hirescam")
    both = replace(both, values=np.array([5, 5], np.float32))
    (lit, noise), _ = made(both, look("blend", "common"), tmp_path, monkeypatch)
    assert color(lit) > 60
    assert color(noise) < 8


def test_without_a_box_there_is_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards, page = made(found(), look("blend", "common"), tmp_path, monkeypatch)
    assert cards == []
    assert "No class in 1 image" in page


@pytest.mark.parametrize("signed", [False, True])
def test_by_default_the_sheet_has_the_signs_of_the_page(
    signed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Look] = []
    write = indices.write_files
    monkeypatch.setattr(indices, "write_files", lambda *files: (given.append(files[-1]), write(*files))[1])
    made(found(EVEN, signed=signed), None, tmp_path, monkeypatch)
    assert given == [Look(signed=signed)]


def test_lines_are_drawn_as_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of heat in the middle: its left side is as it was, but for lines at the step."""
    step = found([[1.0, 1.0, 0.0, 0.0]] * 2)
    grid = replace(step.parts[0][0].grid, cell_height=20, cell_width=20)
    step = replace(step, parts=((replace(step.parts[0][0], grid=grid),),))
    (lines,), page = made(step, look("contours", "per-box"), tmp_path, monkeypatch)
    picture = cv2.imdecode(np.frombuffer(lines.thumbnail, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    height, width = picture.shape[:2]
    assert np.abs(picture[height // 4 : -height // 4, width // 8 : width // 3].astype(int) - 90).max() < 12
    assert np.ptp(picture.astype(int), axis=2).max() > 60
    assert page.count("data:image/png") == 1


@pytest.mark.parametrize("signed", [False, True])
def test_the_bar_is_painted_as_maps_are(signed: bool) -> None:
    bars = [bar(Look(style=style, signed=signed), 160, 10) for style in ("blend", "contours")]  # type: ignore[arg-type]
    assert {one.shape for one in bars} == {(10, 160, 3)}
    plain = [(one == 190).all(axis=2).mean() for one in bars]
    assert plain[0] < 0.05
    assert plain[1] > 0.3


def test_every_look_draws_another_thumbnail() -> None:
    values = np.tile(np.linspace(0, 1, 80, dtype=np.float32), (40, 1))
    drawn = [
        draw_view(GREY, values, (0, 0, 80, 40), (90, 180), None, look(style, scale), 2.0 if scale == "common" else None)
        for style in STYLES
        for scale in SCALES
    ]
    assert len({one.tobytes() for one in drawn}) == 4
