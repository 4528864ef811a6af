"""Recipes of others, as far as they are written here."""

from __future__ import annotations

import numpy as np
import torch

from examples.truth.peers import _joined, within
from examples.truth.things import SIZE


def test_a_map_is_scaled_within_its_box_and_nothing_is_outside() -> None:
    heat = np.full((SIZE, SIZE), 5.0, np.float32)
    heat[10:20, 30:50] = 1.0
    heat[12:14, 32:34] = 3.0
    found = within(heat, np.array([30.0, 10.0, 50.0, 20.0]))
    assert found[12:14, 32:34].min() == 1
    assert found.sum() == 4
    assert (found[10:20, 30:50] > 0).sum() == 4


def test_a_map_that_is_flat_within_its_box_is_empty() -> None:
    assert not within(np.ones((SIZE, SIZE), np.float32), np.array([30.0, 10.0, 50.0, 20.0])).any()


def test_levels_are_joined_at_the_size_of_the_smallest_without_signs() -> None:
    levels = [torch.full((1, 2, size, size), -float(size)) for size in (8, 4, 2)]
    found = _joined(levels)
    assert found.shape == (1, 6, 2, 2)
    assert found[0, :, 0, 0].tolist() == [8, 8, 4, 4, 2, 2]
