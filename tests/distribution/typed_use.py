"""How a program uses boxcam, for type checkers: each value has its type, and none is Any. It is never run."""

from collections.abc import Sequence
from typing import assert_type

import boxcam


def boxes_of(paths: Sequence[str]) -> list[float]:
    model = boxcam.load("mine.boxcam", threads=1, device="cpu")
    assert_type(model, boxcam.Model)
    assert_type(boxcam.methods(), tuple[str, ...])
    scores: list[float] = []
    for path in paths:
        try:
            explanation = boxcam.explain(model, path, method="gradcam", layer="neck", score=0.5)
        except boxcam.BoxcamError as error:
            assert_type(str(error), str)
            continue
        assert_type(explanation, boxcam.Explanation)
        assert_type(explanation.detections, boxcam.Detections)
        assert_type(len(explanation), int)
        assert_type(explanation.detections.names, tuple[str, ...])
        assert_type(explanation.maps.shape, tuple[int, ...])
        for box in explanation:
            assert_type(box, boxcam.ExplainedBox)
            assert_type(box.score, float)
            scores.append(box.score)
        assert_type(model.explain(path), boxcam.Explanation)
    assert_type(boxcam.export("model.onnx", output="mine.boxcam", layers=("neck",)), boxcam.Manifest)
    return scores
