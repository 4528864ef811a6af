"""Which boxes are explained: by class, by rank, by score and by number, in this order, and why others are not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from boxcam.errors import UnknownNameError
from boxcam.explain.evidence import LeftOut
from boxcam.explain.options import Options
from boxcam.explain.selection import DEFAULT_SCORE, Selection, class_indices, lowest_score, select
from boxcam.types import Detections

SCORES = [0.9, 0.75, 0.75, 0.5, 0.25]
LABELS = [0, 1, 2, 1, 1]


def found() -> Detections:
    count = len(SCORES)
    return Detections(
        boxes=np.zeros((count, 4), np.float32),
        scores=np.array(SCORES, np.float32),
        labels=np.array(LABELS, np.int64),
        names=("",) * count,
        origin=np.zeros((count, 1), np.int64),
        logits=np.zeros(count, np.float32),
    )


@pytest.mark.parametrize(
    ("chosen", "expected", "left"),
    [
        (Selection(0.0, None, None, None), [0, 1, 2, 3, 4], LeftOut()),
        (Selection(0.75, None, None, None), [0, 1, 2], LeftOut(score=2)),  # a score that is as high counts
        (Selection(0.76, None, None, None), [0], LeftOut(score=4)),
        (Selection(0.5, 2, None, None), [0, 1], LeftOut(score=1, top=2)),
        (Selection(0.0, 9, None, None), [0, 1, 2, 3, 4], LeftOut()),
        (Selection(0.0, None, (1,), None), [1, 3, 4], LeftOut(classes=2)),
        (Selection(0.0, None, (2, 0), None), [0, 2], LeftOut(classes=3)),
        (Selection(0.0, None, (7,), None), [], LeftOut(classes=5)),
        (Selection(0.0, None, None, (1, 5)), [0, 4], LeftOut(ranks=3)),
        (Selection(0.0, None, None, (5, 6)), [4], LeftOut(ranks=4)),
        (Selection(0.0, None, (1,), (2, 3)), [3, 4], LeftOut(classes=2, ranks=1)),  # places within the class
        (Selection(0.3, 1, (1,), (1, 2, 3)), [1], LeftOut(classes=2, score=1, top=1)),
        (Selection(2.0, None, None, None), [], LeftOut(score=5)),
    ],
)
def test_boxes_are_chosen_step_by_step(chosen: Selection, expected: list[int], left: LeftOut) -> None:
    assert chosen.of(found()) == expected
    assert chosen.left_out(found()) == left


def model(whole_image: bool = False) -> Any:
    outputs = SimpleNamespace(whole_image=whole_image)
    return SimpleNamespace(manifest=SimpleNamespace(labels=("a", "b"), outputs=outputs))


@pytest.mark.parametrize(
    ("given", "whole_image", "expected"),
    [
        ({}, False, DEFAULT_SCORE),
        ({}, True, DEFAULT_SCORE),
        ({"classes": "a"}, False, DEFAULT_SCORE),
        ({"classes": "a"}, True, 0),
        ({"rank": 1}, False, 0),
        ({"rank": 1}, True, 0),
        ({"rank": 1, "score": 0.5}, False, 0.5),
        ({"score": 0}, False, 0),
    ],
)
def test_of_what_is_named_nothing_is_left_out(given: dict[str, Any], whole_image: bool, expected: float) -> None:
    assert lowest_score(model(whole_image), **given) == expected


def test_options_become_a_choice() -> None:
    assert select(model(), Options()) == Selection(DEFAULT_SCORE, None, None, None)
    assert select(model(), Options(score=0.5, top=3, classes="b", rank=[2, 1])) == Selection(0.5, 3, (1,), (1, 2))


def named(*labels: str) -> Any:
    return SimpleNamespace(manifest=SimpleNamespace(labels=labels))


def test_the_last_class_is_there_and_the_next_one_is_not() -> None:
    assert class_indices(named("a", "b"), [0, 1]) == [0, 1]
    for wanted in (2, "2", -1):
        with pytest.raises(UnknownNameError, match=rf"the model has no class '{wanted}'\..* There are: a, b\.$"):
            class_indices(named("a", "b"), wanted)


def test_numbers_of_classes_are_those_that_an_index_can_be() -> None:
    assert class_indices(named(), ["0", "9" * 18]) == [0, 10**18 - 1]
    for wanted in ("9" * 19, "0" * 19, 10**19):
        with pytest.raises(UnknownNameError, match="it has no class names"):
            class_indices(named(), [wanted])


@pytest.mark.parametrize("count", [20, 21])
def test_twenty_names_are_listed(count: int) -> None:
    with pytest.raises(UnknownNameError) as caught:
        class_indices(named(*(f"kind {k}" for k in range(count))), ["other"])
    assert str(caught.value).endswith("kind 18, kind 19." if count == 20 else "kind 18, kind 19, ….")
