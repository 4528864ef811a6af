"""Detections of two runs are compared as a set: boxes of nearly equal score may swap places, and nothing else may."""

from __future__ import annotations

import numpy as np
import pytest

from boxcam.bundle import Outputs
from boxcam.errors import VerificationError
from boxcam.export.verify import rows
from boxcam.export.verify.check import require

NAMES = Outputs("boxes", "scores", "labels")
TABLE = Outputs("dets", "dets", "labels", (0, 4), 4)
Found = dict[str, np.ndarray]


def drawn(count: int = 40, seed: int = 0) -> Found:
    """Detections of falling scores, with a mask each."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 300, (count, 2))
    return {
        "boxes": np.concatenate([corner, corner + rng.uniform(10, 100, (count, 2))], 1).astype(np.float32),
        "scores": np.sort(rng.uniform(0.1, 1, count).astype(np.float32))[::-1].copy(),
        "labels": rng.integers(0, 3, count),
        "masks": rng.uniform(0, 1, (count, 2, 2)).astype(np.float32),
    }


def swapped(found: Found, first: int, second: int) -> Found:
    order = np.arange(len(found["scores"]))
    order[[first, second]] = second, first
    return {name: array[order] for name, array in found.items()}


def as_table(found: Found) -> Found:
    """As mmdeploy reports it: [1, K, 5] and [1, K]."""
    return {
        "dets": np.concatenate([found["boxes"], found["scores"][:, None]], 1)[None],
        "labels": found["labels"][None],
    }


def near_tie(at: int, gap: float = 3e-8) -> Found:
    found = drawn()
    found["scores"][at + 1] = found["scores"][at] - gap
    return found


@pytest.mark.parametrize("at", [0, 7, 38])
def test_two_boxes_of_nearly_equal_score_may_swap_places(at: int) -> None:
    found = near_tie(at)
    check = rows.outputs(NAMES, found, swapped(found, at, at + 1))
    assert check.error == 0
    assert not check.detail
    check = rows.outputs(TABLE, as_table(found), as_table(swapped(found, at, at + 1)))
    assert check.error == 0


def test_a_whole_group_of_equal_scores_may_come_in_any_order() -> None:
    found = drawn()
    found["scores"][10:20] = found["scores"][10]
    order = np.arange(40)
    order[10:20] = np.random.default_rng(1).permutation(order[10:20])
    assert rows.outputs(NAMES, found, {name: array[order] for name, array in found.items()}).error == 0


def test_what_moves_with_the_rows_is_compared_with_its_own_row() -> None:
    found = near_tie(7)
    other = swapped(found, 7, 8)
    other["masks"] = found["masks"]
    check = rows.outputs(NAMES, found, other)
    assert check.error == pytest.approx(np.abs(found["masks"][7] - found["masks"][8]).max(), rel=1e-3)


@pytest.mark.parametrize("name", ["boxes", "scores", "labels"])
def test_a_row_that_is_another_one_is_named(name: str) -> None:
    found, other = drawn(), drawn()
    other[name][5] = {"boxes": [1, 2, 3, 4], "scores": 0.987, "labels": 9}[name]
    check = rows.outputs(NAMES, found, other)
    assert not check.passed
    assert "1 of 40 detections differ" in check.detail
    assert {"boxes": "at [1, 2, 3, 4] instead", "scores": "of 0.987 at", "labels": "class 9 of"}[name] in check.detail
    with pytest.raises(VerificationError, match="1 of 40 detections differ"):
        require([check])


def test_scores_that_are_exchanged_between_boxes_fail() -> None:
    found, other = drawn(), drawn()
    other["scores"][[3, 30]] = other["scores"][[30, 3]]
    assert "2 of 40 detections differ" in rows.outputs(NAMES, found, other).detail


def test_another_box_of_the_last_score_stands_for_the_one_that_was_cut_off() -> None:
    found, other = drawn(), drawn()
    other["boxes"][39], other["labels"][39] = [1, 2, 30, 40], 0
    other["scores"][39] = found["scores"][39] + 2e-8
    check = rows.outputs(NAMES, found, other)
    assert check.error == 0
    other["scores"][39] = found["scores"][39] - 0.05  # no tie
    assert not rows.outputs(NAMES, found, other).passed


def test_rows_that_all_have_the_last_score_are_no_ties_at_the_cut() -> None:
    """As of a model that is saturated: its boxes have to be the same."""
    found = drawn() | {"scores": np.full(40, 0.5, np.float32)}
    other = found | {"boxes": found["boxes"] + 1}
    assert "40 of 40 detections differ" in rows.outputs(NAMES, found, other).detail


def test_another_number_of_detections_is_said() -> None:
    found = drawn()
    check = rows.outputs(NAMES, found, {name: array[:39] for name, array in found.items()})
    assert (check.error, check.detail) == (np.inf, "39 detections instead of 40")


def test_no_detection_at_all_and_what_is_no_number() -> None:
    nothing = {name: array[:0] for name, array in drawn().items()}
    assert rows.outputs(NAMES, nothing, nothing).error == 0
    found, other = drawn(), drawn()
    other["scores"][3] = np.nan
    assert not rows.outputs(NAMES, found, other).passed
