"""Layers that normalise: a BatchNormalization of the image, or a convolution of single pixels, channel by channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from boxcam.bundle import Finding
from tests.conventions.belief import against
from tests.export.sources.onnx.plain import SIZE, Plain

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)


def batch_normalization(net: Plain, image: str) -> str:
    return net.BatchNormalization(image, np.ones(3, np.float32), np.zeros(3, np.float32), MEAN, STD**2)


def depthwise(net: Plain, image: str) -> str:
    weight = (1 / STD).reshape(3, 1, 1, 1)
    return net.Conv(image, weight, -MEAN / STD, group=3, kernel_shape=[1, 1])


def diagonal(net: Plain, image: str) -> str:
    return net.Conv(image, np.diag(1 / STD).reshape(3, 3, 1, 1), -MEAN / STD, kernel_shape=[1, 1])


def turned(net: Plain, image: str) -> str:
    """The channels in another order, too."""
    weight = np.diag(1 / STD)[:, ::-1].reshape(3, 3, 1, 1).copy()
    return net.Conv(image, weight, -MEAN / STD, kernel_shape=[1, 1])


LAYERS = [batch_normalization, depthwise, diagonal, turned]
IMAGENET = ("resize=stretch", "scale=0-255", "mean=123.675,116.28,103.53", "std=58.395,57.12,57.375")
PIXELS = ("resize=stretch", "scale=0-255", "mean=0", "std=1")


def verdict(path: Path, layer: Callable[[Plain, str], str], preprocess: tuple[str, ...]) -> tuple[str, str] | None:
    net = Plain((1, 3, SIZE, SIZE))
    net.logits(net.map(layer(net, net.image)))
    answers = against(net.save(path), preprocess=preprocess)
    assert "asked" not in answers
    found = answers.get("normalisation")
    return (found.verdict, found.sentence) if isinstance(found, Finding) else None


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_normalised_twice_is_refused(layer: Callable[[Plain, str], str], tmp_path: Path) -> None:
    found = verdict(tmp_path / "m.onnx", layer, (*IMAGENET, "color=RGB"))
    assert found is not None
    assert found[0] == "implausible"
    assert "scale=0-255" in found[1]


@pytest.mark.parametrize("layer", LAYERS[:3])
def test_what_is_normalised_once_is_believed(layer: Callable[[Plain, str], str], tmp_path: Path) -> None:
    assert verdict(tmp_path / "m.onnx", layer, (*PIXELS, "color=RGB")) is None


def test_the_order_of_channels_is_told_of_a_convolution_that_turns_them(tmp_path: Path) -> None:
    found = verdict(tmp_path / "m.onnx", turned, (*PIXELS, "color=RGB"))
    assert found is not None
    assert "color=BGR" in found[1]
    assert verdict(tmp_path / "m.onnx", turned, (*PIXELS, "color=BGR")) is None


def mixing(net: Plain, image: str) -> str:
    """Learned: each filter reads all channels."""
    weight = np.random.default_rng(0).normal(0, 0.01, (3, 3, 1, 1)).astype(np.float32)
    return net.Conv(image, weight, -MEAN, kernel_shape=[1, 1])


def test_a_convolution_that_mixes_channels_is_a_layer_as_any_other(tmp_path: Path) -> None:
    assert verdict(tmp_path / "m.onnx", mixing, (*IMAGENET, "color=RGB")) is None


def gathered(net: Plain, image: str) -> str:
    return net.Gather(image, np.array([2, 1, 0]), axis=1)


def sliced(net: Plain, image: str) -> str:
    return net.Slice(image, np.array([2]), np.array([-4]), np.array([1]), np.array([-1]))


def joined(net: Plain, image: str) -> str:
    first, second, third = net.node("Split", [image], 3, axis=1, num_outputs=3)
    return net.Concat(third, second, first, axis=1)


@pytest.mark.parametrize("layer", [gathered, sliced, joined])
def test_a_graph_that_turns_the_channels_round_is_told(layer: Callable[[Plain, str], str], tmp_path: Path) -> None:
    """Most networks take RGB, and a graph that turns channels round makes that of BGR."""
    found = verdict(tmp_path / "m.onnx", layer, ("resize=stretch", "scale=0-1", "color=RGB"))
    assert found is not None
    assert found[0] == "doubtful"
    assert "color=BGR" in found[1]
    assert verdict(tmp_path / "m.onnx", layer, ("resize=stretch", "scale=0-1", "color=BGR")) is None


def test_a_focus_has_twelve_channels_whose_order_is_not_asked(tmp_path: Path) -> None:
    """As YOLOX begins: each second pixel of each second row, four times, as channels."""

    def focus(net: Plain, image: str) -> str:
        def every_second(value: str, axis: int, start: int) -> str:
            return net.Slice(value, np.array([start]), np.array([2**31]), np.array([axis]), np.array([2]))

        places = ((0, 0), (1, 0), (0, 1), (1, 1))
        parts = net.Concat(*(every_second(every_second(image, 2, y), 3, x) for y, x in places), axis=1)
        weight = np.random.default_rng(0).normal(0, 0.01, (3, 12, 1, 1)).astype(np.float32)
        return net.Conv(parts, weight, np.zeros(3, np.float32), kernel_shape=[1, 1])

    assert verdict(tmp_path / "m.onnx", focus, (*PIXELS, "color=BGR")) is None
    assert verdict(tmp_path / "m.onnx", focus, (*PIXELS, "color=RGB")) is None


def test_means_tell_the_order_of_channels_that_were_turned_round(tmp_path: Path) -> None:
    """As Keras has it for Caffe's weights: RGB becomes BGR, and Caffe's means are subtracted."""

    def caffe(net: Plain, image: str) -> str:
        return net.Sub(gathered(net, image), MEAN[::-1].reshape(1, 3, 1, 1).copy())

    assert verdict(tmp_path / "m.onnx", caffe, (*PIXELS, "color=RGB")) is None


def test_a_layer_that_learned_from_pixels_of_0_to_1_is_doubted_and_not_refused(tmp_path: Path) -> None:
    """Such weights may give anything; what would make them usual, pixels 255 times as large, is no advice."""

    def learned(net: Plain, image: str) -> str:
        scale = np.full(3, 0.1, np.float32)
        mean, variance = np.full(3, 0.45, np.float32), np.full(3, 0.225**2, np.float32)
        return net.BatchNormalization(image, scale, np.zeros(3, np.float32), mean, variance)

    found = verdict(tmp_path / "m.onnx", learned, ("resize=stretch", "scale=0-1", "color=RGB"))
    assert found is not None
    assert found[0] == "doubtful"
    assert "scale=0-255" not in found[1]
