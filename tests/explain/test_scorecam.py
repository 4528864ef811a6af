"""Score-CAM: weights, masks and maps against numbers worked out by hand."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam.errors import EngineError, UnknownNameError
from boxcam.explain.changed_input import ChangedInput
from boxcam.explain.channels import enlarged
from boxcam.explain.methods.scorecam import scorecam
from boxcam.runtime.preprocess import prepare
from tests.explain.squares import Squares

METHOD = "score-cam"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> boxcam.Model:
    folder = tmp_path_factory.mktemp("score")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            Squares().build(folder / "model.onnx"), output=folder / "b", layers=["layer", "image"], engine="onnx",
            class_names=["nothing", "thing"], preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
        )  # fmt: skip
    return boxcam.load(folder / "b", threads=1)


@pytest.fixture
def picture() -> Any:
    return np.random.default_rng(0).integers(0, 90, (32, 32, 3), dtype=np.uint8)


def test_weights_are_a_softmax_of_the_scores() -> None:
    # exp: 1, 3 and, of the channel that is even, nothing.
    assert scorecam(np.array([0, np.log(3), np.nan])).tolist() == pytest.approx([0.25, 0.75, 0])
    assert scorecam(np.array([5000.0, 5000.0])).tolist() == [0.5, 0.5]
    assert scorecam(np.array([np.nan, np.nan])).tolist() == [0, 0]


def test_a_channel_becomes_a_mask_worked_out_on_paper(model: boxcam.Model, picture: Any) -> None:
    # Two cells of 16 pixels: the first 8 pixels are the first cell's, the last 8 the second's; between, 1/32, 3/32, …
    tensor, place = prepare(picture, model.manifest.preprocess)
    changed = ChangedInput(tensor, place, model.manifest.preprocess)
    mask = enlarged(np.float32([[3, 7], [3, 7]]), place, changed)
    assert mask is not None
    assert mask.shape == (32, 32)
    assert mask[5] == pytest.approx([0] * 8 + [(2 * k + 1) / 32 for k in range(16)] + [1] * 8, abs=1e-6)
    assert enlarged(np.float32([[3, 3], [3, 3]]), place, changed) is None


def test_of_one_channel_it_is_that_channel(model: boxcam.Model, picture: Any) -> None:
    said: list[tuple[int, int]] = []
    found = model.explain(picture, classes="thing", method=METHOD, layer="layer", progress=lambda *of: said.append(of))
    cells = picture[8::16, 8::16].sum(-1) / 255
    (part,) = found.parts[0]
    assert part.cells.values == pytest.approx(cells, rel=1e-5)
    assert said == [(0, 1), (1, 1)]
    assert (found.layer, found.engine, found.target) == ("layer", "onnx", "logit")


def test_a_feature_map_that_is_the_same_everywhere_has_an_empty_map(model: boxcam.Model) -> None:
    with pytest.warns(boxcam.BoxcamWarning, match=r"empty map means that score-cam found nothing at layer 'layer'"):
        found = model.explain(np.full((32, 32, 3), 80, np.uint8), classes="thing", method=METHOD, layer="layer")
    assert not found.maps.any()


def test_only_the_channels_of_the_maps_that_boxes_come_from_are_tried(
    signs: Path, signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo detector's neck is four maps of 48 channels."""
    even = sum(not np.ptp(channel) for channel in _features(signs_model, signs))
    real, passes, said = type(signs_model.runtime).forward, [], []

    def counting(self: Any, *given: Any, **more: Any) -> Any:
        passes.append(1)
        return real(self, *given, **more)

    monkeypatch.setattr(type(signs_model.runtime), "forward", counting)
    found = signs_model.explain(
        signs / "images" / "street.jpg", method=METHOD, layer="neck", top=1, progress=lambda *of: said.append(of)
    )
    assert len(passes) == 1 + 48 - even
    assert (said[0], said[1], said[-1]) == ((0, 192), (144, 192), (192, 192))
    assert found.has_evidence(0)


def _features(model: boxcam.Model, signs: Path) -> Any:
    import cv2

    layer = model.runtime.layer("neck")
    prediction = model.runtime.predict(cv2.imread(str(signs / "images" / "street.jpg")), layer)
    (patch,) = next(iter(model.runtime.patches(prediction, layer, [0])))
    return model.runtime.activation(prediction, layer, patch)


def test_layers_that_are_no_maps_of_the_image_are_refused(model: boxcam.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match=r"and layer 'image' is none\. Choose another layer \(layer\), or"):
        model.prepare(method=METHOD, layer="image")
    first, second = model.manifest.layers
    monkeypatch.setattr(model.runtime, "manifest", replace(model.manifest, layers=(replace(first, kind="roi"), second)))
    with pytest.raises(UnknownNameError, match=r"layer 'layer' is none\. Choose another layer \(there is none\), or"):
        model.prepare(method=METHOD, layer="layer")
    assert METHOD not in model.methods()


def test_a_bundle_that_does_not_tell_the_target_of_other_passes_is_refused(
    model: boxcam.Model, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(model.runtime), "at_origin", lambda *given: None)
    with pytest.raises(EngineError, match=r"by an earlier boxcam and does not give the numbers .* Export the model"):
        model.explain(picture, classes="thing", method=METHOD, layer="layer")
