"""Methods that need only the means of a gradient get them for less, and give the same map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import boxcam
from boxcam.runtime.images import read_image
from tests.cams import BY_GRADIENT


@pytest.mark.parametrize("layer_name", ["neck", "backbone"])
def test_grad_cam_by_means_is_grad_cam_by_whole_gradients(
    layer_name: str, signs: Path, signs_model: boxcam.Model
) -> None:
    layer = signs_model.runtime.layer(layer_name)
    assert signs_model.runtime.gradient(layer, "onnx").means
    prediction = signs_model.runtime.predict(read_image(signs / "images" / "cat.jpg"), layer)
    boxes = list(range(len(prediction.detections)))
    assert len(boxes) > 4
    short = list(signs_model.runtime.patches(prediction, layer, boxes, means=True))
    long = list(signs_model.runtime.patches(prediction, layer, boxes))
    for (one,), (other,) in zip(short, long, strict=True):
        assert one.tensor == other.tensor
        assert one.gradient.size == 0
        assert one.uniform is not None
        activation = signs_model.runtime.activation(prediction, layer, other)
        (by_means,), (by_cells,) = (
            BY_GRADIENT["gradcam"](activation, [one]),
            BY_GRADIENT["gradcam"](activation, [other]),
        )
        assert by_means.values == pytest.approx(by_cells.values, abs=1e-5 * float(by_cells.values.max()))


def test_engines_without_means_give_whole_gradients(signs: Path, signs_model: boxcam.Model) -> None:
    layer = signs_model.runtime.layer("neck")
    prediction = signs_model.runtime.predict(read_image(signs / "images" / "cat.jpg"), layer, "torchscript")
    ((patch,),) = signs_model.runtime.patches(prediction, layer, [0], "torchscript", means=True)
    assert patch.gradient.size
    assert patch.uniform is None


def test_only_methods_that_say_so_are_given_means() -> None:
    assert [name for name in BY_GRADIENT if BY_GRADIENT[name].means] == ["gradcam", "eigencam", "finer-cam"]
    rng = np.random.default_rng(0)
    activation = rng.random((3, 4, 5), np.float32)
    from boxcam.types import Patch

    gradient = rng.random((3, 4, 5), np.float32)
    means = Patch(0, 0, (0, 0), np.zeros((3, 0, 0), np.float32), gradient.mean((1, 2)))
    whole = Patch(0, 0, (0, 0), gradient)
    for name in BY_GRADIENT:
        same = np.allclose(
            BY_GRADIENT[name](activation, [means])[0].values, BY_GRADIENT[name](activation, [whole])[0].values
        )
        assert same == BY_GRADIENT[name].means, name
