"""Sheets of every kind: large, tiny, upright and wide images, 1 to 200 boxes, classes, proposals.

What they show is read from their pixels, by colours and places, so that it holds with any version of OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from boxcam.explain import sheet as pages
from boxcam.explain.colors import paint
from boxcam.explain.evidence import Part
from boxcam.explain.explanation import Explanation
from boxcam.explain.look import SCALES, STYLES
from boxcam.explain.render import class_color
from boxcam.types import CellMap, Detections, Grid
from tests.explain.made import EVEN, explanation

LABEL = 1
HOT = paint(np.full((1, 1, 3), 90, np.uint8), np.ones((1, 1), np.float32))[0, 0].astype(int)


def of(shape: tuple[int, int], boxes: np.ndarray, proposals: bool = False, **query: Any) -> Explanation:
    """Boxes of one class on a grey image, each with a map of 4 x 4 cells of which one in the middle is lit.

    Args:
        shape: of the image.
        boxes: x1 y1 x2 y2.
        proposals: whether cells lie in the box only; if not, they are those of the image, and the one at its middle.
        query: what else was asked.
    """
    found = explanation(EVEN, **query)
    count, parts = len(boxes), []
    for x1, y1, x2, y2 in boxes.tolist():
        values = np.zeros((5, 5), np.float32)
        values[2, 2] = 1
        tall, wide = (y2 - y1) / 5, (x2 - x1) / 5
        grid = Grid(y1, x1, tall, wide, (0, 5), (0, 5), (x1, y1, x2, y2) if proposals else None)
        parts.append((Part("p3", CellMap(values, (0, 0)), grid),))
    detections = Detections(
        boxes.astype(np.float32),
        np.linspace(0.99, 0.3, count).astype(np.float32),
        np.full(count, LABEL, np.int64),
        ("pedestrian crossing",) * count,
        np.zeros((count, 2), np.int64),
        np.ones(count, np.float32),
    )
    image = np.full((*shape, 3), 90, np.uint8)
    return replace(found, image=image, detections=detections, values=detections.logits, parts=tuple(parts))


def spread(count: int, shape: tuple[int, int], share: float) -> np.ndarray:
    """Boxes all over an image, each as large as a share of it."""
    starts = np.random.default_rng(0).uniform(0, 1 - share, (count, 2)) * shape[::-1]
    return np.concatenate([starts, starts + np.array(shape[::-1]) * share], axis=1)


@dataclass(frozen=True)
class Kind:
    """A kind of sheet: the image, how many boxes of which size, and how many of the panels are close-ups."""

    shape: tuple[int, int]
    boxes: int
    share: float
    close_ups: bool


KINDS = {
    "large": Kind((3000, 4000), 1, 0.02, True),
    "large, many": Kind((3000, 4000), 10, 0.3, False),
    "200 boxes": Kind((600, 800), 200, 0.05, True),
    "tiny": Kind((32, 32), 1, 0.5, False),
    "upright": Kind((2000, 300), 3, 0.1, True),
    "wide": Kind((120, 1600), 3, 0.4, False),
    "thin": Kind((3, 900), 1, 0.5, False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_box_has_a_panel_with_its_outline_and_its_heat(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture is caught before it is framed: in each but the first a box with a lit middle, and what is said."""
    pictures: list[np.ndarray] = []
    texts: list[tuple[str, int]] = []
    frame, write = pages._frame, pages.write
    monkeypatch.setattr(pages, "_frame", lambda cell, drawn: (pictures.append(drawn.copy()), frame(cell, drawn))[1])
    monkeypatch.setattr(
        pages,
        "write",
        lambda page, text, start, size, *rest: (texts.append((text, size)), write(page, text, start, size, *rest))[1],
    )
    given = KINDS[kind]
    page = of(given.shape, spread(given.boxes, given.shape, given.share)).sheet()
    assert len(pictures) == given.boxes + 1
    for drawn in pictures[1:]:
        outlined = np.argwhere((drawn == class_color(LABEL)).all(axis=2))
        (y1, x1), (y2, x2) = outlined.min(axis=0), outlined.max(axis=0)
        middle = drawn[(y1 + y2) // 2, (x1 + x2) // 2].astype(int)
        if y2 - y1 > 12:  # otherwise its outline is all that it has
            assert np.abs(middle - HOT).max() < 40, (middle, HOT)
        if given.close_ups:
            assert max((y2 - y1) / drawn.shape[0], (x2 - x1) / drawn.shape[1]) > 0.3
            assert (drawn == pages.PAPER).all(axis=2).sum() > 50  # the whole image, in its frame
    said = [text for text, _ in texts]
    assert said.count("pedestrian crossing") + sum(text.startswith("pedestrian cross") for text in said) >= given.boxes
    assert sum(text.startswith("peak ") for text in said) == given.boxes
    assert sum(text.startswith("close-up, ") for text in said) == given.boxes * given.close_ups
    assert min(size for text, size in texts if not text.isdigit()) >= 8  # the pixels of a capital that can be read
    assert max(page.shape) < 7000


def test_the_title_grows_with_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = pages.write
    monkeypatch.setattr(
        pages,
        "write",
        lambda page, text, start, size, *rest: (sizes.append(size), write(page, text, start, size, *rest))[1],
    )
    found = []
    for boxes in (1, 10, 200):
        page = of((600, 800), spread(boxes, (600, 800), 0.3)).sheet()
        found.append((page.shape[1], max(sizes)))
        sizes.clear()
    assert [size for _, size in found] == [13, round(13 * (found[1][0] - 56) / 1400), 26]


def test_the_middle_of_a_proposal_is_lit_and_nothing_outside_of_it() -> None:
    boxes = np.array([[100, 100, 500, 300]])
    page = of((400, 600), boxes, proposals=True).sheet()
    grey = (page == 90).all(axis=2)
    inside = of((400, 600), boxes).sheet()
    # The image is shown twice at 480 x 320 pixels; a proposal's map ends at its box.
    outline = np.argwhere((page == class_color(LABEL)).all(axis=2))
    last = outline[outline[:, 1] > 600]
    (y1, x1), (y2, x2) = last.min(axis=0), last.max(axis=0)
    assert grey[y1 - 20 : y1 - 1, x1:x2].all()
    assert grey[y1:y2, x2 + 2 : x2 + 20].all()
    assert page.shape == inside.shape


def test_a_classifier_has_its_image_without_boxes() -> None:
    found = of((300, 400), np.array([[0, 0, 400, 300]] * 3), classifier=True)
    page = found.sheet()
    assert (page[86:386, 28:428] == 90).all()  # below a head of 28 + 27 + 23 + 8
    assert np.abs(page[86 + 150, 448 + 200].astype(int) - HOT).max() < 12
    colored = (page == class_color(LABEL)).all(axis=2)
    assert not colored[86:386].any()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("scale", SCALES)
def test_every_look_draws_something_else(style: Any, scale: Any) -> None:
    found = of((300, 400), spread(3, (300, 400), 0.3))
    parts = [replace(part, cells=CellMap(part.cells.values * (k + 1), (0, 0))) for k, (part,) in enumerate(found.parts)]
    found = replace(found, parts=tuple((part,) for part in parts))
    others = [(s, c) for s in STYLES for c in SCALES if (s, c) != (style, scale)]
    page = found.sheet(style=style, scale=scale)
    for other in others:
        drawn = found.sheet(style=other[0], scale=other[1])  # type: ignore[arg-type]
        assert drawn.shape == page.shape
        assert not np.array_equal(drawn, page)
    assert np.array_equal(found[2].overlay(style=style), found[2].overlay(style=style, scale="common"))  # the strongest
    assert not np.array_equal(found[0].overlay(style=style), found[0].overlay(style=style, scale="common"))


def test_an_image_of_one_colour_stays_as_it_is_where_nothing_is_lit() -> None:
    """Also one that is very bright, very dark, or of one strong colour."""
    for color in ((255, 255, 255), (0, 0, 0), (0, 0, 255), (255, 120, 0)):
        found = of((300, 400), np.array([[150, 100, 250, 200]]))
        image = np.broadcast_to(np.array(color, np.uint8), (300, 400, 3)).copy()
        drawn = replace(found, image=image).overlay(outlines=False)
        changed = (drawn != image).any(axis=2)
        assert not changed[:100].any()
        assert not changed[:, 250:].any()
        middle = drawn[150, 200].astype(int) - np.array(color)
        assert np.abs(middle).max() > 100
