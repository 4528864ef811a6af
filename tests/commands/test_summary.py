"""What `boxcam explain` prints of a picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from boxcam.commands.summary import summary, total
from boxcam.explain.evidence import LeftOut
from tests.explain.made import explanation


def test_where_nothing_was_written_no_folder_is_named() -> None:
    assert total(0, 0, 1, Path("out"), "box") == "wrote nothing: 1 picture given, none explained"
    assert total(0, 0, 3, Path("out"), "box") == "wrote nothing: 3 pictures given, none explained"


def test_a_summary_tells_boxes_of_other_levels_from_those_without_evidence() -> None:
    nothing = [[0.0] * 4] * 2
    found = explanation(nothing, nothing, score=0.3)
    found = dataclasses.replace(found, parts=(found.parts[0], ()))
    left = "4 others left out"
    assert summary(found) == (
        "2 boxes, 1 with an empty map (gradcam found nothing at neck for it; try --method hirescam),"
        f" 1 not depending on neck, {left}"
    )


ONE = [[1.0] * 4] * 2


def left_out(why: LeftOut, *cells: list[list[float]], **query: Any) -> str:
    """The summary of an image of which boxes were left out for these reasons."""
    found = explanation(*cells, **query)
    return summary(dataclasses.replace(found, left_out=why, other_boxes=sum(dataclasses.astuple(why))))


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (LeftOut(), "1 box"),
        (LeftOut(score=1), "1 box, 1 other left out (below score 0.3)"),
        (LeftOut(top=3), "1 box, 3 others left out (beyond --top 1)"),
        (LeftOut(classes=2), "1 box, 2 others left out (of other classes)"),
        (LeftOut(ranks=2), "1 box, 2 others left out (at other ranks)"),
        (LeftOut(classes=2, score=1), "1 box, 3 others left out (2 of other classes, 1 below score 0.3)"),
    ],
)
def test_a_summary_tells_what_left_boxes_out(why: LeftOut, said: str) -> None:
    assert left_out(why, ONE, score=0.3, top=1) == said


@pytest.mark.parametrize(
    ("why", "query", "said"),
    [
        (
            LeftOut(score=4),
            {"score": 0.3},
            "no box with a score of at least 0.3, 4 others left out (below score 0.3); --score 0 shows boxes of any"
            " score",
        ),
        (
            LeftOut(score=1),
            {"score": 0.3, "classifier": True},
            "no class with a score of at least 0.3, 1 other left out (below score 0.3); --rank 1 shows the best one,"
            " --score 0 classes of any score",
        ),
        (
            LeftOut(classes=3),
            {"score": 0.3, "classes": ("cat",)},
            "no box of those asked for with a score of at least 0.3, 3 others left out (of other classes)",
        ),
        (LeftOut(), {"score": 0.3}, "no box with a score of at least 0.3, nor any other that the bundle reports"),
        (LeftOut(ranks=2), {"score": 0.0, "rank": (99,)}, "no box at rank 99, as there are only 2 boxes"),
        (LeftOut(ranks=1), {"score": 0.0, "rank": (8, 9)}, "no box at rank 8 or 9, as there is only 1 box"),
        (
            LeftOut(classes=5),
            {"score": 0.0, "rank": (1,), "classes": ("cat",)},
            "no box at rank 1, as there is no box of those asked for",
        ),
        (
            LeftOut(ranks=3, score=1),
            {"score": 0.5, "rank": (1,)},
            "no box at rank 1 with a score of at least 0.5, 4 others left out (3 at other ranks, 1 below score 0.5)",
        ),
    ],
)
def test_a_summary_tells_why_there_is_nothing(why: LeftOut, query: dict[str, Any], said: str) -> None:
    assert left_out(why, **query) == said


def test_a_summary_tells_what_is_not_there() -> None:
    left = "4 others left out"
    assert summary(explanation(ONE, score=0.0, rank=(2, 9, 12))) == f"1 box, none at rank 9 or 12, {left}"
    assert (
        summary(explanation(ONE, score=0.5, rank=(1, 2)))
        == f"1 box, none at rank 2 with a score of at least 0.5, {left}"
    )
    assert summary(explanation(ONE, score=0.0, rank=(2,))) == f"1 box, {left}"
    assert summary(explanation(ONE, score=0.0, rank=(1, 2), top=1)) == f"1 box, {left}"  # the other one may be there
    assert summary(explanation(ONE, score=0.3, classifier=True)).startswith("1 class, 4 others")
    assert summary(explanation(ONE, ONE, score=0.3, classifier=True)).startswith("2 classes, 4 others")
