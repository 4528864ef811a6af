"""Detectors whose outputs are rounded with one scale for boxes and scores: what is said leads on, or nothing can."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor

import boxcam
from boxcam.errors import BoxcamError, SourceError, VerificationError
from boxcam.export.heads.conventions.coarse import rounding
from tests.export.export_graphs import Net
from tests.export.sources.onnx.deployed import HEIGHT, WIDTH, Case, cxcywh_graph, export, found

PICTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
STEP = 2.5  # of pixels: a side of 255 steps is as large as models' inputs are


def rounded(numbers: Tensor, step: float = STEP, zero: int = 10) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(numbers, step, zero, 0, 255)


def table(boxes: Tensor, logits: Tensor) -> Tensor:
    return torch.cat([cxcywh_graph(boxes), logits.sigmoid()], 2)


def across(boxes: Tensor, logits: Tensor) -> Tensor:
    return rounded(table(boxes, logits).transpose(1, 2))


def along(boxes: Tensor, logits: Tensor) -> Tensor:
    """Rounded before it is turned and after: ONNX Runtime turns the integers."""
    return rounded(rounded(table(boxes, logits).transpose(1, 2)).transpose(1, 2))


def with_objectness(boxes: Tensor, logits: Tensor) -> Tensor:
    """Scores are 0 and 1.9."""
    scores = logits.sigmoid()
    return rounded(torch.cat([cxcywh_graph(boxes), scores.amax(2, keepdim=True), scores], 2), 1.9)


def apart(boxes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    both = rounded(torch.cat([boxes, logits.sigmoid()], 2))
    return both[..., :4], both[..., 4:]


def by_own_scale(boxes: Tensor, logits: Tensor) -> Tensor:
    """As is advised."""
    return torch.cat([rounded(cxcywh_graph(boxes)), rounded(logits.sigmoid(), 1 / 255, 0)], 2).transpose(1, 2)


def by_own_scale_along(boxes: Tensor, logits: Tensor) -> Tensor:
    scores = rounded(rounded(logits.sigmoid().transpose(1, 2), 1 / 255, 0).transpose(1, 2), 1 / 255, 0)
    return torch.cat([rounded(cxcywh_graph(boxes)), scores], 2)


@pytest.fixture
def exported(tmp_path: Path) -> Callable[..., Any]:
    def make(wrap: Callable[[Tensor, Tensor], Any], outputs: tuple[str, ...], **options: Any) -> Any:
        cv2.imwrite(str(tmp_path / "s.png"), PICTURE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            export(Case(wrap, outputs, found), tmp_path / "m.onnx")
            return boxcam.export(
                tmp_path / "m.onnx", output=tmp_path / "b", sample=tmp_path / "s.png", engine="onnx",
                preprocess=["imagenet", "resize=stretch"], **options,
            )  # fmt: skip

    return make


@pytest.mark.parametrize(
    ("wrap", "outputs", "options"),
    [
        (across, ("output0",), {}),
        (across, ("output0",), {"score_threshold": 0.01}),
        (along, ("output0",), {}),
        (apart, ("boxes", "scores"), {"scores": "scores", "boxes": "boxes", "box_format": "xyxy"}),
    ],
)
def test_scores_that_all_become_0_are_not_asked_for_with_another_image_or_threshold(
    wrap: Any, outputs: Any, options: Any, exported: Callable[..., Any]
) -> None:
    with pytest.raises(VerificationError) as caught:
        exported(wrap, outputs, **options)
    said = str(caught.value)
    assert said.startswith("the model finds no box in the sample image: it rounds scores to steps of 2.5, and the hig")
    assert said.endswith("Quantize it with an own scale for its scores, or without its outputs.")
    assert "score_threshold" not in said
    assert "sample=" not in said


@pytest.mark.parametrize("options", [{}, {"convention": "yolov5"}, {"scores": "output0", "boxes": "output0"}])
def test_a_table_in_which_no_score_can_be_seen_is_not_asked_for_by_names(
    options: Any, exported: Callable[..., Any]
) -> None:
    with pytest.raises(SourceError) as caught:
        exported(with_objectness, ("output0",), **options)
    said = str(caught.value)
    assert said.startswith("the model rounds its output output0 to steps of 1.9 (DequantizeLinear (")
    assert said.endswith(
        ", in which scores from 0 to 1 are lost. Quantize it with an own scale for its scores, or without its output."
    )


def test_two_outputs_cut_out_of_what_was_rounded(exported: Callable[..., Any]) -> None:
    with pytest.raises(
        SourceError, match=r"rounds all of its outputs to steps of 2\.5 \(Deq.*or without its outputs\.$"
    ):
        exported(apart, ("boxes", "scores"))


@pytest.mark.parametrize("wrap", [by_own_scale, by_own_scale_along])
def test_with_an_own_scale_for_scores_it_goes_on(wrap: Any, exported: Callable[..., Any], tmp_path: Path) -> None:
    manifest = exported(wrap, ("output0",))
    assert max(manifest.verification.values()) <= 1e-4
    assert len(boxcam.explain(boxcam.load(tmp_path / "b", threads=1), PICTURE)) > 0


def test_outputs_of_small_steps_are_refused_for_what_they_are(exported: Callable[..., Any]) -> None:
    """Scores with nothing that may be their boxes: rounding has nothing to do with it."""
    with pytest.raises(BoxcamError) as caught:
        exported(lambda boxes, logits: (rounded(logits.sigmoid(), 1 / 255, 0), rounded(boxes)[..., :3]), ("a", "b"))
    assert "steps of" not in str(caught.value)


def test_steps_are_those_of_one_tensor_and_not_of_several_that_are_joined() -> None:
    net = Net()
    integers = net.input("q", (1, 4), ir.DataType.UINT8)
    boxes, scores = (net.DequantizeLinear(integers, np.float32(step)) for step in (4, 1 / 255))
    model = net.model([net.Reshape(boxes, np.array([4])), net.Concat(boxes, scores, axis=0)])
    turned, joined = model.graph.outputs
    one = rounding(turned)
    assert one is not None
    assert (one[0].op_type, one[1]) == ("DequantizeLinear", 4)
    assert rounding(joined) is None
