"""Maps of several layers as one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result

import boxcam
from boxcam.errors import ArgumentError, UnknownLayerError, UnknownNameError
from tests.explain.made import AGAINST, EVEN, LEFT, explanation
from tests.explain.squares import Squares

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fusion")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            Squares().build(folder / "model.onnx"), output=folder / "b", layers=["layer", "image"], engine="onnx",
            class_names=["nothing", "thing"], preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
        )  # fmt: skip
    return folder / "b"


@pytest.fixture
def picture() -> Any:
    return np.random.default_rng(0).integers(1, 256, (32, 32, 3), dtype=np.uint8)


def fused(*more: list[list[float]], fusion: Any = "max") -> boxcam.Explanation:
    """The map of one box at a layer, which is 2 on the left, and its maps at others."""
    return replace(explanation(LEFT), fused=tuple(explanation(cells).parts for cells in more), fusion=fusion)


def test_each_map_counts_as_a_share_of_its_peak_and_only_what_is_positive() -> None:
    alone = explanation(LEFT).map(0)
    assert alone.max() == 2
    assert fused(EVEN).map(0) == pytest.approx(np.ones((4, 8)))
    assert fused(EVEN, fusion="mean").map(0) == pytest.approx((alone / 2 + 1) / 2)
    assert fused(AGAINST).map(0) == pytest.approx(alone / 2)
    assert fused(AGAINST, EVEN, fusion="mean").map(0) == pytest.approx((alone / 2 + 1) / 3)
    none = replace(explanation(AGAINST), fused=(explanation(AGAINST).parts,))
    assert not none.map(0).any()
    assert not none.has_evidence(0)


def test_a_box_depends_on_the_layers_if_on_any() -> None:
    at_neither = replace(explanation(LEFT), parts=((),), fused=(((),)))
    assert not replace(at_neither, fused=(((),),)).depends(0)
    either = replace(at_neither, fused=(explanation(EVEN).parts,))
    assert either.depends(0)
    assert either.has_evidence(0)
    assert [part.tensor for part in either.all_parts(0)] == ["p3"]
    assert either.map(0) == pytest.approx(np.ones((4, 8)))


@pytest.mark.parametrize("fuse", ["max", "mean"])
def test_two_layers_are_the_maps_of_each_together(bundle: Path, picture: Any, fuse: Any) -> None:
    model = boxcam.load(bundle, threads=1)
    asked: dict[str, Any] = {"classes": "thing", "method": "hirescam"}
    maps = [model.explain(picture, layer=layer, **asked).map(0) for layer in ("layer", "image")]
    shares = [np.maximum(one, 0) / one.max() for one in maps]
    assert not np.allclose(*shares)
    found = model.explain(picture, layer=["layer", "image"], fuse=fuse, **asked)
    assert found.map(0) == pytest.approx(np.max(shares, 0) if fuse == "max" else np.mean(shares, 0), rel=1e-5)
    assert (found.layer, found.facts()["fusion"]) == ("layer, image", fuse)
    assert len(found.facts()["detections"][0]["tensors"]) == 2
    assert model.explain(picture, layer="layer", **asked).facts()["fusion"] is None


def test_how_complete_the_maps_of_several_layers_are_is_not_told(bundle: Path, picture: Any) -> None:
    found = boxcam.load(bundle, threads=1).explain(
        picture, classes="thing", method="integrated-gradients", layer=["layer", "image"]
    )
    assert found.completeness is None
    assert found.maps.any()


def test_what_cannot_be_fused_is_refused(bundle: Path, picture: Any) -> None:
    model = boxcam.load(bundle, threads=1)
    with pytest.raises(ArgumentError, match=r"^fuse='sum' is no way to make one map of several\. Pass fuse=\"max\""):
        model.explain(picture, layer=["layer", "image"], fuse="sum")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"^layer= names none\. Pass one or several"):
        model.explain(picture, layer=[])
    with pytest.raises(UnknownLayerError, match=r"no layer 'lair'\. Did you mean 'layer'"):
        model.explain(picture, layer=["layer", "lair"])
    with pytest.raises(ArgumentError, match=r"'guided-gradcam' multiplies the maps of two layers already"):
        model.explain(picture, layer=["layer", "image"], method="guided-gradcam")
    with pytest.raises(
        ArgumentError, match=r"'odam-combined' is of logit, x1, y1, x2, y2 together\. Leave out target="
    ):
        model.explain(picture, target="logit", method="odam-combined")
    assert "odam-combined" not in model.methods()
    with pytest.raises(ArgumentError, match=r"^fuse='mean' is how several maps of a box become one, and there is one"):
        model.explain(picture, layer="layer", fuse="mean")
    with pytest.raises(ArgumentError, match=r"^fuse='max' is how several maps of a box become one, and there is one"):
        model.explain(picture, layer="layer", fuse="max")  # the default, but asked for
    with pytest.raises(ArgumentError, match=r"it has no fusion\. Leave out fuse='mean', or pass another method=\.$"):
        model.explain(picture, method="d-rise", fuse="mean")
    with pytest.raises(ArgumentError, match=r"there is one only\. Pass several layer=, or leave it out\.$"):
        model.explain(picture, method="guided-gradcam", fuse="mean")


def test_a_method_of_features_names_no_layer_that_was_asked_for_already(bundle: Path, picture: Any) -> None:
    model = boxcam.load(bundle, threads=1)
    leave = r"Leave out layer 'image', or pass method=\"hirescam\", which is for both, or method=\"saliency\"\.$"
    with pytest.raises(UnknownNameError, match=leave):
        model.explain(picture, layer=["layer", "image"], method="gradcam")
    with pytest.raises(UnknownNameError, match=r"Choose another layer \(layer\), or pass method=\"hirescam\""):
        model.explain(picture, layer="image", method="gradcam")


def test_the_command_line_takes_several_layers(bundle: Path, picture: Any, tmp_path: Path, cli: Cli) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    given = ["explain", bundle, tmp_path / "a.png", "-o", tmp_path / "o", "--class", "thing", "--method", "hirescam"]
    done = cli(*given, "--layer", "layer", "--layer", "image", "--fuse", "mean")
    assert (done.exit_code, done.stderr) == (0, "")
    facts = json.loads((tmp_path / "o" / "a.json").read_text())
    assert (facts["layer"], facts["fusion"]) == ("layer, image", "mean")
    done = cli(*given, "--fuse", "sum")
    assert done.exit_code == 2
    assert "no fusion 'sum'" in done.stderr
