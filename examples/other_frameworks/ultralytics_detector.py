"""Explain detectors of Ultralytics, and compare with the live model: its own boxes, and gradients by torch.autograd.

The model is exported to ONNX by Ultralytics itself.  The weights are random, so boxes and heatmaps mean nothing; they
have to be equal all the same.  With a trained model do `YOLO("mine.pt").export(format="onnx", imgsz=640)` and then
`boxcam export mine.onnx`.

Ultralytics is licensed under AGPL-3.0; boxcam neither needs nor contains it.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import PICTURES, Array, apart, explained
from ultralytics import RTDETR, YOLO
from ultralytics.utils import nms

import boxcam
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare

SCORE, IOU = 0.25, 0.6
_NMS: dict[str, dict[str, Any]] = {
    "outside": {},
    "inside": {"nms": True, "conf": SCORE, "iou": IOU},
    "free": {"nms": False},
}
"""Options of Ultralytics' export, by where suppression is."""


@dataclass(frozen=True, eq=False)
class Pass:
    """One run of the live model.

    Attributes:
        boxes: [K, 6], x1 y1 x2 y2 in pixels of the input, score and class, after Ultralytics' own suppression.
        scores: of these, with the graph behind them.
        features: tensors to differentiate by: boxcam's.
        difference: how far the live model's own are from these, as a share of the largest number.
    """

    boxes: Array
    scores: torch.Tensor
    features: list[torch.Tensor]
    difference: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["yolov8n", "yolo11n", "rtdetr-l"], help="names of yaml files")
    parser.add_argument("--size", default="192x256", help="HxW of the input, multiples of 32 (default: 192x256)")
    parser.add_argument("--top", type=int, default=20, help="boxes whose gradients are compared (default: 20)")
    parser.add_argument(
        "--nms",
        choices=_NMS,
        default="outside",
        help="suppression: left to boxcam, inside of the file (nms=True), or not needed (nms=False: YOLOv10, YOLO26)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    parser.add_argument("-o", "--output", type=Path, default=Path("ultralytics"), help="folder to write into")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.models:
        compare(name, arguments)


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Export a model, explain a picture, and print how far boxcam is from the live model."""
    height, width = (int(part) for part in arguments.size.split("x"))
    torch.manual_seed(arguments.seed)
    wrapper = (RTDETR if name.startswith("rtdetr") else YOLO)(f"{name}.yaml")
    model = wrapper.model
    enliven(model, torch.from_numpy(np.concatenate([canvas(path, height, width) for path in PICTURES])))
    asked = {"imgsz": (height, width), "simplify": False, "verbose": False, **_NMS[arguments.nms]}
    written = Path(wrapper.export(format="onnx", **asked))
    file = Path(shutil.move(written, arguments.output / f"{name}.onnx"))
    bundle = arguments.output / f"{name}.boxcam"
    alone = name.startswith("rtdetr") or arguments.nms != "outside"  # it selects its boxes itself
    options = {} if alone else {"nms_threshold": IOU}
    boxcam.export(
        file,
        output=bundle,
        score_threshold=SCORE,
        sample=PICTURES[0],
        engine="onnx",
        overwrite=True,
        **options,
    )
    found = explained(bundle, PICTURES[0], "neck", arguments.top)
    model.end2end = arguments.nms == "free"
    model.fuse()  # as Ultralytics does before it predicts or exports
    live = run(model, found.input, found.features)
    pairs, difference = pair(found, live, bundle)
    errors = []
    for mine, theirs in (both for both in pairs if both[0] < len(found.gradients)):
        score = live.scores[theirs]
        expected = torch.autograd.grad(score, live.features, retain_graph=True, allow_unused=True)
        slope = float((score * (1 - score)).detach())  # from the score to its logit
        arrays = [
            np.zeros(tuple(feature.shape[1:]), np.float32) if gradient is None else gradient[0].numpy() / slope
            for gradient, feature in zip(expected, live.features, strict=True)
        ]
        errors.append(apart(found.gradients[mine], arrays))
    sizes = ", ".join("x".join(str(n) for n in array.shape[1:]) for array in found.features)
    print(
        f"{name:16} {len(pairs)} boxes of {len(live.boxes)} found, at most {difference:.1e} pixels apart; layer neck"
        f" ({sizes}) within {live.difference:.1e}, gradients of {len(errors)} boxes within {max(errors):.1e}",
        flush=True,
    )


def canvas(path: Path, height: int, width: int) -> Array:
    """A picture as an input, for calibration: stretched, RGB, 0 to 1."""
    from boxcam.export.preprocessing import parse

    spec = parse.parse(["yolo"], (1, 3, height, width), None, (height, width))
    return prepare(read_image(path), spec)[0]


def enliven(model: Any, images: torch.Tensor) -> None:
    """Fit BatchNorm to pictures, and give the classes of some boxes a score."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    model.eval()
    for norm in norms:
        norm.momentum = None  # a cumulative average
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        model(images)
        for norm in norms:
            norm.eval()
        head = model.model[-1]
        lists = [getattr(head, name, None) for name in ("cv3", "one2one_cv3", "dec_score_head", "enc_score_head")]
        for of in lists:
            for part in of if isinstance(of, torch.nn.ModuleList) else [of]:
                last = part[-1] if isinstance(part, torch.nn.Sequential) else part
                if last is not None:
                    last.weight.normal_(0, 1.5 / last.weight[0].numel() ** 0.5)
                    last.bias.fill_(-3.5)


def run(model: Any, image: Array, given: list[Array]) -> Pass:
    """Run the live model, cut at what its head reads, or makes first of that.

    Args:
        model: the live one.
        image: its input.
        given: what boxcam has there.  The head goes on with these numbers: rounded in another way, they would have a
            slightly other gradient.
    """
    head = model.model[-1]
    shapes = [array.shape for array in given]
    leaves: dict[tuple[int, ...], torch.Tensor] = {}
    differences = []

    def leaf(tensor: torch.Tensor) -> torch.Tensor:
        if tuple(tensor.shape) not in shapes:
            raise SystemExit(f"the live model has {list(tensor.shape)} at its head, and boxcam {shapes}")
        mine = torch.from_numpy(given[shapes.index(tuple(tensor.shape))])
        differences.append(float((tensor.detach() - mine).abs().max() / mine.abs().max()))
        leaves[tuple(tensor.shape)] = mine.requires_grad_(True)
        return leaves[tuple(tensor.shape)].clone()  # which may be written into

    if hasattr(head, "input_proj"):
        handles = [part.register_forward_hook(lambda module, inputs, output: leaf(output)) for part in head.input_proj]
    else:
        handles = [head.register_forward_pre_hook(lambda module, inputs: ([leaf(one) for one in inputs[0]],))]
    y = model.eval()(torch.from_numpy(image))
    for handle in handles:
        handle.remove()
    y = y[0] if isinstance(y, (tuple, list)) else y
    features = [leaves[shape] for shape in shapes]
    height, width = image.shape[2:]
    if y.shape[2] == 6:  # boxes without suppression
        corners = y[0].detach().numpy().copy()
        if hasattr(head, "input_proj"):  # centre and size, from 0 to 1
            center, size = corners[:, :2].copy(), corners[:, 2:4].copy()
            corners[:, :4] = np.concatenate([center - size / 2, center + size / 2], 1) * [width, height, width, height]
        rows = np.flatnonzero(corners[:, 4] > SCORE)
        return Pass(corners[rows], y[0, rows, 4], features, max(differences))
    boxes, rows = nms.non_max_suppression(y.detach(), SCORE, IOU, max_det=1000, return_idxs=True)
    chosen, classes = rows[0].reshape(-1), boxes[0][:, 5].long()
    return Pass(boxes[0].numpy(), y[0, 4 + classes, chosen], features, max(differences))


def pair(found: Any, live: Pass, bundle: Path) -> tuple[list[tuple[int, int]], float]:
    """Boxes of both, by class and place on the input, and how far they are apart at most."""
    model = boxcam.load(bundle, threads=1)
    prediction = model.runtime.predict(read_image(PICTURES[0]))
    outputs = model.manifest.outputs
    rows = prediction.outputs[outputs.boxes].reshape(-1, 4)[prediction.rows]
    pairs, worst = [], 0.0
    for number, (box, label, score) in enumerate(
        zip(rows, prediction.detections.labels, prediction.detections.scores, strict=True)
    ):
        apart_by = np.abs(live.boxes[:, :4] - box).max(1) + 1e6 * (live.boxes[:, 5] != label)
        best = int(apart_by.argmin())
        if apart_by[best] < 0.1 and abs(live.boxes[best, 4] - score) < 1e-3:
            pairs.append((number, best))
            worst = max(worst, float(apart_by[best]))
    return pairs, worst


if __name__ == "__main__":
    main()
