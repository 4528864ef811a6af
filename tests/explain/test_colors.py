"""The colours of heat: even in lightness, see-through where there is none, and lines in place of colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from boxcam.errors import ArgumentError, UnknownNameError
from boxcam.explain.colors import LEVELS, STEPS, STRENGTH, hidden, paint, palette
from boxcam.explain.look import Look, look

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
LINES, SIGNED = Look(style="contours"), Look(signed=True)
ROUND = (30 - np.hypot(*np.mgrid[-40:41, -60:61])).clip(0).astype(np.float32) / 30
"""A cone of 1 at its tip, in the middle of 81 x 121 pixels, and 0 from 30 pixels on."""


def lightness(colors: np.ndarray) -> np.ndarray:
    """L* of CIE Lab, 0..100, of colours in BGR."""
    return np.asarray(cv2.cvtColor(np.float32(colors[None] / 255), cv2.COLOR_BGR2Lab)[0, :, 0])


def test_lightness_grows_evenly_with_heat() -> None:
    """By steps of a sixteenth: a map such as jet or turbo goes up and down, and repeats its lightness."""
    light = lightness(palette(signed=False)[STEPS:])
    assert (np.diff(light) > -0.3).all()  # each of 255 steps is less than the rounding of colours to whole numbers
    steps = np.diff(light[:: STEPS // 15])
    assert steps.min() > 2.5
    assert steps.max() < 2 * np.median(steps)
    turbo = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_TURBO)[0]
    assert np.diff(lightness(turbo)[:: STEPS // 15]).min() < -5


def test_for_and_against_are_equally_light_and_two_hues() -> None:
    colors = palette(signed=True)
    against, speaks_for = colors[STEPS - 1 :: -1], colors[STEPS + 1 :]
    assert np.abs(lightness(against) - lightness(speaks_for)).max() < 4  # what the screen's colours do not reach
    assert (np.diff(lightness(speaks_for)[::15]) < 0).all()
    assert (np.diff(lightness(against)[::15]) < 0).all()
    assert (against[:, 0] > against[:, 2]).all()  # blue
    assert (speaks_for[:, 2] > speaks_for[:, 0]).all()  # orange to red


@pytest.mark.parametrize("how", [Look(), SIGNED, LINES, Look(style="contours", signed=True)])
def test_where_there_is_no_heat_the_picture_is_as_it_was(how: Look) -> None:
    heat = np.zeros((40, 60), np.float32)
    assert np.array_equal(paint(PICTURE, heat, how), PICTURE)
    heat[10:20, 10:30] = 1
    drawn = paint(PICTURE, heat, how)
    changed = (drawn != PICTURE).any(axis=2)
    assert changed[10, 12:28].all()
    assert not changed[26:].any()  # a line reaches a few pixels beyond
    assert not changed[:, 36:].any()


def test_heat_hides_the_more_the_hotter_it_is() -> None:
    heat = np.array([[0, 0.25, 0.5, 0.75, 1]], np.float32)
    white, black = (paint(np.full((1, 5, 3), value, np.uint8), heat).astype(float) for value in (255, 0))
    kept = (white - black)[0].mean(axis=1) / 255  # how much of the picture is left
    assert kept == pytest.approx(1 - STRENGTH * np.array([0, 0.4375, 0.75, 0.9375, 1]), abs=0.01)
    assert hidden(-heat).tolist() == hidden(heat).tolist()


def test_the_colour_is_that_of_the_map() -> None:
    heat = np.array([[0.5, 1]], np.float32)
    colors = cv2.applyColorMap(np.array([[128, 255]], np.uint8), cv2.COLORMAP_PLASMA)[0].astype(float)
    share = np.array([[0.75 * 0.85], [0.85]])
    expected = np.array([200, 100, 50]) * (1 - share) + colors * share
    drawn = paint(np.array([[[200, 100, 50]] * 2], np.uint8), heat)[0]
    assert np.abs(drawn - expected).max() <= 1.01


def test_a_large_picture_is_painted_like_its_parts() -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (600, 30, 3), dtype=np.uint8)
    heat = np.float32(np.clip(rng.normal(size=(600, 30)), -1, 1))
    heat[200:300] = 0
    parts = [paint(picture[start : start + 100], heat[start : start + 100], SIGNED) for start in range(0, 600, 100)]
    assert np.array_equal(paint(picture, heat, SIGNED), np.concatenate(parts))


def test_lines_lie_where_heat_has_their_levels() -> None:
    picture = np.full((81, 121, 3), 128, np.uint8)
    drawn = paint(picture, ROUND, LINES)
    row = (drawn != 128).any(axis=2)[40, 61:]  # from the tip to the right
    for level in LEVELS:
        assert row[round(30 * (1 - level)) - 1]
    assert not row[:3].any()
    assert not row[27:].any()
    colors = drawn.reshape(-1, 3).tolist()
    for level in LEVELS:
        assert palette(signed=False)[STEPS + round(level * STEPS)].tolist() in colors


def test_lines_against_are_blue_and_only_drawn_with_a_sign() -> None:
    picture = np.full((81, 121, 3), 128, np.uint8)
    assert np.array_equal(paint(picture, -ROUND, LINES), picture)
    drawn = paint(picture, -ROUND, Look(style="contours", signed=True)).astype(int)
    colored = drawn[np.ptp(drawn, axis=2) > 60]
    assert len(colored) > 100
    assert (colored[:, 0] > colored[:, 2]).all()


def test_lines_of_single_pixels_are_those_of_places() -> None:
    """Of every second pixel: each would have lines of its own."""
    grains = np.zeros((120, 120), np.float32)
    grains[20:60:2, 20:60:2] = 1
    picture = np.full((120, 120, 3), 128, np.uint8)
    places = paint(picture, grains, Look(style="contours", fine=True))
    assert (places[30:50, 30:50] == 128).all()  # between the lines of half and more, which lie at the edge
    assert (places != 128).any()
    assert (places[70:] == 128).all()
    assert not (paint(picture, grains, LINES)[30:50, 30:50] == 128).all()
    assert np.array_equal(paint(picture, np.zeros_like(grains), Look(style="contours", fine=True)), picture)


def test_words_that_are_no_look_are_refused() -> None:
    assert look("contours", "common", True) == Look("contours", "common", True)
    with pytest.raises(UnknownNameError, match="there is no style 'contour'") as failed:
        look("contour", "common")
    assert "contours" in str(failed.value)
    with pytest.raises(UnknownNameError, match="there is no scale"):
        look("blend", "box")
    with pytest.raises(ArgumentError, match=r"style=None is not a word\. Pass 'blend' or 'contours'\."):
        look(None, "common")
