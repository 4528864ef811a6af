"""Integrated gradients, from a blurred image to the image: worked out for a network that squares its cells."""

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
from scipy.ndimage import gaussian_filter

import boxcam
from boxcam.errors import RunError, UnknownNameError
from boxcam.explain.path import blurred
from tests.explain.squares import Squares

Cli = Callable[..., Result]
METHOD = "integrated-gradients"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("path")
    path = Squares().build(folder / "model.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            path, output=folder / "b", layers=["layer", "image"], engine="onnx", class_names=["nothing", "thing"],
            preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
        )  # fmt: skip
    return folder / "b"


@pytest.fixture
def picture() -> Any:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image[8, 8] = 255
    return image


def seen(image: Any) -> Any:
    """The cells: [2, 2], the sums of colours of four pixels, 0..1 each."""
    return image[8::16, 8::16].astype(np.float64).sum(-1) / 255


def test_each_cell_has_what_its_square_gained(bundle: Path, picture: Any) -> None:
    explanation = boxcam.load(bundle, threads=1).explain(picture, classes="thing", method=METHOD, layer="layer")
    ((part,),) = explanation.parts
    gained = seen(picture) ** 2 - seen(blurred(picture)) ** 2
    assert part.cells.values == pytest.approx(gained, rel=1e-4, abs=1e-5)
    assert part.cells.values.max() > 1
    assert explanation.completeness == pytest.approx([1.0], abs=1e-4)


def test_only_the_pixels_that_are_read_have_any_and_the_map_is_complete(bundle: Path, picture: Any) -> None:
    explanation = boxcam.load(bundle, threads=1).explain(picture, classes="thing", method=METHOD, layer="image")
    gained = seen(picture) ** 2 - seen(blurred(picture)) ** 2
    values = explanation.map(0)
    assert values[8::16, 8::16] == pytest.approx(gained, rel=1e-4, abs=1e-5)
    values[8::16, 8::16] = 0
    assert not values.any()
    assert explanation.completeness == pytest.approx([1.0], abs=1e-4)


def test_a_layer_that_not_everything_comes_through_is_told(bundle: Path, picture: Any) -> None:
    """As if the layer saw half of the change: the completeness is half."""
    model = boxcam.load(bundle, threads=1)
    real = type(model.runtime).at_origin

    class Twice(type(model.runtime)):  # type: ignore[misc]
        def __init__(self) -> None:
            self.__dict__.update(model.runtime.__dict__)

        def at_origin(self, *given: Any) -> Any:
            found = real(self, *given)
            return None if found is None else 2 * found

    found = boxcam.explain(Twice(), picture, classes="thing", method=METHOD, layer="layer")
    assert found.completeness == pytest.approx([0.5], abs=1e-4)
    assert found.facts()["detections"][0]["completeness"] == pytest.approx(0.5, abs=1e-4)
    assert model.explain(picture, classes="thing", layer="layer").facts()["detections"][0]["completeness"] is None


def test_regions_have_together_what_their_pixels_have(bundle: Path, picture: Any) -> None:
    model = boxcam.load(bundle, threads=1)
    pixels = model.explain(picture, classes="thing", method=METHOD, layer="image")
    regions = model.explain(picture, classes="thing", method="regional-gradients", layer="image")
    ((one,),), ((other,),) = pixels.parts, regions.parts
    expected = gaussian_filter(one.cells.values.astype(np.float64), 32 / 8, mode="reflect")  # the box is the image
    assert other.cells.values == pytest.approx(expected, abs=1e-6)
    assert np.ptp(other.cells.values) > 0.01
    assert regions.completeness == pytest.approx(pixels.completeness, rel=1e-5)
    assert (pixels.of_pixels, regions.of_pixels) == (True, False)  # only noise needs its brightest pixels cut


def test_a_picture_that_blurring_does_not_change_gains_nothing(bundle: Path) -> None:
    plain = np.full((32, 32, 3), 100, np.uint8)
    with pytest.warns(boxcam.BoxcamWarning, match=r"an empty map means that integrated-gradients found nothing"):
        found = boxcam.load(bundle, threads=1).explain(plain, classes="thing", method=METHOD, layer="layer")
    assert not found.maps.any()
    assert found.facts()["detections"][0]["completeness"] is None


def test_a_bundle_that_does_not_tell_the_target_of_other_passes(
    bundle: Path, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = boxcam.load(bundle, threads=1)
    monkeypatch.setattr(type(model.runtime), "at_origin", lambda *given: None)
    with pytest.warns(boxcam.BoxcamWarning, match=r"cannot be told: .* by an earlier boxcam\. Export the model again"):
        found = model.explain(picture, classes="thing", method=METHOD, layer="layer")
    assert found.completeness is None
    assert found.maps.any()


def test_a_gradient_that_moves_with_the_image_is_refused(
    bundle: Path, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = boxcam.load(bundle, threads=1)
    real, calls = type(model.runtime).patches, []

    def moving(self: Any, *given: Any, **more: Any) -> Any:
        calls.append(1)
        for of in real(self, *given, **more):
            yield tuple(replace(patch, corner=(len(calls), 0)) for patch in of)

    monkeypatch.setattr(type(model.runtime), "patches", moving)
    with pytest.raises(RunError, match=r"layer 'layer' is not the same in blurred images, .* method=\"hirescam\"\.$"):
        model.explain(picture, classes="thing", method=METHOD, layer="layer")


def test_proposals_which_are_others_in_each_pass_are_refused(bundle: Path, picture: Any) -> None:
    model = boxcam.load(bundle, threads=1)
    first, second = model.manifest.layers
    model.runtime.manifest = replace(model.manifest, layers=(replace(first, kind="roi"), second))
    with pytest.raises(
        UnknownNameError, match=r"layer 'layer' are others in each\. Choose another layer \(image\), or"
    ):
        model.explain(picture, classes="thing", method=METHOD, layer="layer")


def test_the_command_line_prints_the_completeness(bundle: Path, picture: Any, tmp_path: Path, cli: Cli) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    given = ["explain", bundle, tmp_path / "a.png", "-o", tmp_path / "o", "--class", "thing", "--layer", "layer"]
    done = cli(*given, "--method", METHOD)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "a.png: 1 class, completeness 1.00" in done.stdout
    assert json.loads((tmp_path / "o" / "a.json").read_text())["detections"][0]["completeness"] == pytest.approx(1)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (900, 40, 3), (1200, 1600, 3), (40, 50, 1), (40, 50, 6)])
def test_blurred_images_keep_their_shape_and_their_mean(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = blurred(image)
    assert found.shape == shape
    assert found.dtype == np.uint8
    assert abs(float(found.mean()) - float(image.mean())) < 12
    assert found.std() <= image.std()
