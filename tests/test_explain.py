"""`boxcam.explain`: what is found, which boxes are chosen, what the maps are of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import boxcam
from boxcam.errors import (
    UnknownNameError,
)
from tests.cams import CAMS


def test_an_explanation_is_in_pixels_of_the_image_given(signs_model: boxcam.Model, cat: Path) -> None:
    image = cv2.imread(str(cat))
    explanation = boxcam.explain(signs_model, cat, method="gradcam", layer="neck", score=0.3)
    detections, maps = explanation.detections, explanation.maps
    count, (height, width) = len(explanation), image.shape[:2]
    assert np.array_equal(explanation.image, image)
    assert (maps.shape, maps.dtype) == ((count, height, width), np.float32)
    assert (detections.boxes.shape, detections.boxes.dtype) == ((count, 4), np.float32)
    assert (np.diff(detections.scores) <= 0).all()
    assert detections.scores.min() >= 0.3
    assert (detections.boxes >= 0).all()
    assert (detections.boxes <= [width, height, width, height]).all()
    assert detections.boxes[:, 2].max() > 320  # so they are not on the canvas of 320 x 320
    for k in range(count):
        assert np.array_equal(explanation.map(k), maps[k])
        assert explanation.has_evidence(k) == bool((maps[k] > 0).any())
    # Raw: not scaled to a common peak.
    assert len({float(m.max()) for m in maps if m.any()}) == sum(bool(m.any()) for m in maps)


@pytest.mark.parametrize("layer", ["neck", "backbone"])
@pytest.mark.parametrize("method", CAMS)
def test_every_method_at_every_layer(method: str, layer: str, signs_model: boxcam.Model, cat: Path) -> None:
    explanation = boxcam.explain(signs_model, cat, method=method, layer=layer, top=3)
    assert (explanation.method, explanation.layer, explanation.engine) == (method, layer, "onnx")
    assert np.isfinite(explanation.maps).all()
    assert explanation.maps.any()


def test_a_method_of_several_targets_says_which_are_missing(signs_model: boxcam.Model, cat: Path) -> None:
    said = r"'odam-combined' needs the targets x1, y1, x2, y2, which bundle .* lacks\. Export .* targets=\[\"all\"\]"
    with pytest.raises(UnknownNameError, match=said):
        boxcam.explain(signs_model, cat, method="odam-combined")


def test_the_first_layer_is_the_default(signs_model: boxcam.Model, cat: Path) -> None:
    assert boxcam.explain(signs_model, cat, top=1).layer == signs_model.layers[0] == "neck"


def test_score_top_and_classes_select(signs_model: boxcam.Model, cat: Path) -> None:
    everything = boxcam.explain(signs_model, cat, score=0)
    found = everything.detections
    assert everything.other_boxes == 0
    assert len(found) == len(signs_model.detect(cv2.imread(str(cat))))
    assert len(found) >= 5

    middle = float(found.scores[2])
    best = boxcam.explain(signs_model, cat, score=middle)
    assert best.detections.scores.tolist() == found.scores[found.scores >= middle].tolist()
    assert best.other_boxes == len(found) - len(best)

    two = boxcam.explain(signs_model, cat, score=0, top=2)
    assert np.array_equal(two.detections.boxes, found.boxes[:2])
    assert np.allclose(two.maps, everything.maps[:2], rtol=1e-4, atol=1e-6 * everything.maps.max())
    assert len(boxcam.explain(signs_model, cat, top=10_000, score=0)) == len(found)

    stop = [index for index, name in enumerate(found.names) if name == "stop"]
    assert stop
    asked: list[Any] = ["stop", "STOP", 0, ["stop"], ("0",), [0, 0], [np.int64(0)]]
    for classes in asked:
        some = boxcam.explain(signs_model, cat, score=0, classes=classes)
        assert np.array_equal(some.detections.boxes, found.boxes[stop])
        assert set(some.detections.names) == {"stop"}
    both = boxcam.explain(signs_model, cat, score=0, classes=["stop", "no entry"]).detections
    assert set(both.names) == {"stop", "no entry"}


def test_no_box_gives_an_empty_explanation(signs_model: boxcam.Model) -> None:
    nothing = boxcam.explain(signs_model, np.full((40, 30, 3), 128, np.uint8), score=1)
    assert len(nothing) == 0
    assert (nothing.maps.shape, nothing.maps.dtype) == ((0, 40, 30), np.float32)
    assert nothing.detections.boxes.shape == (0, 4)
    assert nothing.parts == ()


def test_progress_counts_boxes(signs_model: boxcam.Model, cat: Path) -> None:
    seen: list[tuple[int, int]] = []
    boxcam.explain(signs_model, cat, top=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_the_same_call_gives_the_same_again(signs_model: boxcam.Model, cat: Path) -> None:
    ask: Callable[[], boxcam.Explanation] = lambda: boxcam.explain(signs_model, cat, layer="backbone", top=2)  # noqa: E731
    assert np.array_equal(ask().maps, ask().maps)
