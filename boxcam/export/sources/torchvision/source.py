"""torchvision: a detector or classifier by its name, and a checkpoint.

The graph takes the canvas: a detector's own transform, which normalises and resizes inside of the model, is told to the
bundle as preprocessing and left out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import onnx_ir as ir

from boxcam.bundle import Outputs, Preprocess
from boxcam.errors import SourceError, UnknownLayerError
from boxcam.export.source import LayerTensors, Progress, Request, SourceModel
from boxcam.export.sources.pytorch.export import quiet, read
from boxcam.export.sources.torchvision import PREFIX
from boxcam.leftovers import temporary_folder
from boxcam.types import IMAGE

_OPSET = 18
_INPUT = "image"
_OUTPUTS = ("boxes", "scores", "labels")


def load(request: Request, progress: Progress) -> SourceModel:
    """Export one of torchvision's detectors or classifiers.

    Raises:
        SourceError: there is no such model, or the checkpoint, the shape or an option does not fit it.
    """
    missing = [name for name in ("torch", "torchvision") if importlib.util.find_spec(name) is None]
    if missing:
        raise SourceError(
            f"torchvision's models cannot be exported here: {', '.join(missing)} not installed. Install boxcam's"
            " 'export' extra (explaining a bundle does not need it): pip install 'boxcam[export]'."
        )
    from boxcam.export.sources.torchvision import detectors as zoo

    name = request.arguments[0].removeprefix(PREFIX)
    detects = zoo.is_detector(name)
    if len(request.arguments) != 2:
        raise SourceError(
            f"{PREFIX}{name} needs its weights: boxcam downloads nothing, and random ones explain nothing. Pass the"
            f" file after the name, {PREFIX}{name} WEIGHTS.pth, as torch.save(model.state_dict(), ...) writes it."
        )
    path = request.arguments[1]
    source = (_detector if detects else _classifier)(name, path, request, progress)
    description = {
        "kind": "torchvision",
        **source.description,
        "model": name,
        "checkpoint": os.path.basename(path),
        "torchvision": version("torchvision"),
        "torch": version("torch"),
    }
    layers = {**source.layers, **_by_modules(source, request)}
    return replace(source, description=description, layers=layers)


def _detector(name: str, path: str, request: Request, progress: Progress) -> SourceModel:
    from boxcam.export.sources.pytorch import marks
    from boxcam.export.sources.torchvision import detectors as zoo

    if request.preprocess:
        raise SourceError(
            f"preprocess= has no meaning for torchvision's {name}, which prepares images itself. Leave it out."
        )
    progress("loading the model")
    with quiet():
        model = zoo.load(name, path)
        classes = zoo.labels(name, zoo.class_count(model), request.class_names, zoo.has_background(model))
        zoo.set_thresholds(model, request.score_threshold, request.nms_threshold)
        preprocess = zoo.preprocess(name, model, request.shape)
        progress("exporting to ONNX")
        with _too_small(name, preprocess):
            graph, found = to_onnx(model, preprocess)
    layers = marks.layers(found)
    return SourceModel(
        model=graph,
        input=_INPUT,
        outputs=Outputs(boxes="boxes", scores="scores", labels="labels"),
        preprocess=preprocess,
        labels=classes,
        layers=layers,
        default_layers=tuple(layer for layer in ("roi", "neck", "backbone") if layer in layers),
        description={"family": type(model).__name__, "stages": "two" if hasattr(model, "roi_heads") else "one"},
        stops=layers["roi"].rois if "roi" in layers else (),  # torchvision detaches the proposals
    )


def _classifier(name: str, path: str, request: Request, progress: Progress) -> SourceModel:
    from boxcam.export.sources.torchvision import classifiers as zoo
    from boxcam.export.sources.torchvision.detectors import labels

    if request.nms_threshold is not None:
        raise SourceError("nms_threshold= has no meaning here: a classifier's box is the whole image. Leave it out.")
    progress("loading the model")
    model = zoo.load(name, path, request.shape)
    given = [request.preprocess] if isinstance(request.preprocess, str) else list(request.preprocess)
    preprocess = zoo.preprocess(name, model, path, request.shape, given)
    progress("exporting to ONNX")
    with quiet(), _too_small(name, preprocess):
        graph = zoo.to_onnx(model, preprocess)
    outputs, convention = zoo.report_classes(graph, preprocess, request.score_threshold)
    layers = zoo.layers(model, graph, preprocess, outputs, request.layers)
    return SourceModel(
        model=graph,
        input=zoo.INPUT,
        outputs=outputs,
        preprocess=preprocess,
        labels=labels(name, convention.sizes[1], request.class_names),
        layers=layers,
        default_layers=tuple(layers)[:1],
        description={"family": type(model).__name__, **convention.describe()},
    )


@contextlib.contextmanager
def _too_small(name: str, preprocess: Preprocess) -> Iterator[None]:
    """Say what to do where the model's input is too small for a model."""
    try:
        yield
    except (AssertionError, RuntimeError, ValueError) as error:  # what torch raises then
        text = " ".join(str(error).split())[:300].rstrip(".")
        raise SourceError(
            f"torchvision's {name} cannot be exported for a model input of {preprocess.height}x{preprocess.width}:"
            f" {text}. Pass a larger one with shape=."
        ) from error


