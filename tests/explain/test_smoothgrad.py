"""SmoothGrad: worked out for a network that squares its cells, with the noise drawn again."""

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
from boxcam.bundle import Preprocess
from boxcam.errors import ArgumentError, RunError, UnknownNameError
from boxcam.explain.changed_input import ChangedInput
from boxcam.runtime.preprocess import prepare
from tests.explain.squares import Squares

Cli = Callable[..., Result]
METHOD = "smooth-grad"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smooth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            Squares().build(folder / "model.onnx"), output=folder / "b", layers=["layer", "image"], engine="onnx",
            class_names=["nothing", "thing"], preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
        )  # fmt: skip
    return folder / "b"


@pytest.fixture
def picture() -> Any:
    return np.random.default_rng(0).integers(0, 90, (32, 32, 3), dtype=np.uint8)


def test_it_is_the_size_of_the_mean_gradient_over_noisy_images(bundle: Path, picture: Any) -> None:
    """A cell is the sum s of a pixel's colours, if that is positive, and counts s²: its gradient is 2 s."""
    said: list[tuple[int, int]] = []
    found = boxcam.load(bundle, threads=1).explain(
        picture, classes="thing", method=METHOD, samples=20, noise=0.4, seed=6, progress=lambda *of: said.append(of)
    )
    image = picture[..., ::-1].transpose(2, 0, 1).astype(np.float32) / 255
    rng, gradients = np.random.default_rng(6), []
    for _ in range(20):
        noisy = image + 0.4 * np.ptp(image) * rng.standard_normal(image.shape, np.float32)
        gradients.append(2 * np.maximum(noisy[:, 8::16, 8::16].sum(0), 0))
    values = found.map(0).copy()
    assert values[8::16, 8::16] == pytest.approx(np.mean(gradients, axis=0), rel=1e-4)
    assert np.ptp(gradients, axis=0).min() > 0.1
    values[8::16, 8::16] = 0
    assert not values.any()
    assert said == [(done, 20) for done in range(21)]
    assert (found.layer, found.engine, found.target) == ("image", "onnx", "logit")


def test_signs_cancel_in_the_mean(bundle: Path, picture: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every other gradient had the other sign: the mean of two is then small, and not the mean of their sizes."""
    model = boxcam.load(bundle, threads=1)
    real, calls = type(model.runtime).patches, []

    def turning(self: Any, *given: Any, **more: Any) -> Any:
        calls.append(1)
        for of in real(self, *given, **more):
            yield tuple(replace(patch, gradient=patch.gradient * np.float32((-1) ** len(calls))) for patch in of)

    plain = model.explain(picture, classes="thing", method="saliency").map(0).max()
    monkeypatch.setattr(type(model.runtime), "patches", turning)
    assert model.explain(picture, classes="thing", method=METHOD, samples=2, noise=0.01).map(0).max() < 0.1 * plain


def test_noise_is_on_the_image_only_and_whole_numbers_stay_whole() -> None:
    spec = Preprocess(
        height=40, width=64, fit_height=40, fit_width=64, resize="fit", pad_to="center", pad_value=(114.0,) * 3,
        pad_before_normalize=True, mean=(0.0,) * 3, std=(1.0,) * 3, color="RGB",
    )  # fmt: skip
    image = np.random.default_rng(0).integers(0, 256, (20, 16, 3), dtype=np.uint8)
    for one in (spec, replace(spec, layout="NHWC"), replace(spec, dtype="uint8")):
        tensor, place = prepare(image, one)
        changed = ChangedInput(tensor, place, one)
        assert changed.corner == (0, 16)
        assert changed.pixels.shape == (3, 40, 32)
        found = changed.with_pixels(changed.pixels + np.float32(100.4))
        planes, before = (of[0] if one.layout == "NCHW" else of[0].transpose(2, 0, 1) for of in (found, tensor))
        assert found.dtype == tensor.dtype
        assert (planes[..., :16] == 114).all()
        assert (planes[..., 48:] == 114).all()
        expected = before[..., 16:48].astype(np.float64) + 100.4
        if one.dtype == "uint8":
            expected = np.minimum(np.rint(expected), 255)
        assert planes[..., 16:48] == pytest.approx(expected)


def test_a_gradient_that_moves_with_the_noise_is_refused(
    bundle: Path, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = boxcam.load(bundle, threads=1)
    real, calls = type(model.runtime).patches, []

    def moving(self: Any, *given: Any, **more: Any) -> Any:
        calls.append(1)
        for of in real(self, *given, **more):
            yield tuple(replace(patch, corner=(len(calls), 0)) for patch in of)

    monkeypatch.setattr(type(model.runtime), "patches", moving)
    with pytest.raises(RunError, match=r"layer 'image' is not the same in noisy images, .* method=\"saliency\"\.$"):
        model.explain(picture, classes="thing", method=METHOD, samples=2)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"noise": 0}, ArgumentError, r"noise=0 is not a number above 0, and 1 at most\. Pass the noise as a share"),
        ({"noise": 1.5}, ArgumentError, r"noise=1\.5 is not a number above 0"),
        ({"samples": 0}, ArgumentError, r"samples=0 is not a whole number above 0\. Pass how many noisy images"),
        ({"masks": 3}, ArgumentError, r"has no masks, so masks=3 means nothing\. .*\(d-rise\)"),
        ({"method": "saliency", "noise": 0.1}, ArgumentError, r"'saliency' has no noise, so noise=0\.1 means nothing"),
        ({"layer": "layer"}, UnknownNameError, r"is one of pixels: it is for the layer 'image', not 'layer'"),
    ],
)
def test_what_does_not_go_with_it_is_refused(bundle: Path, given: dict[str, Any], error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        boxcam.load(bundle, threads=1).prepare(**{"method": METHOD, **given})


def test_the_command_line(bundle: Path, picture: Any, tmp_path: Path, cli: Cli) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    given = ["explain", bundle, tmp_path / "a.png", "-o", tmp_path / "o", "--class", "thing", "--method", METHOD]
    done = cli(*given, "--samples", "3", "--noise", "0.2", "--seed", "1")
    assert (done.exit_code, done.stderr) == (0, "")
    facts = json.loads((tmp_path / "o" / "a.json").read_text())
    assert (facts["samples"], facts["noise"], facts["seed"], facts["layer"]) == (3, 0.2, 1, "image")
    same = boxcam.explain(str(bundle), picture, classes="thing", method=METHOD, samples=3, noise=0.2, seed=1)
    assert np.load(tmp_path / "o" / "a.npz")["maps"] == pytest.approx(same.maps)
