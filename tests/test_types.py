"""The contracts refuse what does not fit them, by name."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from boxcam.types import CellMap, Detections, Grid, Patch


def detections(**changes: Any) -> Detections:
    fields: dict[str, Any] = {
        "boxes": np.arange(12, dtype=np.float32).reshape(3, 4),
        "scores": np.array([0.9, 0.5, 0.1], np.float32),
        "labels": np.array([2, 0, 1]),
        "names": ("c", "a", "b"),
        "origin": np.array([[0, 5], [1, 6], [0, 7]]),
        "logits": np.array([3, 0, -3], np.float32),
    }
    return Detections(**(fields | changes))


def grid(**changes: Any) -> Grid:
    fields: dict[str, Any] = {"y": 0, "x": 0, "cell_height": 1, "cell_width": 1, "rows": (0, 1), "columns": (0, 1)}
    return Grid(**(fields | changes))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("boxes", np.zeros((3, 5), np.float32), r"boxes: float32 \[3, 5\], expected float32 \[3, 4\]"),
        ("boxes", np.zeros((2, 4), np.float32), r"boxes: float32 \[2, 4\], expected float32 \[3, 4\]"),
        ("boxes", np.zeros((3, 4)), r"boxes: float64 \[3, 4\], expected float32"),
        ("scores", np.zeros((3, 1), np.float32), "scores: "),
        ("labels", np.zeros(3, np.int32), "labels: int32"),
        ("names", ("a", "b"), "names: 2 for 3 boxes"),
        ("origin", np.zeros(3, np.int64), r"origin: int64 \[3\], expected int64 \[3, None\]"),
        ("logits", np.zeros(2, np.float32), r"logits: float32 \[2\]"),
    ],
)
def test_detections_that_do_not_fit(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detections(**{field: value})


@pytest.mark.parametrize("index", [[2, 0], np.array([2, 0]), (2, 0)])
def test_select_by_index(index: Any) -> None:
    chosen = detections().select(index)
    assert chosen.boxes.tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert chosen.scores.tolist() == pytest.approx([0.1, 0.9])
    assert chosen.labels.tolist() == [1, 2]
    assert chosen.names == ("b", "c")
    assert chosen.origin.tolist() == [[0, 7], [0, 5]]
    assert chosen.logits.tolist() == [-3, 3]


def test_select_by_mask_and_select_none() -> None:
    assert detections().select(np.array([False, True, True])).names == ("a", "b")
    for nothing in ([], np.zeros(3, bool), np.zeros(0, np.int64)):
        chosen = detections().select(nothing)
        assert (len(chosen), chosen.boxes.shape, chosen.origin.shape) == (0, (0, 4), (0, 2))
    with pytest.raises(IndexError):
        detections().select([3])


def test_maps_are_finite_float32_and_of_two_axes() -> None:
    for values, message in (
        (np.zeros((2, 2)), "values: float64"),
        (np.zeros(2, np.float32), r"values: float32 \[2\], expected float32 \[None, None\]"),
        (np.array([[np.nan]], np.float32), "must be finite"),
        (np.array([[np.inf]], np.float32), "must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            CellMap(values, (0, 0))
    with pytest.raises(ValueError, match="gradient: float32"):
        Patch(0, 0, (0, 0), np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell_height": 0}, "cells of 0 x 1 pixels"),
        ({"cell_width": -1}, "cells of 1 x -1 pixels"),
        ({"cell_width": float("nan")}, "cells of 1 x nan pixels"),
        ({"rows": (2, 2)}, "no cell of the image"),
        ({"columns": (3, 1)}, "no cell of the image"),
    ],
)
def test_grids_that_have_no_cells(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid(**changes)


def test_contracts_are_frozen() -> None:
    for thing in (detections(), grid(), CellMap(np.zeros((1, 1), np.float32), (0, 0))):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, dataclasses.fields(thing)[0].name, None)
