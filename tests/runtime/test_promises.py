"""A bundle whose forward graph is not what its manifest says: refused when it is opened, or when it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam.errors import BundleError, RunError
from boxcam.runtime.images import read_image
from boxcam.types import Patch
from tests.hostile.made import PICTURE, bundle


def in_tensor(**fields: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        data["layers"][0]["tensors"][0].update(fields)

    return change


@pytest.mark.parametrize(
    ("fields", "known", "said"),
    [
        ({"channels": 47}, [48, 40, 40], [47, 40, 40]),
        ({"height": 41}, [48, 40, 40], [48, 41, 40]),
        ({"width": 39}, [48, 40, 40], [48, 40, 39]),
    ],
)
def test_a_tensor_of_another_size_is_refused(
    fields: dict[str, int], known: list[int], said: list[int], tmp_path: Path
) -> None:
    boxcam.load(bundle(tmp_path, in_tensor(height=None, width=None)))  # which leaves it open
    with pytest.raises(BundleError, match=r"forward\.onnx: .* as the manifest says. Export the model again") as caught:
        boxcam.load(bundle(tmp_path, in_tensor(**{"height": 40, "width": 40, **fields})))
    assert f" is {known}, not {said} as the manifest says" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"height": 352, "fit_height": 320}, "lacks an input of 352x320, which the manifest lists"),
        ({"width": 352}, "lacks an input of 320x352, which the manifest lists"),
        ({"layout": "NHWC"}, "lacks an input of 320x320, which the manifest lists"),
        ({"multiple": 32}, "lacks an input of each image's own size, which the manifest lists"),
    ],
)
def test_an_input_of_another_size_is_refused(fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=said):
        boxcam.load(bundle(tmp_path, lambda data: data["preprocess"].update(fields)))


def test_what_is_lacking_is_named_but_for_the_fourth(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["targets"][0].update(origin="d", value="b")
        data["layers"][0]["gradients"][0]["context"] = ["c", "a"]

    with pytest.raises(BundleError, match=r"forward\.onnx lacks a, b, c, which the manifest lists"):
        boxcam.load(bundle(tmp_path, change))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 1e30])
def test_proposals_that_lie_nowhere(number: float, tmp_path: Path) -> None:
    model = boxcam.load(bundle(tmp_path)).runtime
    layer = model.layer()
    prediction = model.predict(read_image(PICTURE), layer)
    name = "rois"
    tensor = boxcam.bundle.Tensor(layer.tensors[0].name, 48, 40, 40, None, rois=name)
    pooled = boxcam.bundle.Layer("roi", "roi", (tensor,), layer.gradients)
    patch = Patch(0, 0, (0, 0), np.zeros((48, 1, 1), np.float32))
    prediction.outputs._arrays[name] = np.array([[0, 0, number, 9]])
    if number == 1e30:  # far away, and a place all the same
        assert model.grid(prediction, pooled, patch).bounds is not None
    else:
        with pytest.raises(RunError, match=r"where the cells of .* lie cannot be told .*Export the model again"):
            model.grid(prediction, pooled, patch)
