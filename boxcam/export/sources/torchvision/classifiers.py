"""torchvision's classifiers by name: built for a checkpoint, asked what they want of an image, and exported."""

from __future__ import annotations

import functools
import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
import torchvision

from boxcam.bundle import Outputs, Preprocess
from boxcam.errors import BoxcamWarning, SourceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import static_shape
from boxcam.export.heads.convention import Convention, Piece, append
from boxcam.export.heads.selection import report
from boxcam.export.preprocessing import parse
from boxcam.export.source import LayerTensors
from boxcam.export.sources.onnx import layers as onnx_layers
from boxcam.export.sources.pytorch import checkpoint, export
from boxcam.export.sources.torchvision import detectors as zoo
from boxcam.leftovers import temporary_folder

_LAST = re.compile(r"(?:fc|head|heads\.head|classifier(?:\.(\d+))?)\.weight")
"""The weights whose first axis is classes; of several numbered ones the last."""
_PLACES, _PATCHES = "encoder.pos_embedding", "conv_proj.weight"  # of a vision transformer: [1, tokens, C], [C, 3, p, p]
_WITH_TRANSFORM = ("googlenet", "inception_v3")
"""Those that normalise the image another time themselves if torchvision made their weights."""
_STAGE = re.compile(r"layer\d+")
_LAST_MAPS = {"AlexNet": "features", "MaxVit": "blocks.3", "SqueezeNet": "features", "VGG": "features"}
"""Modules that give the last map, by the class of the model, where the graph does not show it well enough: windows of
attention are no maps; and those that are pooled already, or are the logits themselves, are none to look at."""
_OPSET = 18
_FEATURES = "features"
INPUT = "image"
"""Name of the graph's input."""


def load(name: str, path: str, shape: tuple[int, int] | None = None) -> Any:
    """A classifier with a checkpoint's weights, in evaluation mode, for as many classes as the checkpoint has.

    Args:
        name: as torchvision registers it: ``"resnet50"``.
        path: what ``torch.save(model.state_dict(), path)`` or torchvision's own training script wrote.
        shape: height and width of the input, if it is not the model's own.

    Raises:
        SourceError: the checkpoint cannot be read, or does not fit.

    Warns:
        BoxcamWarning: the checkpoint does not tell whether the model normalises the image itself.
    """
    weights = zoo.read_weights(path)
    model = build(name, weights, shape)
    if isinstance(model, torchvision.models.MNASNet):  # it would ask for a version that plain weights do not have
        model._load_from_state_dict = functools.partial(torch.nn.Module._load_from_state_dict, model)
    advice = "Pass the name of the model that was trained, built as torchvision's own builder does."
    checkpoint.fill(model, weights, path, f"torchvision's {name}", advice)
    if name in _WITH_TRANSFORM:
        model.transform_input = zoo.published(name, path) is not None
        if not model.transform_input:
            warnings.warn(
                f"{path} does not tell whether its {name} was built with transform_input=True, as with torchvision's"
                " own weights. It is exported without, as for training from scratch. If it was, pass"
                ' preprocess=["mean=0.5", "std=0.5"], which does the same.',
                BoxcamWarning,
                stacklevel=2,
            )
    return model


def build(name: str, weights: Mapping[str, Any], shape: tuple[int, int] | None = None) -> Any:
    """A classifier with random weights, in evaluation mode, of the sizes that a checkpoint has.

    Args:
        name: as torchvision registers it.
        weights: the checkpoint's tensors by name; without those that tell a size, torchvision's own is taken.
        shape: height and width of the input, if it is not the model's own.
    """
    options: dict[str, Any] = {"weights": None}
    last = [(int(found[1] or 0), key) for key in weights if (found := _LAST.fullmatch(key)) and weights[key].ndim > 1]
    if last:
        options["num_classes"] = int(weights[max(last)[1]].shape[0])
    if _PLACES in weights and _PATCHES in weights and weights[_PLACES].ndim == 3 and weights[_PATCHES].ndim == 4:
        options["image_size"] = math.isqrt(weights[_PLACES].shape[1] - 1) * int(weights[_PATCHES].shape[-1])
    if name in _WITH_TRANSFORM:
        options["init_weights"] = False  # which takes half a minute
        options["aux_logits"] = not weights or any(key.lower().startswith("aux") for key in weights)
    if name.startswith("maxvit") and shape is not None:
        options["input_size"] = shape
    return torchvision.models.get_model(name, **options).eval()


