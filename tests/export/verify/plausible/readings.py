"""Files that can be read in more than one way, and what the criteria say of a way.

The network is that of the conventions' tests, whose boxes lie around their cells by construction; its weights are
random.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from boxcam.bundle import Finding
from boxcam.errors import BoxcamWarning, ExportError
from boxcam.export import sources as _sources  # noqa: F401  (registers boxcam's own)
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.quiet import quiet_onnx_ir
from boxcam.export.source import Request, SourceModel, detect_source, load_model
from boxcam.export.steps.prepare import Wishes, prepare
from boxcam.export.verify.plausible import Reading, Subject, judge, read
from boxcam.runtime.images import read_image
from boxcam.targets import LOGIT
from tests.export.sources.onnx.deployed import HEIGHT, STRIDES, WIDTH, Body, cxcywh_graph

PLAIN = ("resize=stretch", "scale=0-1", "color=RGB")
CLASSES = 3
FORMS = ("xyxy", "cxcywh", "xywh", "yxyx")
NAMED = {"boxes": "boxes", "scores": "scores", "score_activation": "none", "preprocess": PLAIN}
MEAN, STD = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
INSIDE = {
    "divided by 255": lambda image: image / 255,
    "multiplied by 1/255": lambda image: image * (1 / 255),
    "means of ImageNet, of 0 to 1": lambda image: (image - MEAN) / STD,
    "means of ImageNet, of 0 to 255": lambda image: (image / 255 - MEAN) / STD,
    "Keras: to -1 and 1": lambda image: image * (1 / 127.5) - 1,
    "channels turned, and divided": lambda image: image.flip(1) / 255,
}
STRIDE = torch.cat([torch.full((HEIGHT // s * (WIDTH // s), 1), float(s)) for s in STRIDES])
"""[N, 1], pixels per cell of each row."""


class Written(nn.Module):
    """A network whose outputs are what a function makes of an image, features, boxes and logits."""

    def __init__(self, wrap: Callable[..., Any], classes: int = CLASSES, seed: int = 0) -> None:
        super().__init__()
        self.wrap, self.body = wrap, Body(classes, seed)

    def forward(self, image: Tensor) -> Any:
        return self.wrap(self.body, image)


def write(path: Path, wrap: Callable[..., Any], outputs: tuple[str, ...], classes: int = 3, seed: int = 0) -> Path:
    """Write a file; ``wrap(body, image)`` gives its outputs."""
    torch.onnx.export(
        Written(wrap, classes, seed).eval(),
        (torch.rand(1, 3, HEIGHT, WIDTH),),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=["image"],
        output_names=list(outputs),
    )
    onnx.checker.check_model(str(path))
    return path


def in_format(boxes: Tensor, form: str, scale: str) -> Tensor:
    """Boxes x1 y1 x2 y2 in pixels as a model of another format gives them."""
    if scale == "normalized":
        boxes = boxes / torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    elif scale == "grid":
        boxes = boxes / STRIDE
    if form == "cxcywh":
        return cxcywh_graph(boxes)
    if form == "xywh":
        return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], -1)
    return boxes[..., [1, 0, 3, 2]] if form == "yxyx" else boxes


def raw(body: Body, image: Tensor) -> Tensor:
    """What the box branch's last convolution gives, [1, N, 4]: offsets."""
    return torch.cat([body.box(feature).flatten(2).transpose(1, 2) for feature in body.neck(image)], 1)


def _loaded(request: Request) -> SourceModel:
    return load_model(request, detect_source(request.arguments), lambda step: None)


_OF_CONFIGS: dict[tuple[str, ...], SourceModel] = {}


def _of_config(arguments: tuple[str, ...]) -> SourceModel:
    """A copy of the model of a config, which mmdeploy exports once: it is the same whatever the sample."""
    if arguments not in _OF_CONFIGS:
        _OF_CONFIGS[arguments] = _loaded(Request(arguments))
    kept = _OF_CONFIGS[arguments]
    return replace(kept, model=clone_model(kept.model))


@quiet_onnx_ir()
def reading(*arguments: Path | str, sample: Path | None = None, **options: Any) -> Reading:
    """A model as it is read with these options, as an export reads it."""
    request = Request(tuple(map(str, arguments)), sample=None if sample is None else read_image(sample), **options)
    is_config = request.arguments[0].endswith(".py") and not options
    model = _of_config(request.arguments) if is_config else _loaded(request)
    wishes = Wishes(request, (LOGIT,), "onnx", lambda step: None, Path("unused"))
    prepared = prepare(model, wishes)
    source = prepared.source
    return read(
        Subject(
            request.arguments[0], prepared.graphs.base, prepared.samples, source.outputs, source.labels,
            source.interpretation,
        )
    )  # fmt: skip


def against(*arguments: Path | str, **options: Any) -> dict[str, Finding | str]:
    """What speaks against a reading, by criterion.

    As ``asked`` the question of a file that is not read, as ``warned`` what the graph is said to contradict.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BoxcamWarning)
        try:
            found = judge(reading(*arguments, **options))
        except ExportError as error:
            return {"asked": str(error)}
    said = " ".join(str(one.message) for one in caught if issubclass(one.category, BoxcamWarning))
    doubts: dict[str, Finding | str] = {"warned": said} if said else {}
    return doubts | {one.check: one for one in found if one.verdict in ("implausible", "doubtful")}
