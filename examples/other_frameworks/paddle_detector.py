"""Explain detectors of PaddleDetection, and compare with the live model: its own boxes, and gradients by Paddle.

The models are made from PaddleDetection's configs, which a checkout of it has, and exported by paddle2onnx.  The
weights are random, so boxes and heatmaps mean nothing; they have to be equal all the same.

What paddle2onnx has no operator for is written by others while the model is exported (`paddle_operators`): anchors of
SSD, which are constants for one size, and the proposals of R-CNNs.  The live model keeps Paddle's own.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import fixture
import numpy as np
import paddle
import paddle2onnx
from comparison import PICTURES, explained
from fixture import PICTURE
from paddle_comparison import expected_gradients, pair
from paddle_export import before_pooling, export, left_out
from paddle_models import MODELS, inputs, suppression
from paddle_operators import MOST
from paddle_weights import enliven, made, narrowed

import boxcam
from boxcam.export.preprocessing import parse
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare

CLOSE = 2e-5  # how close the gradients that are kept have to be


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"of {', '.join(MODELS)} (default: all)")
    parser.add_argument("--configs", type=Path, required=True, help="the folder configs of PaddleDetection")
    parser.add_argument(
        "--raw", action="store_true", help="export detectors of one stage without suppression; boxcam appends it"
    )
    parser.add_argument("--top", type=int, default=20, help="boxes whose gradients are compared (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    parser.add_argument(
        "--fixture", type=Path, help="make the models small, and keep file, boxes and gradients in this folder"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("paddle"), help="folder to write into")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    paddle.set_device("cpu")
    for name in arguments.models:
        compare(name, arguments)


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Export a model, explain a picture, and print how far boxcam is from the live model."""
    paddle.seed(arguments.seed)
    kept = arguments.fixture is not None
    about = MODELS[name].as_fixture() if kept else MODELS[name]
    with narrowed(about.narrow if kept else 1):
        model = made(about, arguments.configs, about.small if kept else {})
    spec = parse.parse(about.preprocess, (1, 3, about.size, about.size), None, (about.size, about.size))
    enliven(model, about, np.concatenate([prepare(read_image(path), spec)[0] for path in PICTURES]))
    file, bundle = arguments.output / f"{name}.onnx", arguments.output / f"{name}.boxcam"
    picture = arguments.fixture / PICTURE if kept else PICTURES[0]
    raw = arguments.raw and not about.two_stages
    export(model, about, file, raw)
    before = before_pooling(file) if about.two_stages else []
    boxcam.export(
        file,
        output=bundle,
        preprocess=about.preprocess,
        layers=[about.layer, *before],
        sample=picture,
        engine="onnx",
        overwrite=True,
        **(left_out(suppression(model, about).nms, about) if raw else {}),
    )
    most = MOST if kept else arguments.top  # of which those that depend on a layer are kept
    found = {layer: explained(bundle, picture, layer, most) for layer in (about.layer, *before)}
    rois = found[about.layer].rois  # proposals, which other layers do not come with
    found = {layer: replace(explanation, rois=rois) for layer, explanation in found.items()}
    image = found[about.layer].input
    boxes = model(inputs(image))["bbox"].numpy()  # class, score, box
    pairs, difference = pair(boxes, bundle, picture)
    if not pairs:
        raise SystemExit(f"none of {len(boxes)} boxes of the live model is among boxcam's")
    print(f"{name:20} {len(pairs)} boxes of {len(boxes)} found, at most {difference:.1e} pixels apart", flush=True)
    gradients = {}
    for layer, explanation in found.items():
        expected, worst, apart_by = expected_gradients(
            model, about, explanation, boxes, pairs, own=kept, most=arguments.top
        )
        if not expected:
            print(f"{'':20} layer {layer}: no box depends on it", flush=True)
            continue
        gradients[layer] = expected
        sizes = ", ".join("x".join(str(n) for n in array.shape[1:]) for array in explanation.features)
        print(
            f"{'':20} layer {layer} ({sizes}) within {apart_by:.1e}, gradients of {len(gradients[layer])} boxes within"
            f" {worst:.1e}",
            flush=True,
        )
        if kept and worst > CLOSE:
            raise SystemExit(f"{name}: a fixture has to be closer than {CLOSE}; a --seed without kinks may be")
    if kept:
        scores = found[about.layer].detections.scores
        difference = max(abs(float(scores[mine] - boxes[theirs, 1])) for mine, theirs in pairs)
        if len(pairs) < len(boxes):
            raise SystemExit(f"{name}: boxcam lacks {len(boxes) - len(pairs)} boxes of the live model")
        if difference > CLOSE:
            raise SystemExit(f"{name}: scores are {difference:.1e} apart; a fixture needs {CLOSE}: try another --seed")
        height, width_ = read_image(picture).shape[:2]
        scale = np.array([width_, height, width_, height]) / about.size
        manifest = boxcam.load(bundle).manifest
        fixture.write(
            arguments.fixture,
            f"paddle_{name}",
            file,
            fixture.About(
                f"PaddleDetection: {about.title}",
                f"paddlepaddle {paddle.__version__}, paddle2onnx {paddle2onnx.__version__}",
                {"preprocess": about.preprocess},
                {layer.name: layer.gradients[0].form for layer in manifest.layers if layer.name in gradients},
            ),
            fixture.Truth(boxes[:, 2:] * scale, boxes[:, 1], boxes[:, 0], gradients),
        )


if __name__ == "__main__":
    main()
