"""Maps with a sign: two colours, captions and a scale for both, in sheets and overlays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from boxcam.explain import legend
from boxcam.explain import sheet as pages
from boxcam.explain.evidence import Evidence
from boxcam.explain.explanation import Explanation
from tests.explain.made import AGAINST, EVEN, explanation

BOTH = [[4.0, 0.0, 0.0, -2.0]] * 2
"""For on the left, against on the right."""


@pytest.fixture(autouse=True)
def signed() -> Iterator[None]:
    with mock.patch.object(Evidence, "signed", property(lambda self: True)):
        yield


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is written on sheets, in order."""
    texts: list[str] = []
    write = pages.write
    for module in (pages, legend):
        monkeypatch.setattr(
            module, "write", lambda page, text, *rest: (texts.append(text), write(page, text, *rest))[1]
        )
    return texts


def blue(picture: np.ndarray) -> np.ndarray:
    """How much more blue than red pixels are."""
    return picture[..., 0].astype(int) - picture[..., 2]


@pytest.mark.parametrize("style", ["blend", "contours"])
def test_what_speaks_against_is_blue_and_what_speaks_for_is_warm(style: str) -> None:
    found = explanation(BOTH)
    found = replace(found, image=np.full((200, 400, 3), 90, np.uint8))
    parts = replace(found.parts[0][0], grid=replace(found.parts[0][0].grid, cell_height=100, cell_width=100))
    drawn = replace(found, parts=((parts,),)).overlay(outlines=False, style=style)  # type: ignore[arg-type]
    assert blue(drawn[:, :120]).min() < -60
    assert blue(drawn[:, :120]).max() <= 0
    assert blue(drawn[:, 300:]).max() > 60
    assert blue(drawn[:, 300:]).min() >= 0
    assert (drawn[:, 160:240] == 90).all()


def test_one_scale_has_both_signs() -> None:
    """Against is half as strong as for: it hides less of the picture."""
    drawn = explanation(BOTH).overlay(outlines=False).astype(int)
    left, right = (np.abs(drawn[0, x] - 90).sum() for x in (0, 7))
    only = explanation([[0.0, 0.0, 0.0, -2.0]] * 2).overlay(outlines=False).astype(int)
    assert 0 < right < np.abs(only[0, 7] - 90).sum()
    assert left > 0


def test_captions_and_the_bar_say_for_and_against(written: list[str]) -> None:
    explanation(BOTH).sheet()
    assert (
        "peak for 4, 50% inside, peak against 2" in written
    )  # the box has two of the four rows, and all that is for in them
    assert "blue against, orange for; 100%: largest value of each map, for or against" in written
    assert written[-5:] == ["-100%", "-50%", "0%", "50%", "100%"]


def test_where_nothing_is_against_it_is_zero_and_not_less(written: list[str]) -> None:
    explanation(EVEN).sheet()
    assert "peak for 1, 25% inside, peak against 0" in written


def test_the_share_inside_gives_way_where_there_is_no_room(written: list[str]) -> None:
    small = (np.array(BOTH) * 1.2345e-6).tolist()
    found = explanation(small)
    found = replace(found, image=np.full((4000, 800, 3), 90, np.uint8))  # as narrow as a panel can be
    found.sheet()
    assert "peaks +4.94e-06 and -2.47e-06" in written
    written.clear()
    replace(found, image=np.full((4000, 1000, 3), 90, np.uint8)).sheet()
    assert "peaks +4.94e-06 and -2.47e-06" in written
    replace(explanation(BOTH), image=np.full((4000, 800, 3), 90, np.uint8)).sheet()
    assert "peak for 4, peak against 2" in written


def test_a_map_that_is_only_against_is_not_empty(written: list[str]) -> None:
    page = explanation(AGAINST).sheet()
    assert "peak for 0, peak against 1" in written
    assert not any("mpty map" in text for text in written)
    assert blue(page[90:200, 350:]).max() > 60


def test_the_scale_is_the_largest_value_of_either_sign(written: list[str]) -> None:
    """Against is twice as strong as for: it has the strongest colour, for half of it, as the legend says."""
    stronger = [[2.0, 0.0, 0.0, -4.0]] * 2
    drawn = explanation(stronger).overlay(outlines=False).astype(int)
    other = explanation([[2.0, 0.0, 0.0, 0.0]] * 2).overlay(outlines=False).astype(int)
    assert np.abs(drawn[0, 0] - 90).sum() < np.abs(other[0, 0] - 90).sum()
    explanation(stronger).sheet()
    assert any("largest value of each map, for or against" in text for text in written)
    assert "whichever is larger" in " ".join(Path("docs/results.md").read_text(encoding="utf-8").split())


def test_on_a_common_scale_numbers_are_raw(written: list[str]) -> None:
    explanation(BOTH, AGAINST).sheet(scale="common")
    assert written[-5:] == ["-4.00", "-2.00", "0", "2.00", "4.00"]
    words = "blue against, orange for; raw values, one scale: up to the largest value of all maps, for or against"
    assert words in " ".join(written)  # which takes two lines here


def test_several_boxes_show_the_strongest_of_either_sign() -> None:
    found: Explanation = explanation(BOTH, [[-1.0, 0.0, 0.0, -4.0]] * 2)
    together = found.overlay(outlines=False, scale="common")
    assert np.array_equal(together[:, 0], found.overlay(0, outlines=False, scale="common")[:, 0])
    assert np.array_equal(together[:, 7], found.overlay(1, outlines=False, scale="common")[:, 7])


def test_without_a_sign_nothing_is_against() -> None:
    with mock.patch.object(Evidence, "signed", property(lambda self: False)):
        assert (explanation(AGAINST).overlay(outlines=False) == 90).all()
    assert (explanation(EVEN).overlay(outlines=False) != 90).any()
