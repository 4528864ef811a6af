"""Explain a small TensorFlow detector with suppression inside, and compare with tf.GradientTape and its own boxes.

Like many that are deployed it has anchors of three sizes on two maps, tf.image.combined_non_max_suppression at its end
and named outputs; tf2onnx makes the ONNX file.  The weights are random, so boxes and heatmaps mean nothing; they have
to be equal all the same.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

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
from boxcam.types import Detections

CLASSES, SIZES, MOST = 5, (1.0, 2.0, 4.0), 50
LEVELS = {"level_8": 8, "level_16": 16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", choices=LEVELS, help="layer to explain (default: each)")
    parser.add_argument("--fixture", type=Path, help="keep file, boxes and gradients in this folder")
    parser.add_argument("--size", type=int, default=160, help="height and width of the input (default: 160)")
    parser.add_argument("--top", type=int, default=20, help="boxes whose gradients are compared (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    parser.add_argument("-o", "--output", type=Path, default=Path("tensorflow"), help="folder to write into")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(arguments.seed)
    size, layers = arguments.size, [arguments.layer] if arguments.layer else list(LEVELS)
    picture = PICTURES[0] if arguments.fixture is None else arguments.fixture / PICTURE
    spec = parse.parse(["tf"], (None, size, size, 3), None, (size, size))
    model = network(size)
    calibrate(model, np.concatenate([prepare(read_image(path), spec)[0] for path in PICTURES]))
    file, bundle = arguments.output / "detector.onnx", arguments.output / "detector.boxcam"

    @tf.function(input_signature=[tf.TensorSpec((1, size, size, 3), tf.float32, name="image")])
    def detect(image: tf.Tensor) -> dict[str, tf.Tensor]:
        boxes, logits, _ = model(image)
        return suppressed(boxes, tf.sigmoid(logits))

    tf2onnx.convert.from_function(detect, detect.input_signature, opset=17, output_path=str(file))
    boxcam.export(file, output=bundle, layers=layers, preprocess="tf", sample=picture, engine="onnx", overwrite=True)
    found = {layer: explained(bundle, picture, layer, MOST) for layer in layers}
    with tf.GradientTape(persistent=True) as tape:
        boxes, logits, levels = model(tf.constant(found[layers[0]].input))
        rows = tf.reshape(logits, [-1, CLASSES])
    own = {name: value.numpy() for name, value in suppressed(boxes, tf.sigmoid(logits)).items()}
    count = int(own["num_detections"][0])
    height, width = read_image(picture).shape[:2]
    corners = own["detection_boxes"][0, :count][:, [1, 0, 3, 2]] * [width, height, width, height]
    labels, scores = own["detection_classes"][0, :count], own["detection_scores"][0, :count]
    detections = found[layers[0]].detections
    pairs = pair(detections, corners, labels, scores)
    if len(pairs) != count or len(detections) != count:
        raise SystemExit(f"boxcam has {len(detections)} boxes, TensorFlow {count}, or they are others")
    difference = max(float(np.abs(detections.boxes[mine] - corners[theirs]).max()) for mine, theirs in pairs)
    print(f"{count} boxes of {count} found, at most {difference:.1e} pixels apart")
    expected: dict[str, dict[int, list[Array]]] = {}
    for layer in layers:
        level, errors, elsewhere = levels[list(LEVELS).index(layer)], [], 0
        expected[layer] = {}
        for mine, theirs in pairs:
            if len(errors) == arguments.top:
                break
            label = int(labels[theirs])
            row = int(np.abs(tf.sigmoid(rows[:, label]).numpy() - scores[theirs]).argmin())
            gradient = derivative(tape, rows, row, label, level)
            if gradient is None or not gradient.any():
                elsewhere += 1
                if any(array.any() for array in found[layer].gradients[mine]):
                    raise SystemExit(f"box {mine} does not depend on {layer}, and boxcam has a gradient")
                continue
            errors.append(apart(found[layer].gradients[mine], [gradient]))
            expected[layer][theirs] = [gradient]
        print(
            f"layer {layer} {list(found[layer].features[0].shape[1:])}: gradients of {len(errors)} boxes within"
            f" {max(errors):.1e}, {elsewhere} depend on another level only"
        )
    if arguments.fixture is not None:
        fixture.write(
            arguments.fixture,
            "tensorflow_detector",
            file,
            fixture.About(
                "TensorFlow: detector, combined_non_max_suppression inside",
                f"tensorflow {tf.__version__}, tf2onnx {tf2onnx.__version__}",
                {"preprocess": "tf"},
                {layer.name: layer.gradients[0].form for layer in boxcam.load(bundle).manifest.layers},
            ),
            fixture.Truth(corners, scores, labels, expected),
        )


def pair(found: Detections, boxes: Array, labels: Array, scores: Array) -> list[tuple[int, int]]:
    """Boxes of both, each once, by class, score and place: those of nearly equal score may change places."""
    left, pairs = np.ones(len(boxes), bool), []
    for mine, (box, label, score) in enumerate(zip(found.boxes, found.labels, found.scores, strict=True)):
        apart_by = np.abs(boxes - box).max(1) + 1e6 * (labels != label) + 100 * np.abs(scores - score)
        best = int(np.where(left, apart_by, np.inf).argmin())
        if left[best] and apart_by[best] < 0.1:
            left[best] = False
            pairs.append((mine, best))
    return pairs


def derivative(tape: tf.GradientTape, rows: tf.Tensor, row: int, label: int, features: tf.Tensor) -> Array | None:
    """The gradient of one logit by a map, [C, H, W]."""
    chosen = tf.one_hot(row, rows.shape[0])[:, None] * tf.one_hot(label, CLASSES)[None]
    gradient = tape.gradient(rows, features, output_gradients=chosen)
    return None if gradient is None else gradient[0].numpy().transpose(2, 0, 1)


def network(size: int) -> keras.Model:
    """Image → boxes [1, N, 4] (y1 x1 y2 x2, from 0 to 1), logits [1, N, CLASSES], and the two maps."""
    layers = keras.layers
    image = value = keras.Input((size, size, 3), batch_size=1, name="image")
    maps, boxes, logits = [], [], []
    for number, channels in enumerate((16, 32, 64, 64)):
        name = next((name for name, stride in LEVELS.items() if stride == 2 ** (number + 1)), f"stage_{number}")
        value = layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False, name=f"conv_{number}")(value)
        value = layers.BatchNormalization(name=f"norm_{number}")(value)
        value = layers.ReLU(6.0, name=name)(value)
        if name in LEVELS:
            maps.append(value)
    for value, stride in zip(maps, LEVELS.values(), strict=True):
        hidden = layers.DepthwiseConv2D(3, padding="same", activation="relu", name=f"hidden_{stride}")(value)
        side = layers.Conv2D(4 * len(SIZES), 1, name=f"sides_{stride}")(hidden)
        score = layers.Conv2D(CLASSES * len(SIZES), 1, name=f"scores_{stride}")(hidden)
        boxes.append(Decode(stride, size, name=f"decode_{stride}")(layers.Reshape((-1, 4))(side)))
        logits.append(layers.Reshape((-1, CLASSES))(score))
    return keras.Model(
        image, [layers.Concatenate(axis=1)(boxes), layers.Concatenate(axis=1, name="logits")(logits), maps]
    )


class Decode(keras.layers.Layer):
    """From offsets of anchors to corners."""

    def __init__(self, stride: int, size: int, **others: str) -> None:
        super().__init__(**others)
        cells = (np.arange(-(-size // stride)) + 0.5) * stride / size
        y, x = np.meshgrid(cells, cells, indexing="ij")
        grid = np.stack([y, x], 2).reshape(-1, 1, 2).repeat(len(SIZES), 1)
        sides = np.broadcast_to(np.array(SIZES)[None, :, None] * 2 * stride / size, grid.shape)
        self.centers, self.sides = (array.reshape(1, -1, 2).astype(np.float32) for array in (grid, sides))

    def call(self, offsets: tf.Tensor) -> tf.Tensor:
        center = self.centers + 0.1 * offsets[..., :2] * self.sides
        side = self.sides * tf.exp(0.2 * offsets[..., 2:])
        return tf.concat([center - side / 2, center + side / 2], 2)


def calibrate(model: keras.Model, images: Array) -> None:
    """Fit BatchNormalization to pictures, and give some anchors a score."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    for image in images:
        _, logits, _ = model(image[None], training=True)
    scale = 2 / float(tf.math.reduce_std(logits))
    for stride in LEVELS.values():
        kernel, bias = model.get_layer(f"scores_{stride}").get_weights()
        model.get_layer(f"scores_{stride}").set_weights([kernel * scale, bias - 2])


def suppressed(boxes: tf.Tensor, scores: tf.Tensor) -> dict[str, tf.Tensor]:
    """Detections by TensorFlow's own suppression, under the names of its detection models."""
    found = tf.image.combined_non_max_suppression(
        boxes[:, :, None], scores, MOST, MOST, iou_threshold=0.5, score_threshold=0.3
    )
    return {
        "detection_boxes": found.nmsed_boxes,
        "detection_scores": found.nmsed_scores,
        "detection_classes": found.nmsed_classes,
        "num_detections": found.valid_detections,
    }


if __name__ == "__main__":
    main()
