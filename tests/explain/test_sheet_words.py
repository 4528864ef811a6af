"""What a sheet says of its maps is what they are, and it shows nothing that has no meaning there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxcam.explain import legend, lettering
from boxcam.explain import sheet as pages
from boxcam.explain.render import PERCENTILE, brightest
from tests.explain.made import AGAINST, EVEN, explanation


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is written on sheets, in order."""
    texts: list[str] = []
    write = lettering.write

    def record(page: Any, text: str, *rest: Any) -> int:
        texts.append(text)
        return write(page, text, *rest)

    for module in (pages, legend):
        monkeypatch.setattr(module, "write", record)
    return texts


def page_of(path: str) -> str:
    """A page of the documentation, as one line."""
    return " ".join(Path(path).read_text(encoding="utf-8").split())


def test_the_strongest_colour_of_pixels_is_the_same_in_the_legend_the_code_and_the_docs(written: list[str]) -> None:
    values = np.zeros((10, 100), np.float32)
    values[:2] = np.arange(1, 201, dtype=np.float32).reshape(2, 100)  # 200 positive pixels of 1,000
    assert (values >= brightest(values, PERCENTILE)).sum() == 3  # a hundredth of the 200, and the one at its edge
    replace(explanation(EVEN), layer="image").sheet()
    assert f"100%: hottest {100 - PERCENTILE} % of each map's positive pixels" in written
    assert f"at the hottest {100 - PERCENTILE} % of their positive pixels" in page_of("docs/results.md")


def test_the_share_inside_is_of_all_heat(written: list[str]) -> None:
    """The map is even; the box covers 2x4 of its 4x8 pixels."""
    explanation(EVEN).sheet()
    assert "peak 1, 25% of heat inside" in written
    assert "of heat inside" in page_of("docs/results.md")
    longest = "peak 0.0123, 99% of heat inside"
    assert lettering.text_width("99", 8) + 16 + lettering.text_width(longest, 8) <= pages.NARROWEST


def test_where_all_maps_are_empty_there_is_no_colour_bar(written: list[str]) -> None:
    both = explanation(EVEN, AGAINST).sheet()
    assert "100%: largest value of each map" in written
    written.clear()
    none = explanation(AGAINST, AGAINST).sheet()
    assert not any("largest value" in text or "%" in text for text in written)
    assert none.shape[0] == both.shape[0] - legend.HEIGHT


def test_an_empty_map_has_no_close_up(written: list[str]) -> None:
    large = {"image": np.full((400, 800, 3), 90, np.uint8)}
    replace(explanation(EVEN), **large).sheet()
    assert "close-up, 32 x 16 pixels" in written
    written.clear()
    replace(explanation(AGAINST), **large).sheet()
    assert not any("close-up" in text for text in written)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"score": 0.3}, "no box of score 0.3 or more"),
        ({"score": 0.0}, "no box"),
        ({"score": 0.3, "classifier": True}, "no class of score 0.3 or more"),
        ({"score": 0.25, "classes": ("car",)}, "no such box of score 0.25 or more"),
        ({"score": 0.0, "rank": (7, 9)}, "no box at rank 7 or 9"),
    ],
)
def test_a_picture_without_a_box_says_what_was_asked_for(query: dict[str, Any], said: str, written: list[str]) -> None:
    explanation(**query).sheet()
    assert written[2] == said
    assert lettering.text_width(said, 9) <= pages.NARROWEST
