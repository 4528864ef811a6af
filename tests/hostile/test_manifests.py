"""Manifests that are sealed and say what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import boxcam
from boxcam.bundle import bounds
from boxcam.errors import BundleError
from tests.hostile.made import bundle

Data = dict[str, Any]


def put(*path: str | int, to: Any) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        place: Any = data
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def both(*changes: Callable[[Data], None]) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        for one in changes:
            one(data)

    return change


TENSOR = ("layers", 0, "tensors", 0)
GRADIENT = ("layers", 0, "gradients", 0)
LABEL = "x" * 1001
CASES: dict[str, tuple[Callable[[Data], None], str]] = {
    "no stride": (put(*TENSOR, "stride", to=[0, 8]), r"stride: 0\.0 is not"),
    "a negative stride": (put(*TENSOR, "stride", to=[8, -8]), r"stride: -8\.0 is not"),
    "a stride without an end": (put(*TENSOR, "stride", to=[1e300, 8]), "stride: 1e[+]300 is not"),
    "neither stride nor proposals": (put(*TENSOR, "stride", to=None), "has neither stride nor rois"),
    "proposals of a map": (put(*TENSOR, "rois", to="dets"), "of a layer of the kind 'map' has rois"),
    "a centre far away": (put(*TENSOR, "center", to=[1e9, 0]), "center: 1000000000"),
    "no channels": (put(*TENSOR, "channels", to=0), "channels: 0 is not"),
    "too many channels": (put(*TENSOR, "channels", to=1 << 40), "channels: 1099511627776 is not"),
    "a map of no height": (put(*TENSOR, "height", to=0), "a side: 0 is not"),
    "a receptive field of nothing": (put(*TENSOR, "receptive_field", to=0), "receptive_field: 0 is not"),
    "a tensor twice": (
        lambda data: data["layers"][0]["tensors"].append(data["layers"][0]["tensors"][0]),
        "is there twice",
    ),
    "a tensor without a name": (put(*TENSOR, "name", to=""), "a name is empty"),
    "no layers": (put("layers", to=[]), "layers: there are 0"),
    "no tensors": (put("layers", 0, "tensors", to=[]), "tensors: there are 0"),
    "a layer twice": (lambda data: data["layers"].append(data["layers"][0]), "layers: 'neck' is there twice"),
    "an engine that is not known": (put(*GRADIENT, "engine", to="python"), "engine 'python' is none of"),
    "a program called a graph": (put(*GRADIENT, "engine", to="torchscript"), "ends in .pt"),
    "no boxes at once": (put(*GRADIENT, "boxes_at_once", to=0), "boxes_at_once: 0 is not"),
    "all boxes at once": (put(*GRADIENT, "boxes_at_once", to=1 << 60), "boxes_at_once: 1152921504606846976 is not"),
    "a target that is not there": (put(*GRADIENT, "target", to="x1"), "target 'x1' is none of: logit"),
    "a context twice": (
        lambda data: data["layers"][0]["gradients"][0].update(context=["a", "a"]),
        "'a' is there twice",
    ),
    "no targets": (put("targets", to=[]), "targets: there are 0"),
    "a target of another name": (put("targets", 0, "name", to="feeling"), "target 'feeling' is none of"),
    "a target without tensors": (put("targets", 0, "ends", to=[]), "ends: there are 0"),
    "logits of a negative size": (put("targets", 0, "ends", 0, "shape", 1, to=-1), "shape of .*: -1 is not"),
    "logits of many axes": (put("targets", 0, "ends", 0, "shape", to=[1] * 40), "there are 40, not 0 to 32"),
    "no columns of boxes": (put("outputs", "box_columns", to=None), "boxes and scores are one tensor"),
    "no column of scores": (put("outputs", "score_column", to=None), "boxes and scores are one tensor"),
    "three columns": (put("outputs", "box_columns", to=[0, 3]), "are not four columns"),
    "negative columns": (put("outputs", "box_columns", to=[-4, 0]), "are not four columns"),
    "a negative column": (put("outputs", "score_column", to=-1), "score_column: -1 is not"),
    "a column that is a side": (put("outputs", "score_column", to=2), "is one of the box_columns"),
    "a huge multiple": (
        both(put("preprocess", "multiple", to=40_000), put("preprocess", "resize", to="fit")),
        "multiple: 40000 is not 0 to 4096",
    ),
    "a huge input": (
        both(put("preprocess", "height", to=1 << 20), put("preprocess", "width", to=1 << 20)),
        "a side: 1048576 is not",
    ),
    "a large area": (
        both(put("preprocess", "height", to=30_000), put("preprocess", "width", to=30_000)),
        "height times width: 900000000 is not",
    ),
    "a spread of nothing": (put("preprocess", "std", to=[1, 0, 1]), "std"),
    "numbers that are none": (put("preprocess", "mean", to=[float("nan")] * 3), "cannot be read"),
    "figures without an end": (put("verification", "outputs", to=float("inf")), "cannot be read"),
    "a number of many digits": (put("preprocess", "mean", to=[10**400, 0, 0]), "too large"),
    "a long label": (put("labels", 0, to=LABEL), "a text has 1001 letters, and at most 1000 are allowed"),
    "many labels": (put("labels", to=["a"] * 200_001), "labels: there are 200001"),
    "a file above": (lambda data: data["files"].update({"../../etc/passwd": "0" * 64}), "outside the bundle"),
    "a file of Windows": (lambda data: data["files"].update({"..\\..\\a": "0" * 64}), "outside the bundle"),
    "a file with a control character": (lambda data: data["files"].update({"a\x1b[2J": "0"}), "outside the bundle"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_impossible_manifest_is_refused(case: str, tmp_path: Path) -> None:
    change, expected = CASES[case]
    path = bundle(tmp_path, change)
    with pytest.raises(BundleError, match=expected) as caught:
        boxcam.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "[" * 500 + "]" * 500, "1" * 10_000, '"\\ud800"', "\0"]
)
def test_json_that_is_deep_or_strange(text: str, tmp_path: Path) -> None:
    path = bundle(tmp_path)
    (path / "manifest.json").write_text(text)
    with pytest.raises(BundleError):
        boxcam.load(path)


@pytest.mark.parametrize("depth", [200, 990, 5000])
def test_depth_inside_of_a_manifest(depth: int, tmp_path: Path) -> None:
    path = bundle(tmp_path)
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(
        text.replace('"source": {', '"source": {"a": ' + "[" * depth + "]" * depth + ", ")
    )
    with pytest.raises(BundleError):
        boxcam.load(path)


def test_a_bundle_of_an_export_is_within_the_bounds(tmp_path: Path) -> None:
    bounds.check(boxcam.load(bundle(tmp_path)).manifest)
