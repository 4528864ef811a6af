"""Where everything lies on a sheet, pixel by pixel, worked out by hand for two boxes of which one is small."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from boxcam.explain import legend
from boxcam.explain import sheet as pages
from boxcam.explain.colors import paint
from boxcam.explain.lettering import shorten, text_width
from boxcam.explain.look import Look
from boxcam.explain.panel import CloseUp, Panel, Shown, resampled
from boxcam.explain.render import class_color
from boxcam.explain.sheet import Words, sheet

INK, MUTED, FRAME, PAPER = (33, 30, 28), (125, 116, 110), [238, 236, 234], (255, 255, 255)
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (300, 400, 3), dtype=np.uint8)
HEAT = RNG.random((2, 300, 400), dtype=np.float32)
VIEW = (170, 80, 250, 140)
SIZE = (300, 400)
SMALLER = RNG.random((90, 120), dtype=np.float32)
LARGE = Panel((10, 20, 110, 220), 2, "tram", 0.876, 12.345, Shown(HEAT[0], 1), inside=0.456)
SMALL = Panel((200, 100, 230, 120), 7, "car", 0.5, 0.25, Shown(HEAT[1], 1), CloseUp(VIEW, Shown(SMALLER, 1)))
WORDS = Words("street.jpg", "Grad-CAM of neck", "of a quantized model", "the peak")


class Drawn:
    """What is drawn on sheets, in order, and left out of them: texts, outlines; tags have places of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[tuple[Any, ...]] = []
        self.outlines: list[tuple[Any, ...]] = []
        self.tags: list[Any] = []
        self.kept: list[Any] = []  # so that no two have the same address
        monkeypatch.setattr(pages, "write", self.write)
        monkeypatch.setattr(legend, "write", self.write)
        monkeypatch.setattr(pages, "outline", self.outline)
        monkeypatch.setattr(pages, "place_tags", self.place)

    def write(self, page: Any, text: str, start: tuple[int, int], size: int, color: Any) -> int:
        self.kept.append(page)
        self.texts.append((page, text, start, size, color))
        return text_width(text, size)

    def outline(self, page: Any, box: Any, color: Any) -> None:
        self.outlines.append((page.shape, box, color))

    def place(self, *given: Any) -> Any:
        self.tags.append(given)
        return [(40 * number, 30 * number, 0, 0) for number in range(len(given[0]))]

    def on(self, page: Any) -> list[tuple[Any, ...]]:
        """The texts with their places on a page; of those on a picture of its own, on that."""
        return [(text, *at(page, part, start), size, color) for part, text, start, size, color in self.texts]


def at(page: Any, part: Any, start: tuple[int, int]) -> tuple[int, int]:
    if not np.may_share_memory(page, part):
        return start
    offset = part.__array_interface__["data"][0] - page.__array_interface__["data"][0]
    return start[0] + offset % page.strides[0] // 3, start[1] + offset // page.strides[0]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    return Drawn(monkeypatch)


def badge(label: int) -> Any:
    """The colour of a number: dark on what is bright."""
    blue, green, red = class_color(label)
    return INK if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else PAPER


