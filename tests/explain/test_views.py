"""Maps placed at the size at which they are shown."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from boxcam.explain.evidence import Evidence
from boxcam.explain.explanation import Explanation
from boxcam.explain.views import map_in
from tests.explain.made import EVEN, LEFT, explanation
from tests.explain.parts import parts_of, with_parts


@pytest.mark.parametrize("seed", range(20))
def test_the_whole_image_at_its_own_size_is_the_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = with_parts(parts_of(rng, (90, 130)), (90, 130), (0, 0, 9, 9))
    assert np.allclose(map_in(found, 0, (0, 0, 130, 90), (90, 130)), found.map(0), atol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_a_part_is_that_part_of_the_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = with_parts(parts_of(rng, (90, 130)), (90, 130), (0, 0, 9, 9))
    assert np.allclose(map_in(found, 0, (20, 10, 70, 50), (40, 50)), found.map(0)[10:50, 20:70], atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_smaller_it_is_the_map_made_smaller_but_for_its_edges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [
        dataclasses.replace(part, grid=dataclasses.replace(part.grid, cell_height=40.0, cell_width=50.0, bounds=None))
        for part in parts_of(rng, (300, 400))
    ]
    found = with_parts(tuple(parts), (300, 400), (0, 0, 9, 9))
    smaller = cv2.resize(found.map(0), (100, 75), interpolation=cv2.INTER_AREA)
    difference = np.abs(map_in(found, 0, (0, 0, 400, 300), (75, 100)) - smaller)
    assert difference.mean() <= 0.01 * np.ptp(smaller)


def test_several_maps_in_one_are_shares_of_their_own_peaks() -> None:
    first, second = explanation(EVEN), explanation(LEFT)
    found: Explanation = dataclasses.replace(first, fused=(second.parts,), fusion="mean")
    assert np.allclose(map_in(found, 0, (0, 0, 8, 4), (4, 8)), found.map(0), atol=1e-6)
    # LEFT has 2 in its upper left, EVEN is 1 everywhere: of the far corner half is left.
    assert map_in(found, 0, (6, 2, 8, 4), (1, 1)).tolist() == [[0.5]]


def test_a_sheet_of_cells_makes_no_map_as_large_as_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(evidence: Evidence, index: int) -> None:
        raise AssertionError("the map is made")

    monkeypatch.setattr(Explanation, "map", made)
    rng = np.random.default_rng(0)
    found = with_parts(parts_of(rng, (300, 400)), (300, 400), (100, 100, 150, 150))
    assert found.sheet().ndim == 3
    assert found.sheet(scale="common", style="contours").ndim == 3
