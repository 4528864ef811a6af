"""What a forward pass gives, read as detections: the order of equal scores, filler, borders of what is allowed."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from boxcam.bundle import Layer, Logits, Manifest, Outputs, Preprocess, Tensor, TracedTarget
from boxcam.errors import BundleError, RunError
from boxcam.runtime.outputs import check_features, check_types, read_detections, read_origin
from boxcam.runtime.preprocess import Transform
from boxcam.runtime.tensors import Tensors

TARGET = TracedTarget("logit", "origin", "logit", (Logits("few", (3, 5), "Sigmoid"), Logits("many", (None, 4), "")))
TRANSFORM = Transform(100, 200, 100, 200, 100, 200, 0, 0)


def manifest(**outputs: Any) -> Manifest:
    return Manifest(
        boxcam="1",
        source={},
        labels=("cat", "dog"),
        input="image",
        preprocess=Preprocess(100, 200, 100, 200, "fit", "top-left", (0,) * 3, False, (0,) * 3, (1,) * 3, "BGR"),
        outputs=Outputs(**{"boxes": "boxes", "scores": "scores", "labels": "labels", **outputs}),
        targets=(TARGET,),
        layers=(),
        verification={},
    )


def found(scores: list[float], **others: Any) -> dict[str, Any]:
    """Outputs of a model that draws a box for each score; box k begins at k, and so does what tells it from others."""
    count = len(scores)
    numbers = np.arange(count)
    return {
        "boxes": np.stack([numbers % 90, numbers % 70, numbers % 90 + 5, numbers % 70 + 5], 1).astype(np.float32),
        "scores": np.array(scores, np.float32),
        "labels": np.zeros(count, np.int64),
        "logit": numbers.astype(np.float32),
        "origin": np.stack([np.ones(count, int), numbers, numbers % 4], 1),
        **others,
    }


def read(given: dict[str, Any], **outputs: Any) -> Any:
    return read_detections(manifest(**outputs), given, TRANSFORM, "forward.onnx")


def test_boxes_of_equal_scores_stay_in_the_order_of_the_model() -> None:
    scores = [0.25, 0.75, 0.5] * 100  # so many that a sort that is not stable mixes them
    detections, rows = read(found(scores))
    assert rows.tolist() == sorted(range(300), key=lambda row: (-scores[row], row))
    assert rows.dtype == np.int64
    assert detections.logits.tolist() == rows.tolist()
    assert detections.origin[:, 1].tolist() == rows.tolist()


def test_filler_may_hold_anything_and_is_left_out() -> None:
    given = found([0.5, 0.9, 7.0, 0.7])
    given["boxes"][2], given["logit"][2], given["origin"][2] = np.nan, np.inf, -1
    detections, rows = read(given)
    assert rows.tolist() == [1, 3, 0]
    assert np.isfinite(detections.boxes).all()


@pytest.mark.parametrize(("score", "fine"), [(1.002, True), (1.0021, False), (-0.002, True), (-0.0021, False)])
def test_a_score_may_be_beyond_its_range_by_what_float16_rounds(score: float, fine: bool) -> None:
    if fine:
        assert read(found([0.5, score]))[0].scores.max() == np.float32(max(score, 0.5))
    else:
        with pytest.raises(RunError, match=re.escape(f"forward.onnx gives a score of {score:g}, and scores are 0 to")):
            read(found([0.5, score]))


def test_a_class_without_a_name_is_told_by_its_number() -> None:
    detections, _ = read(found([0.9, 0.8, 0.7, 0.6], labels=np.array([0, 1, 2, -1], np.int32)))
    assert detections.names == ("cat", "dog", "class 2", "class -1")
    assert detections.labels.tolist() == [0, 1, 2, -1]
    assert detections.labels.dtype == np.int64


def test_a_single_box_may_be_without_an_axis_of_boxes() -> None:
    given = found([0.5], boxes=np.array([1, 2, 3, 4], np.float32), labels=np.array(1))
    assert read(given)[0].boxes.tolist() == [[1, 2, 3, 4]]
    table = np.array([1, 2, 3, 4, 0.75], np.float32)
    detections, _ = read({**given, "boxes": table, "scores": table}, box_columns=(0, 4), score_column=4)
    assert (detections.boxes.tolist(), detections.scores.tolist()) == ([[1, 2, 3, 4]], [0.75])


def test_columns_of_one_table() -> None:
    given = found([0.0, 0.0])
    table = np.array([[[9, 0.25, 1, 2, 3, 4, 9], [9, 0.5, 5, 6, 7, 8, 9]]], np.float16)
    given |= {"boxes": table, "scores": table}
    detections, _ = read(given, box_columns=(2, 6), score_column=1)
    assert detections.boxes.tolist() == [[5, 6, 7, 8], [1, 2, 3, 4]]
    assert detections.scores.tolist() == [0.5, 0.25]
    assert (detections.boxes.dtype, detections.scores.dtype) == (np.float32, np.float32)
    assert read({**given, "boxes": table[..., :6]}, box_columns=(2, 6), score_column=1)[1].tolist() == [1, 0]
    assert read({**given, "scores": table[..., :2]}, box_columns=(2, 6), score_column=1)[1].tolist() == [1, 0]
    with pytest.raises(RunError, match=r"boxes is \[1, 2, 5\], and the manifest names its column 5"):
        read({**given, "boxes": table[..., :5]}, box_columns=(2, 6), score_column=1)
    with pytest.raises(RunError, match=r"scores is \[1, 2, 1\], and the manifest names its column 1"):
        read({**given, "scores": table[..., :1]}, box_columns=(2, 6), score_column=1)
    with pytest.raises(RunError, match=r"boxes is \[1, 2, 7\], and boxes have 4 numbers each"):
        read(given)
    with pytest.raises(RunError, match=r"boxes is \[\], and the manifest names its column 5"):
        read({**given, "boxes": np.float32(1)}, box_columns=(2, 6), score_column=1)
    with pytest.raises(RunError, match=r"boxes is \[\], and boxes have 4 numbers each"):
        read({**given, "boxes": np.float32(1)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"boxes": np.zeros((2, 4), int)}, "boxes are int64, scores float32 and labels int64"),
        ({"scores": np.zeros(2, int)}, "boxes are float32, scores int64 and labels int64"),
        ({"labels": np.zeros(2)}, "boxes are float32, scores float32 and labels float64"),
        ({"boxes": np.zeros((3, 4), np.float32)}, "gives 3 boxes, 2 scores and 2 labels"),
        ({"scores": np.zeros(1, np.float32)}, "gives 2 boxes, 1 score and 2 labels"),
        ({"labels": np.zeros((1, 1), int)}, "gives 2 boxes, 2 scores and 1 label,"),
        ({"logit": np.zeros((2, 1), np.float32)}, r"logit is \[2, 1\], not one number for each box"),
        ({"origin": np.zeros((2, 3), np.float32)}, r"origin is float32 \[2, 3\], not one row of whole numbers"),
        ({"origin": np.zeros((2, 0), int)}, r"origin is int64 \[2, 0\], not one row of whole numbers"),
        ({"origin": np.zeros(2, int)}, r"origin is int64 \[2\], not one row of whole numbers"),
        ({"origin": np.zeros((1, 3), int)}, r"origin is int64 \[1, 3\], not one row of whole numbers"),
    ],
)
def test_outputs_that_do_not_go_together(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=said):
        read({**found([0.5, 0.5]), **changes})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([0, 2, 4], ""),
        ([0, 0, 0], ""),
        ([1, 1 << 30, 3], ""),  # the axis has no known size
        ([-1, 99, 99], ""),
        ([0, 3, 0], r"points outside of few \[3, 5\]"),
        ([0, 0, 5], r"points outside of few \[3, 5\]"),
        ([0, 0, -1], r"points outside of few \[3, 5\]"),
        ([1, -1, 0], r"points outside of many \[None, 4\]"),
        ([1, 0, 4], r"points outside of many \[None, 4\]"),
        ([2, 0, 0], "points to a tensor that the manifest does not list"),
        ([0, 1], "has 1 index, and few has 2 axes"),
    ],
)
def test_an_origin_lies_inside_of_its_tensor(row: list[int], said: str) -> None:
    given = {"origin": np.array([row], np.int32)}
    if said:
        with pytest.raises(RunError, match=said):
            read_origin(TARGET, given, 1, "forward.onnx")
    else:
        origin = read_origin(TARGET, given, 1, "forward.onnx")
        assert (origin.tolist(), origin.dtype) == ([row], np.int64)


def test_more_columns_than_a_tensor_has_axes_are_no_part_of_its_position() -> None:
    longer = np.array([[0, 2, 4, 77]])
    assert read_origin(TARGET, {"origin": longer}, 1, "forward.onnx").tolist() == longer.tolist()


def layer(rois: str | None = None) -> Layer:
    return Layer("neck", "map" if rois is None else "roi", (Tensor("p3", 8, None, None, (8, 8), rois=rois),), ())


@pytest.mark.parametrize(
    ("shape", "fine"), [((1, 8, 4, 4), True), ((1, 7, 4, 4), False), ((1, 8, 0, 4), False), ((1, 8, 4), False)]
)
def test_features_have_the_channels_of_the_manifest(shape: tuple[int, ...], fine: bool) -> None:
    given = Tensors({"p3": np.zeros(shape, np.float32)})
    if fine:
        check_features(layer(), given, "forward.onnx")
    else:
        with pytest.raises(RunError, match=re.escape(f"p3 is {list(shape)}, and the manifest says that it has 8")):
            check_features(layer(), given, "forward.onnx")


@pytest.mark.parametrize(("features", "rois", "fine"), [(0, 0, True), (3, 3, True), (3, 2, False)])
def test_there_is_a_proposal_for_each_of_its_maps(features: int, rois: int, fine: bool) -> None:
    given = Tensors({"p3": np.zeros((features, 8, 7, 7), np.float32), "rois": np.zeros((rois, 4), np.float32)})
    if fine:
        check_features(layer("rois"), given, "forward.onnx")
    else:
        with pytest.raises(
            RunError, match=re.escape(f"rois is [{rois}, 4], and not [{features}, 4] for the proposals")
        ):
            check_features(layer("rois"), given, "forward.onnx")


def test_the_types_of_all_targets_and_all_features_are_looked_at() -> None:
    second = TracedTarget("x1", "origin.x1", "x1", TARGET.ends)
    whole = dataclasses.replace(manifest(), targets=(TARGET, second), layers=(layer("rois"), layer()))
    right = dict.fromkeys(("logit", "x1", "p3", "rois"), "tensor(float)") | dict.fromkeys(
        ("origin", "origin.x1"), "tensor(int64)"
    )
    check_types(whole, right, "forward.onnx")
    for name in right:
        with pytest.raises(BundleError, match=re.escape(f"forward.onnx: {name} is tensor(bool), not tensor(")):
            check_types(whole, {**right, name: "tensor(bool)"}, "forward.onnx")
    with pytest.raises(BundleError, match=r"p3 is tensor.double., not tensor.float.. Export"):
        check_types(whole, {**right, "p3": "tensor(double)"}, "forward.onnx")


@pytest.mark.parametrize(
    ("name", "kind", "fine"),
    [
        ("logit", "tensor(float16)", True),
        ("logit", "tensor(double)", True),
        ("logit", "tensor(int64)", False),
        ("origin", "tensor(int32)", True),
        ("origin", "tensor(float)", False),
    ],
)
def test_types_of_targets(name: str, kind: str, fine: bool) -> None:
    types = {"logit": "tensor(float)", "origin": "tensor(int64)", name: kind}
    if fine:
        check_types(manifest(), types, "forward.onnx")
    else:
        with pytest.raises(BundleError, match=re.escape(f"forward.onnx: {name} is {kind}, not tensor(")):
            check_types(manifest(), types, "forward.onnx")