def test_every_text_has_its_place(drawn: Drawn) -> None:
    # Slots of 400 + 20 by 300 + 76 + 20, three in a row, below a head of 28 + 27 + 23 + 23 + 8 = 109. The second slot
    # begins at 28 + 420 = 448 and ends at 848, the third begins at 868. The colour bar has 56 rows, which begin below
    # the slots, at 109 + 396 = 505.
    page = sheet(IMAGE, [LARGE, SMALL], WORDS)
    assert page.shape == (109 + 396 + 56 + 28 - 20, 3 * 420 - 20 + 56, 3)
    one = text_width("1", 8) + 8 + 8  # where what follows a number begins
    assert drawn.on(page) == [
        ("street.jpg", 28, 41, 13, INK),
        ("Grad-CAM of neck", 28, 64, 9, MUTED),
        ("of a quantized model", 28, 87, 9, MUTED),
        ("2", 44, 42, 8, badge(7)),  # on the picture, the best number last
        ("1", 4, 12, 8, badge(2)),
        ("2 boxes", 28, 429, 9, INK),
        ("400 x 300 pixels", 28, 451, 8, MUTED),
        ("1", 452, 427, 8, badge(2)),
        ("tram", 448 + one, 429, 9, INK),
        ("0.88", 848 - text_width("0.88", 9), 429, 9, INK),
        ("peak 12.3, 46% of heat inside", 448 + one, 451, 8, MUTED),
        ("2", 872, 427, 8, badge(7)),
        ("car", 868 + one, 429, 9, INK),
        ("0.50", 1268 - text_width("0.50", 9), 429, 9, INK),
        ("peak 0.25", 868 + one, 451, 8, MUTED),
        ("close-up, 80 x 60 pixels", 868 + text_width("2", 8) + 16, 473, 8, MUTED),
        ("100%: the peak", 28, 515, 8, MUTED),
        ("0%", 28, 553, 8, MUTED),
        *(
            (f"{share}%", 28 + round(share / 100 * 299) - text_width(f"{share}%", 8) // 2, 553, 8, MUTED)
            for share in (25, 50, 75, 100)
        ),
    ]


def test_every_picture_has_its_place_and_its_boxes(drawn: Drawn) -> None:
    page = sheet(IMAGE, [LARGE, SMALL], WORDS)
    assert (page[109:409, 448:848] == paint(IMAGE, HEAT[0])).all()
    part = paint(np.asarray(resampled(IMAGE[80:140, 170:250], SIZE), np.uint8), HEAT[1])
    small = paint(np.asarray(resampled(IMAGE, (90, 120)), np.uint8), SMALLER)
    small[23:43, [50, 75]] = small[[23, 42], 50:76] = 0  # three tenths of 170 to 250 and of 80 to 140, and dark around
    small[24:42, [51, 74]] = small[[24, 41], 51:75] = PAPER
    corners = [(206, 276), (206, 0), (0, 276), (0, 0)]
    y, x = min(corners, key=lambda at: HEAT[1][at[0] :, at[1] :][:94, :124].sum())
    part[y : y + 94, x : x + 124] = PAPER
    part[y + 2 : y + 92, x + 2 : x + 122] = small
    assert (page[109:409, 868:1268] == part).all()
    first = page[109:409, 28:428].copy()
    for label, x, y in ((2, 0, 0), (7, 40, 30)):
        patch = first[y : y + 16, x : x + text_width("1", 8) + 8]
        assert (patch == class_color(label)).all()
        patch[:] = IMAGE[y : y + 16, x : x + patch.shape[1]]
    assert (first == IMAGE).all()
    size = (300, 400, 3)
    assert drawn.outlines == [
        (size, (200, 100, 229, 119), class_color(7)),
        (size, (10, 20, 109, 219), class_color(2)),
        (size, (10, 20, 109, 219), class_color(2)),
        (size, (150, 100, 299, 199), class_color(7)),  # five times as large
    ]
    number = text_width("1", 8) + 8, 16
    assert drawn.tags == [([(9, 19, 111, 221), (199, 99, 231, 121)], [number, number], (300, 400))]


def test_what_is_between_is_paper_and_the_bar_is_that_of_the_colours(drawn: Drawn) -> None:
    page = sheet(IMAGE, [LARGE, SMALL], WORDS)
    steps = np.tile(np.linspace(0, 1, 300, dtype=np.float32), (14, 1))
    assert (page[523:537, 28:328] == paint(np.full((14, 300, 3), 190, np.uint8), steps)).all()
    kept = np.ones(page.shape[:2], bool)
    kept[523:537, 28:328] = False
    for tick in (0, 75, 150, 224, 299):
        assert (page[537:541, 28 + tick] == MUTED).all()
        kept[537:541, 28 + tick] = False
    for x, y in ((28, 109), (448, 109), (868, 109)):
        kept[y : y + 300, x : x + 400] = False
    for label, x, y in ((2, 448, 109 + 306), (7, 868, 109 + 306)):
        patch = page[y : y + 16, x : x + text_width("1", 8) + 8]
        assert (patch == class_color(label)).all()
        kept[y : y + 16, x : x + patch.shape[1]] = False
    assert (page[kept] == PAPER).all()


def test_a_thin_picture_stands_in_the_middle_of_its_frame(drawn: Drawn) -> None:
    image = np.full((480, 96, 3), 7, np.uint8)
    panel = Panel((0, 0, 9, 9), 2, "tram", 0.5, 0.0, Shown(np.zeros((480, 96), np.float32), 0))
    page = sheet(image, [panel], Words("a"))
    # A head of 28 + 27 + 8 = 63; both slots are 250 wide, next to each other, and the second begins at 28 + 270.
    assert page.shape == (63 + 480 + 54 + 28, 2 * 270 - 20 + 56, 3)
    for left in (28, 298):
        frame = page[63:543, left : left + 250]
        assert (frame[:, :77] == FRAME).all()
        assert (frame[:, 173:] == FRAME).all()
        assert (frame[20:, 77:173] == 7).all()
    words = [text for text, *_ in drawn.on(page)]
    assert words == ["a", "1", "1 box", "96 x 480 pixels", "1", "tram", "0.50", "empty map: no positive value"]


def test_of_classes_of_the_whole_image_no_box_is_drawn(drawn: Drawn) -> None:
    page = sheet(IMAGE, [LARGE, SMALL], Words("a", classifier=True))
    assert (drawn.tags, drawn.outlines) == ([], [((300, 400, 3), (150, 100, 299, 199), class_color(7))])
    assert [text for text, *_ in drawn.on(page)][1] == "2 classes"
    assert (page[63:363, 28:428] == IMAGE).all()


@pytest.mark.parametrize(
    ("count", "size", "font"), [(8, (300, 400), 8), (9, (674, 820), 8), (29, (644, 780), 8), (30, (524, 620), 6)]
)
def test_from_nine_boxes_on_the_first_picture_is_larger_and_from_thirty_on_its_numbers_smaller(
    count: int, size: tuple[int, int], font: int, drawn: Drawn
) -> None:
    shown = {8: (300, 400), 9: (300, 400), 29: (285, 380), 30: (225, 300)}[count]
    panel = Panel((0, 0, 400, 300), 2, "tram", 0.5, 1.0, Shown(np.zeros(shown, np.float32), 1))
    page = sheet(IMAGE, [panel] * count, Words("a"))
    ((boxes, sizes, picture),) = drawn.tags
    scale = min((size[0]) / 300, size[1] / 400)
    assert picture == ((round(300 * scale), round(400 * scale)) if count > 8 else (300, 400))
    assert boxes == [(-1, -1, picture[1] + 1, picture[0] + 1)] * count
    assert sizes[0] == (text_width("1", font) + font, 2 * font)
    assert sizes[-1] == (text_width(str(count), font) + font, 2 * font)
    if count == 9:  # 674 - 615 = 59 rows are left, 29 of them above
        larger = cv2.resize(IMAGE, (820, 615), interpolation=cv2.INTER_LINEAR)
        # A page of five columns is 2,080 pixels wide, its title 19 pixels high, and its head 28 + 19 + 21 + 8 = 76.
        assert (page[76 + 29 + 340 : 76 + 29 + 615, 28 : 28 + 820] == larger[340:]).all()
        assert (page[76 + 29 + 615 : 76 + 674, 28 : 28 + 820] == FRAME).all()


@pytest.mark.parametrize(("width", "length", "shown"), [(900, 300, 5), (250, 221, 5), (120, 91, 2)])
def test_a_bar_is_shorter_on_a_narrow_page(width: int, length: int, shown: int, drawn: Drawn) -> None:
    page = np.full((60, width, 3), 255, np.uint8)
    legend.legend(page, "peak", Look(), None)
    text, *ticks = drawn.on(page)
    assert text_width(text[0], 8) <= width
    assert [word for word, *_ in ticks] == ["0%", "25%", "50%", "75%", "100%"][:: 1 if shown == 5 else 4]
    bar = (page[24] != 255).any(axis=1)
    assert abs(int(bar.sum()) - length) <= 3
    assert bar[: bar.sum()].all()
    assert all(x >= 0 and x + text_width(word, 8) <= width for word, x, *_ in ticks)


def test_what_a_bar_says_takes_two_lines_on_a_narrow_page(drawn: Drawn) -> None:
    look, said = Look(signed=True), legend.strongest_of(Look(signed=True))
    assert [legend.height(said, look, width) for width in (900, 300)] == [legend.HEIGHT, legend.HEIGHT + 18]
    page = np.full((legend.HEIGHT + 18, 300, 3), 255, np.uint8)
    legend.legend(page, said, look, None)
    (first, *one), (second, *other), *ticks = drawn.on(page)
    assert f"{first} {second}" == f"blue against, orange for; 100%: {said}"
    assert (one[:2], other[:2]) == ([0, 10], [0, 28])
    assert {y for _, _, y, *_ in ticks} == {34 + 14 + 18}


@pytest.mark.parametrize(
    ("peak", "ticks"),
    [
        (1.4640001, ["0", "0.366", "0.732", "1.10", "1.46"]),  # the last but one is 1.098
        (4.0, ["0", "1.00", "2.00", "3.00", "4.00"]),
        (1000.0, ["0", "250", "500", "750", "1.00e+03"]),
        (2e-6, ["0", "5.00e-07", "1.00e-06", "1.50e-06", "2.00e-06"]),
    ],
)
def test_raw_values_of_a_bar_have_equally_many_digits(peak: float, ticks: list[str], drawn: Drawn) -> None:
    page = np.full((60, 900, 3), 255, np.uint8)
    legend.legend(page, "largest", Look(), peak)
    assert [word for word, *_ in drawn.on(page)][1:] == ticks


@pytest.mark.parametrize(
    ("box", "place"),
    [((-5, 3), (0, 3)), ((395, 297), (400 - 8 - text_width("12", 8), 284)), ((7, -3), (7, 0)), ((50, 60), (50, 60))],
)
def test_a_number_is_kept_on_the_page(box: tuple[int, int], place: tuple[int, int]) -> None:
    page = np.zeros((300, 400, 3), np.uint8)
    right = pages._badge(page, "12", box, 8, (1, 2, 3))
    rows, columns = np.nonzero((page == (1, 2, 3)).all(-1))
    assert (columns.min(), rows.min(), rows.max()) == (*place, place[1] + 15)
    assert right == columns.max() + 1 == place[0] + text_width("12", 8) + 8


@pytest.mark.parametrize(
    ("color", "ink"),
    [((255, 255, 255), INK), ((0, 0, 0), PAPER), ((0, 239, 0), INK), ((0, 238, 0), PAPER), ((255, 0, 255), PAPER),
     ((255, 60, 255), INK), ((0, 110, 255), INK), ((0, 108, 255), PAPER), ((255, 190, 0), INK), ((255, 188, 0), PAPER)],
)  # fmt: skip
def test_a_number_is_dark_on_what_is_bright(color: Any, ink: Any, drawn: Drawn) -> None:
    pages._badge(np.zeros((40, 90, 3), np.uint8), "1", (0, 0), 8, color)
    assert [one[-1] for one in drawn.texts] == [ink]


def test_captions_of_what_does_not_depend_on_the_layer_and_of_names_that_cannot_be_drawn(drawn: Drawn) -> None:
    from dataclasses import replace

    page = sheet(IMAGE, [replace(LARGE, depends=False, name="猫")], Words("a"))
    texts = [text for text, *_ in drawn.on(page)]
    assert "does not depend on this layer" in texts
    assert "class 2" in texts
    assert not any("peak" in text for text in texts[:-1])
    with pytest.raises(ValueError, match=r"^map 2: \[300, 399\] for a picture of \[300, 400\]$"):
        sheet(IMAGE, [LARGE, replace(SMALL, shown=Shown(HEAT[0][:, 1:], 1))], Words("a"))


@pytest.mark.parametrize("width", [110, 140, 171])
def test_captions_that_are_too_long_end_before_the_score_and_at_the_edge(width: int, drawn: Drawn) -> None:
    from dataclasses import replace

    cell = np.zeros((100, width, 3), np.uint8)
    pages._caption(cell, replace(LARGE, name="a very long name of a class" * 3), 1, False)
    after, score = text_width("1", 8) + 16, text_width("0.88", 9)
    _, name, _, words = (text for text, *_ in drawn.on(cell))
    assert name == shorten("a very long name of a class" * 3, width - after - score - 12, 9)
    assert words == shorten("peak 12.3, 46% of heat inside", width - after, 8)
    assert name.endswith("...")
    assert words.endswith("...")