def preprocess(name: str, model: Any, path: str, shape: tuple[int, int] | None, given: Sequence[str]) -> Preprocess:
    """How an image becomes the input: as torchvision's own weights want it, and what the user says otherwise.

    Args:
        name: of the model.
        model: the classifier.
        path: its checkpoint: if it is one of torchvision's own, as this one wants it; otherwise as the first of those
            for images of the model's size.
        shape: height and width of the input, or None for the model's own.
        given: what the user says, as for an ONNX file; a preset or a file takes the place of torchvision's transforms.

    Raises:
        SourceError: what the user says contradicts itself or the model.
    """
    fixed = getattr(model, "image_size", None)  # of a vision transformer, which knows as many places
    recipe = _recipe(name, path, fixed)
    resized, crop = int(recipe.resize_size[0]), int(recipe.crop_size[0])
    edge = crop if fixed is None else int(fixed)
    specs = [] if shape is not None else [f"size={edge}x{edge}"]
    if all("=" in spec for spec in given):
        specs += ["imagenet", f"mean={_listed(recipe.mean)}", f"std={_listed(recipe.std)}"]
        keys = {spec.partition("=")[0].strip() for spec in given}
        if not keys & {"fit", "crop_pct", "resize"}:
            same = "size" not in keys and (shape or (edge, edge)) == (crop, crop)
            specs.append(f"fit={resized}x{resized}" if same else f"crop_pct={crop / resized}")
    found = parse.parse([*specs, *given], [1, 3, None, None], ir.DataType.FLOAT, shape, may_be_open=False)
    if fixed is not None and (found.height, found.width) != (edge, edge):
        raise SourceError(
            f"{path} is a {name} for images of {edge}x{edge} pixels only, and not {found.height}x{found.width}. Leave"
            " out shape=."
        )
    return found


def _recipe(name: str, path: str, edge: int | None) -> Any:
    """The transforms of the weights that a file is; otherwise of the first ones, or of those for images of a size."""
    known = list(torchvision.models.get_model_weights(name))
    own = zoo.published(name, path)
    fitting = [weights for weights in known if weights.name == own]
    if edge is not None:
        fitting += [weights for weights in known if weights.transforms().crop_size == [edge]]
    return (fitting or known)[0].transforms()


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{float(value):g}" for value in values)


def to_onnx(model: Any, spec: Preprocess) -> ir.Model:
    """A classifier's graph from the model's input to its logits, [1, 3, height, width] in, [1, classes] out."""
    image = torch.randn(1, 3, spec.height, spec.width, generator=torch.Generator().manual_seed(0))
    with temporary_folder() as folder:
        file = os.path.join(folder, "model.onnx")
        torch.onnx.export(
            model,
            (image,),
            file,
            dynamo=False,
            opset_version=_OPSET,
            input_names=[INPUT],
            output_names=["logits"],
        )
        return export.read(file)


def report_classes(graph: ir.Model, spec: Preprocess, score_threshold: float | None) -> tuple[Outputs, Convention]:
    """Make of the logits, which are the only output, the best classes, with the whole model input as their box.

    Args:
        graph: is changed.
        spec: its input.
        score_threshold: lowest score of a class, or None for all.

    Returns:
        The outputs, and how the model reports its classes.
    """
    (logits,) = graph.graph.outputs
    classes = static_shape(logits)[1]  # type: ignore[index]
    assert classes is not None
    scores = Piece(logits)
    convention = Convention("a score for each class", "classes", scores, activation="softmax", sizes=(1, classes))
    op = Ops(graph.graph, "boxcam.head")
    canvas = np.array([spec.width, spec.height], np.float32)
    names = report(graph.graph, op, append(op, convention, canvas, score_threshold, None))
    return Outputs(*names, whole_image=True), convention


def layers(
    model: Any, graph: ir.Model, spec: Preprocess, outputs: Outputs, wanted: Sequence[str]
) -> dict[str, LayerTensors]:
    """Layers by name: a ResNet's ``layer4`` to ``layer1``; of any other ``features``, its last map, or last tokens.

    Args:
        model: the classifier.
        graph: from the canvas to its classes.
        spec: its input.
        outputs: its classes.
        wanted: names that the user asks for; ``features`` is not looked for if it is not among them.

    Raises:
        SourceError: it is not clear what the last map is.
    """
    stages = [name for name, _ in model.named_children() if _STAGE.fullmatch(name)]
    if stages:
        return {name: LayerTensors((onnx_layers.by_name(graph, name),)) for name in reversed(stages)}
    if (module := _LAST_MAPS.get(type(model).__name__)) is not None:
        return {_FEATURES: LayerTensors((onnx_layers.by_name(graph, module),))}
    if wanted and _FEATURES not in wanted:
        return {}
    work = onnx_layers.Work(graph, spec, INPUT, {INPUT: np.zeros((1, 3, spec.height, spec.width), np.float32)})
    return onnx_layers.default(work.candidates(outputs, boxes=False), classifier=True)
