"""Which reason is told where several hold, and whose candidate where several are there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import boxcam
from tests.explain.whynot.scene import Thing, overlap, picture, sigmoid

Models = Callable[[str], boxcam.Model]
CAT, DOG, BIRD = range(3)
SQUARE = (10.0, 10.0, 10.0, 10.0)


def test_the_likeliest_class_is_that_of_the_best_score(models: Models) -> None:
    """The larger probability has the smaller objectness."""
    cat = Thing((4, 3), SQUARE, (4.0, -6.0, -6.0), -5.0)
    dog = Thing((4, 4), (18.0, 10.0, 2.0, 10.0), (-6.0, 1.0, -6.0), 4.0)
    assert overlap(cat.box, dog.box) == 1
    (found,) = models("objectness").candidates(picture([cat, dog]), cat.box)
    assert (found.name, found.reason) == ("dog", "reported")
    assert found.score == pytest.approx(sigmoid(1) * sigmoid(4), abs=1e-3)


def test_the_best_of_several_candidates_on_one_box(models: Models) -> None:
    """Two cells draw the same box, and neither is reported: it is the better one that is asked about."""
    worse = Thing((4, 3), SQUARE, (-5.0, -7.0, -7.0))
    better = Thing((4, 4), (18.0, 10.0, 2.0, 10.0), (-4.0, -7.0, -7.0))
    (found,) = models("dense").candidates(picture([worse, better]), better.box, classes=CAT)
    assert (found.reason, found.logit) == ("threshold", pytest.approx(-4, abs=1e-3))


def test_a_box_of_another_class_comes_before_the_threshold(models: Models) -> None:
    """A cat whose score is too low, below a dog that was reported there: what was seen instead is what is asked."""
    thing = Thing((4, 3), SQUARE, (-4.0, 3.0, -7.0))
    (found,) = models("dense").candidates(picture([thing]), thing.box, classes=CAT)
    assert (found.reason, found.figures["other"]) == ("class", DOG)


def test_the_threshold_comes_before_suppression(models: Models) -> None:
    """Without the better box it would not be reported either."""
    best = Thing((4, 2), (14.0,) * 4, (4.0, -7.0, -7.0))
    mine = Thing((4, 3), (14.0,) * 4, (-4.0, -7.0, -7.0))
    x1, y1, x2, y2 = mine.box
    place = (x1 + 7, y1, x2 + 7, y2)
    (found,) = models("dense").candidates(picture([best, mine]), place, classes=CAT)
    assert found.reason == "threshold"


def test_suppression_comes_before_rank(models: Models) -> None:
    """More boxes than the model keeps, and one of them overlaps it."""
    best = Thing((4, 2), (14.0,) * 4, (2.0, -7.0, -7.0))
    mine = Thing((4, 3), (14.0,) * 4, (1.0, -7.0, -7.0))
    others = [Thing((y, x), (3.0,) * 4, (-7.0, 4.0, -7.0)) for y, x in ((0, 0), (0, 2), (0, 5), (0, 7))]
    x1, y1, x2, y2 = mine.box
    place = (x1 + 7, y1, x2 + 7, y2)
    (found,) = models("dense").candidates(picture([best, mine, *others]), place, classes=CAT)
    assert (found.reason, found.figures["by"]) == ("suppressed", 5)


def test_a_reported_box_below_what_is_asked_for(models: Models) -> None:
    """What was reported with a lower score counts as missed."""
    thing = Thing((4, 3), SQUARE, (-1.0, -7.0, -7.0))
    (found,) = models("dense").candidates(picture([thing]), thing.box, classes=CAT, score=0.5)
    assert (found.reason, found.figures["threshold"]) == ("threshold", 0.5)
    (found,) = models("dense").candidates(picture([thing]), thing.box, classes=CAT, score=0.1)
    assert found.reason == "reported"


def test_a_better_candidate_that_was_not_reported_either_suppresses(models: Models) -> None:
    """Three boxes in a row, of which each overlaps its neighbours: the first suppresses the second alone."""
    first, second, third = (Thing((4, x), (14.0,) * 4, (own, -7.0, -7.0)) for x, own in ((2, 4.0), (3, 3.0), (4, 2.0)))
    assert overlap(first.box, third.box) < 0.5 < overlap(first.box, second.box)
    (found,) = models("dense").candidates(picture([first, second, third]), third.box, classes=CAT)
    assert found.reason == "reported"


@pytest.mark.parametrize("name", ["one class", "one of two", "interleaved", "capped", "padded"])
def test_other_layouts(name: str, models: Models) -> None:
    """Reported, below the threshold, suppressed; nothing there."""
    model = models(name)
    label = BIRD if name == "one of two" else CAT
    own = {k: tuple(k if c == label else -7.0 for c in range(3)) for k in (4.0, 3.5, -5.0)}
    asked = 0 if len(model.manifest.labels) == 1 else label
    strong = Thing((2, 2), (14.0,) * 4, own[4.0], background=0.0)
    near = Thing((2, 3), (14.0,) * 4, own[3.5], background=0.0)
    weak = Thing((6, 6), (4.0,) * 4, own[-5.0], background=0.0)
    image = picture([strong, near, weak])

    def reason(place: tuple[float, ...]) -> str:
        return model.candidates(image, place, classes=asked, score=0.0)[0].reason

    x1, y1, x2, y2 = near.box
    assert reason(strong.box) == "reported"
    assert reason(weak.box) == "threshold"
    assert reason((44, 0, 64, 20)) == "nothing"
    expected = "reported" if name == "capped" else "suppressed"
    assert reason((x1 + 7, y1, x2 + 7, y2)) == expected