def _by_modules(source: SourceModel, request: Request) -> dict[str, LayerTensors]:
    """Layers that are asked for by the name of a module, such as ``features.7``: the last map that it gives."""
    from boxcam.export.sources.onnx import layers as onnx_layers

    found = {}
    for name in request.layers:
        if name not in (*source.layers, IMAGE):
            with contextlib.suppress(UnknownLayerError):  # which is said later, with the names of all layers
                found[name] = LayerTensors((onnx_layers.by_name(source.model, name),), layout=request.layout)
    return found


def to_onnx(model: Any, preprocess: Preprocess) -> tuple[ir.Model, dict[str, str]]:
    """A detector's graph from the model's input to boxes, scores and labels, and the names of what its modules give.

    Args:
        model: one of torchvision's detectors, in evaluation mode; its transform and its heads for masks and keypoints
            are taken off.
        preprocess: its canvas.

    Returns:
        The graph, [1, 3, height, width] in, and mark → name of the value.
    """
    import torch

    from boxcam.export.sources.pytorch import marks
    from boxcam.export.sources.torchvision.heads import deployable

    class OnCanvas(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found = self.model([image])[0]
            return tuple(found[name] for name in _OUTPUTS)

    _take_off(model, preprocess)
    image = torch.randn(1, 3, preprocess.height, preprocess.width, generator=torch.Generator().manual_seed(0))
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        for name, modules in _modules(model).items():
            for index, module in enumerate(modules):
                stack.enter_context(marks.marked_outputs(module, name, index))
        if hasattr(model, "roi_heads"):
            stack.enter_context(marks.marked_input(model.roi_heads.box_roi_pool, 1, "rois"))
        stack.enter_context(deployable(model))
        file = os.path.join(folder, "model.onnx")
        torch.onnx.export(
            OnCanvas().eval(),
            (image,),
            file,
            dynamo=False,
            opset_version=_OPSET,
            input_names=[_INPUT],
            output_names=list(_OUTPUTS),
        )
        graph = read(file)
    return graph, marks.take_out(graph.graph)


def _take_off(model: Any, preprocess: Preprocess) -> None:
    """Leave out what comes before the model's input and what draws no boxes."""
    import torch
    from torchvision.models.detection.image_list import ImageList

    class Identity(torch.nn.Module):
        def forward(self, images: list[torch.Tensor], targets: Any = None) -> tuple[ImageList, Any]:
            return ImageList(images[0], [(preprocess.height, preprocess.width)]), targets

        def postprocess(self, detections: Any, sizes: Any, original_sizes: Any) -> Any:
            return detections

    model.transform = Identity()
    if hasattr(model, "roi_heads"):
        model.roi_heads.mask_roi_pool = model.roi_heads.keypoint_roi_pool = None


def _modules(model: Any) -> dict[str, list[Any]]:
    """The modules whose outputs are layers, one after the other."""
    if hasattr(model, "roi_heads"):
        return {**_pyramid(model.backbone), "roi": [model.roi_heads.box_roi_pool]}
    if hasattr(model.backbone, "fpn"):
        return _pyramid(model.backbone)
    features, extra = model.backbone.features, model.backbone.extra
    # SSD's own feature extractors: VGG's two last stages, of which the second counts as extra, or MobileNet's.
    stages = [features, extra[0]] if hasattr(model.backbone, "scale_weight") else list(features)
    return {"backbone": stages, "neck": [model.backbone]}


def _pyramid(backbone: Any) -> dict[str, list[Any]]:
    return {"backbone": [backbone.body], "neck": [backbone.fpn]}
