"""Explain classifiers of Keras through tf2onnx, and compare boxcam's gradients with those of tf.GradientTape.

TensorFlow's tensors are [1, height, width, channels], and have the names of their layers.  The weights are random, so
the heatmaps mean nothing; the gradients have to be equal all the same.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import fixture
import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from comparison import PICTURES, Array, apart, explained
from fixture import PICTURE

import boxcam
from boxcam.export.preprocessing import parse
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare


@dataclass(frozen=True)
class Kind:
    """What is known of an application.

    Attributes:
        layer: to explain.
        preprocess: what its own preprocess_input does.
        small: what it is built with for a fixture; None where it cannot be built small.
    """

    layer: str
    preprocess: tuple[str, ...]
    small: Mapping[str, Any] | None = None


KINDS = {
    "MobileNetV2": Kind("out_relu", ("tf",), {"alpha": 0.1, "classes": 12}),
    "ResNet50": Kind("conv5_block3_out", ("tf", "color=BGR", "scale=0-255", "mean=103.939,116.779,123.68", "std=1")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["MobileNetV2", "ResNet50"], help=f"of {', '.join(KINDS)}")
    parser.add_argument("--layer", help="name of a layer; by default the last one with a map")
    parser.add_argument(
        "--fixture", type=Path, help="make the models small, and keep file, scores and gradients in this folder"
    )
    parser.add_argument("--size", type=int, default=160, help="height and width of the input (default: 160)")
    parser.add_argument("--top", type=int, default=3, help="classes to compare (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    parser.add_argument("-o", "--output", type=Path, default=Path("keras"), help="folder to write into")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.models:
        compare(name, arguments)


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Export a model, explain a picture, and print how far boxcam's gradients are from TensorFlow's."""
    kind, kept = KINDS[name], arguments.fixture is not None
    if kept and kind.small is None:
        raise SystemExit(f"{name} cannot be built small")
    layer = arguments.layer or kind.layer
    picture = arguments.fixture / PICTURE if kept else PICTURES[0]
    keras.utils.set_random_seed(arguments.seed)
    size, changed = arguments.size, (kind.small or {}) if kept else {}
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), **changed)
    top = model.output_shape[1] if kept else arguments.top
    spec = parse.parse(list(kind.preprocess), (None, size, size, 3), None, (size, size))
    calibrate(model, np.concatenate([prepare(read_image(path), spec)[0] for path in PICTURES]))
    file, bundle = arguments.output / f"{name}.onnx", arguments.output / f"{name}.boxcam"
    tf2onnx.convert.from_keras(model, opset=17, output_path=str(file))
    boxcam.export(
        file,
        output=bundle,
        layers=[layer],
        preprocess=kind.preprocess,
        sample=picture,
        engine="onnx",
        overwrite=True,
    )
    found = explained(bundle, picture, layer, top)
    expected = {int(label): by_tape(model, layer, found.input, int(label)) for label in found.detections.labels[:top]}
    errors = [
        apart(gradients, [expected[int(label)]])
        for label, gradients in zip(found.detections.labels, found.gradients, strict=False)
    ]
    probabilities = model(found.input).numpy()[0]
    best = np.argsort(-probabilities, kind="stable")[:top]
    difference = np.abs(probabilities[best] - found.detections.scores[:top]).max()
    print(
        f"{name:16} layer {layer} {list(found.features[0].shape[1:])}: gradients of {len(errors)} classes within"
        f" {max(errors):.1e}, scores within {difference:.1e}",
        flush=True,
    )
    if kept:
        height, width = read_image(picture).shape[:2]
        (made,) = boxcam.load(bundle).manifest.layers
        fixture.write(
            arguments.fixture,
            f"keras_{name.lower()}",
            file,
            fixture.About(
                f"Keras: {name}",
                f"keras {keras.__version__}, tensorflow {tf.__version__}, tf2onnx {tf2onnx.__version__}",
                {"preprocess": list(kind.preprocess)},
                {layer: made.gradients[0].form},
            ),
            fixture.Truth(
                np.tile(np.array([0, 0, width, height], np.float32), (top, 1)),
                probabilities[best],
                best,
                {layer: {number: [expected[int(label)]] for number, label in enumerate(best)}},
            ),
        )


def calibrate(model: keras.Model, images: Array) -> None:
    """Fit BatchNormalization to pictures, and make the classes differ."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    dense = model.layers[-1]
    kernel, bias = dense.get_weights()
    logits = keras.Model(model.input, dense.input)(images).numpy() @ kernel
    dense.set_weights([kernel * (3 / logits.std()), bias])


def by_tape(model: keras.Model, layer: str, image: Array, label: int) -> Array:
    """The gradient of a class's logit by the output of a layer, [C, H, W]."""
    dense = model.layers[-1]
    inner = keras.Model(model.input, [model.get_layer(layer).output, dense.input])
    with tf.GradientTape() as tape:
        features, pooled = inner(tf.constant(image))
        logit = (tf.matmul(pooled, dense.kernel) + dense.bias)[0, label]
    return tape.gradient(logit, features)[0].numpy().transpose(2, 0, 1)


if __name__ == "__main__":
    main()
