"""What a comparison says of colours: what the strongest stands for, and where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import boxcam
from boxcam.commands.demo import DATA
from boxcam.explain import rounding
from boxcam.explain.comparison import body, grid
from boxcam.explain.comparison.compare import Comparison, compare
from boxcam.explain.evidence import Evidence
from boxcam.explain.options import Options


@pytest.fixture(scope="module")
def model() -> boxcam.Model:
    return boxcam.load(DATA / "signs", threads=1)


@pytest.fixture(scope="module")
def cat() -> Path:
    return DATA / "images" / "cat.jpg"


def made(model: boxcam.Model, cat: Path) -> Comparison:
    return compare(model.runtime, cat, Options(), methods=["hirescam"], layers=["neck"])


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([False], "0 largest value of each map."),
        ([True], "0 hottest 1 % of each map's positive pixels."),
        ([True, False], "largest value of each map; of maps of pixels, hottest 1 % of each map's positive pixels."),
    ],
)
def test_the_legend_tells_of_the_maps_that_are_there(
    model: boxcam.Model, cat: Path, kinds: list[bool], said: str
) -> None:
    rows = []
    for fine in kinds:
        with mock.patch.object(Evidence, "of_pixels", property(lambda self, fine=fine: fine)):
            found = made(model, cat)
        rows += found.rows
    found = replace(found, rows=rows)
    texts: list[str] = []
    write = grid.write
    with mock.patch.object(grid, "write", lambda page, text, *rest: (texts.append(text), write(page, text, *rest))[1]):
        grid.draw_grid(found)
    assert f"{said} Colours do not compare one map with another." in " ".join(texts)
    assert not any("..." in text or "…" in text for text in texts)


def test_a_map_that_is_rounding_has_no_colours(model: boxcam.Model, cat: Path) -> None:
    (lit,) = made(model, cat).rows[0]
    with mock.patch.object(rounding, "STEP", 1e9):
        found = made(model, cat)
    (noise,) = found.rows[0]
    assert lit.facts is not None
    assert noise.facts == {**lit.facts, "rounding": True}
    assert noise.picture is not None
    assert not np.array_equal(noise.picture, lit.picture)
    assert body.caption(found, noise) == f"no evidence: {lit.facts['peak']:.2g} is rounding"
