"""The method that is taken where none is named."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result

import boxcam
from boxcam.explain.defaults import OF_CLASSIFIERS, OF_DETECTORS
from tests.explain.squares import Squares

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            Squares().build(folder / "model.onnx"), output=folder / "b", layers=["layer", "image"], engine="onnx",
            class_names=["nothing", "thing"], preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
        )  # fmt: skip
    return folder / "b"


def test_a_detector_is_explained_cell_by_cell(signs: Path, signs_model: boxcam.Model) -> None:
    cat = signs / "images" / "cat.jpg"
    by_default, named = signs_model.explain(cat, top=1), signs_model.explain(cat, top=1, method="hirescam")
    assert by_default.method == OF_DETECTORS.method == "hirescam"
    np.testing.assert_array_equal(by_default.map(0), named.map(0))


@pytest.mark.parametrize(
    ("layer", "method"),
    [(None, "gradcam"), ("layer", "gradcam"), ("image", "hirescam"), (["layer", "image"], "hirescam")],
)
def test_a_classifier_by_its_channels_but_at_the_pixels(
    classifier: Path, layer: str | list[str] | None, method: str
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert boxcam.explain(classifier, image, layer=layer, classes="thing").method == method


def test_the_command_line_takes_the_same_and_inspect_says_which(
    cli: Cli, signs: Path, signs_bundle: Path, classifier: Path, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((32, 32, 3), 100, np.uint8))
    for bundle, image, default in (
        (signs_bundle, signs / "images" / "cat.jpg", OF_DETECTORS),
        (classifier, tmp_path / "a.png", OF_CLASSIFIERS),
    ):
        done = cli("explain", bundle, image, "-o", tmp_path / default.method, "--top", "1")
        assert done.exit_code == 0, done.output
        facts = (tmp_path / default.method / f"{image.stem}.json").read_text(encoding="utf-8")
        assert f'"method": "{default.method}"' in facts
        said = cli("inspect", bundle).stdout.splitlines()
        assert f"default         method {default.method}, as {default.reason}" in said
