"""Methods for rectified features say so, once, where a layer's features have negative values."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from onnx import TensorProto

import boxcam
from boxcam.explain.methods import METHODS, Method
from tests.export.sources.onnx.small import Small

Cli = Callable[..., Result]
RECTIFIED = ["gradcam++", "xgradcam", "ssgradcam++"]


class Activated(Small):
    """A classifier of a layer of 2x2 cells and two channels, x and -x of a pixel, after SiLU or ReLU."""

    def build(self, path: Path, activation: str) -> Path:
        weight = np.zeros((2, 3, 16, 16), np.float32)
        weight[0, :, 8, 8], weight[1, :, 8, 8] = 1, -1
        before = self.node("Conv", [self.image, weight], strides=[16, 16])[0]
        if activation == "relu":
            cells = self.Relu(before, name="layer")
        else:
            cells = self.node("Mul", [before, self.Sigmoid(before)], name="layer")[0]
        head = np.array([[1, 1], [1, 2]], np.float32).repeat(4, 0)
        self.node("MatMul", [self.Flatten(self.Mul(cells, cells)), head], name="logits")
        return self.save(path, logits=TensorProto.FLOAT)


def exported(folder: Path, activation: str) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            Activated().build(folder / f"{activation}.onnx", activation), output=folder / activation, engine="onnx",
            layers=["layer"], class_names=["nothing", "thing"], preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
        )  # fmt: skip
    return folder / activation


@pytest.fixture(scope="module")
def silu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("rectified"), "silu")


@pytest.fixture(scope="module")
def relu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("rectified"), "relu")


IMAGE = np.random.default_rng(0).integers(1, 256, (32, 32, 3), dtype=np.uint8)


def test_they_are_those_that_say_so() -> None:
    found = [name for name in METHODS if isinstance(one := METHODS[name], Method) and one.rectified]
    assert found == RECTIFIED
    said = [name for name in METHODS if "rectified features only" in METHODS[name].shows]
    assert set(said) <= set(found)


@pytest.mark.parametrize("method", RECTIFIED)
def test_negative_features_are_warned_of_with_a_way_out(method: str, silu: Path) -> None:
    model = boxcam.load(silu, threads=1)
    message = (
        rf"^the method '{re.escape(method)}' is for rectified features, as a ReLU makes them, but layer 'layer' has"
        r" negative values, so its weights mean little\. Use method=\"hirescam\" or method=\"layercam\","
        r" which are for any features\.$"
    )
    with pytest.warns(boxcam.BoxcamWarning, match=message) as caught:
        model.explain(IMAGE, method=method, rank=[1, 2])
    told = [one for one in caught if "rectified" in str(one.message)]
    assert [Path(one.filename).name for one in told] == [
        Path(__file__).name
    ]  # one, of both classes; where it was asked


@pytest.mark.parametrize("method", ["hirescam", "layercam", "gradcam"])
def test_methods_for_any_features_say_nothing(method: str, silu: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boxcam.load(silu, threads=1).explain(IMAGE, method=method, classes="thing")


@pytest.mark.parametrize("method", RECTIFIED)
def test_rectified_features_are_nothing_to_warn_of(method: str, relu: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boxcam.load(relu, threads=1).explain(IMAGE, method=method, classes="thing")


def test_the_command_line_says_it_once_of_several_images(silu: Path, tmp_path: Path, cli: Cli) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), IMAGE)
    done = cli(
        *("explain", silu, tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "o"),
        *("--rank", "1", "--method", "gradcam++"),
    )
    assert done.exit_code == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("boxcam: warning: the method 'gradcam++' is for rectified features")
    assert line.endswith("Use --method hirescam or --method layercam, which are for any features.")
