"""All candidates of a class, reported or not: their boxes, logits and scores against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from boxcam.explain.metrics.overlap import iou
from tests.explain.whynot.by_hand import NOISE, PLACE, Models, by_hand, near, same
from tests.explain.whynot.detectors import FAMILIES
from tests.explain.whynot.scene import CLASSES, SIZE, Thing, picture
from tests.explain.whynot.variants import ANCHORS, VARIANTS


@pytest.mark.parametrize("name", [name for name, of in {**FAMILIES, **VARIANTS}.items() if not of.stages])
def test_every_cell_is_a_candidate_of_every_class(name: str, models: Models) -> None:
    model = models(name)
    for label in range(len(model.manifest.labels)):
        found = near(model, NOISE, label)
        same(found, by_hand(name, NOISE, label))
        np.testing.assert_allclose(found.iou, iou(found.boxes, np.array(PLACE)))


@pytest.mark.parametrize("name", ["two stages", "boxes by class"])
def test_every_proposal_is_a_candidate_of_every_class(name: str, models: Models) -> None:
    cells = [(1, 1), (1, 4), (1, 6), (4, 1), (6, 1), (6, 3)]
    random = np.random.default_rng(2)
    things = [
        Thing(cell, (4.0,) * 4, tuple((random.integers(-64, 64, CLASSES) / 16).tolist()), 3.0, 1.0) for cell in cells
    ]
    image = picture(things, 3)
    for label in range(CLASSES):
        wider = 2.0 * label * np.array([-1, -1, 1, 1]) if name == "boxes by class" else 0
        expected = []
        for thing in things:
            whole = np.exp([*thing.logits, thing.background])
            box = (np.array(thing.box) + wider).clip(0, SIZE)
            expected.append([*box, thing.logits[label], whole[label] / whole.sum()])
        same(near(models(name), image, label), np.array(expected))


def test_more_candidates_than_a_run_tells(models: Models) -> None:
    """Twenty at a time, of sixty-four of each class."""
    told = models("capped").manifest.candidates
    assert told is not None
    assert told.at_once == 20


def test_classes_that_lie_apart(models: Models) -> None:
    told = models("interleaved").manifest.candidates
    assert told is not None
    assert (told.rows[0].step, told.rows[0].firsts) == (ANCHORS, (0, 1))
