"""torchvision's models by name; its detectors, built for a checkpoint, and asked what they want of an image."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torchvision

from boxcam.bundle import Preprocess
from boxcam.errors import SourceError
from boxcam.export.sources import class_names
from boxcam.export.sources.pytorch import checkpoint
from boxcam.plurals import counted, verb

_CLASS_LOGITS = (  # the weights whose first axis is classes, or anchors x classes
    "roi_heads.box_predictor.cls_score.weight",
    "head.classification_head.cls_logits.weight",
    "head.classification_head.module_list.0.weight",
    "head.classification_head.module_list.0.1.weight",
)
_KEYPOINTS = "roi_heads.keypoint_predictor.kps_score_lowres.weight"  # [channels, keypoints, 4, 4]
_TAIL, _FULL_TAIL = "backbone.features.1.3.0.weight", 960  # MobileNetV3's last convolution, where nothing was halved
_BACKGROUND = "__background__"  # as torchvision itself calls it
_WITHOUT_EPSILON = tuple(f"{kind}_resnet50_fpn" for kind in ("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet"))


_NO_CLASSIFIERS = {  # whose models give something else, and what
    "segmentation": "it outputs maps, and neither boxes nor classes of the whole image",
    "optical_flow": "it compares two images",
    "video": "it takes video clips, not images",
    "quantization": "it is quantized by PyTorch (export the one that is not, or quantize its ONNX file)",
}


def is_detector(name: str) -> bool:
    """Whether a name is of a detector; otherwise it is of a classifier.

    Raises:
        SourceError: torchvision has no such model, or it is neither.
    """
    detectors = torchvision.models.list_models(module=torchvision.models.detection)
    classifiers = torchvision.models.list_models(module=torchvision.models)
    if name in detectors:
        return True
    if name in classifiers:
        return False
    if name not in torchvision.models.list_models():
        near = difflib.get_close_matches(name, [*detectors, *classifiers], n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise SourceError(
            f"torchvision has no model {name!r}.{hint} Pass one of its detectors, {', '.join(detectors)}, or"
            f" of its {len(classifiers)} classifiers, such as resnet50, convnext_tiny and vit_b_16."
        )
    where = torchvision.models.get_model_builder(name).__module__.removeprefix("torchvision.models.")
    why = _NO_CLASSIFIERS.get(where.partition(".")[0], "it is not a classifier")
    raise SourceError(
        f"torchvision's {name} ({where}) cannot be explained: {why}. Pass a classifier, or one of the detectors"
        f" {', '.join(detectors)}."
    )


def load(name: str, path: str) -> Any:
    """A detector with a checkpoint's weights, in evaluation mode, for as many classes as the checkpoint has.

    Args:
        name: as torchvision registers it: ``"retinanet_resnet50_fpn"``.
        path: what ``torch.save(model.state_dict(), path)`` or torchvision's own training script wrote.

    Raises:
        SourceError: the checkpoint cannot be read, or does not fit.
    """
    weights = read_weights(path)
    model = build(name, weights)
    advice = "Pass the name of the model that was trained, built as torchvision's own builder does."
    checkpoint.fill(model, weights, path, f"torchvision's {name}", advice)
    if name in _WITHOUT_EPSILON and published(name, path) == "COCO_V1":
        for module in model.backbone.modules():  # torchvision itself does so for these very files
            if hasattr(module, "eps"):
                module.eps = 0.0
    return model


def read_weights(path: str) -> dict[str, Any]:
    """The weights in a file by name.

    Raises:
        SourceError: it cannot be read, or has none.
    """
    found = checkpoint.read(path, [argparse.Namespace])  # in which the training script keeps its options
    weights = checkpoint.state_dict(found, path, ("state_dict", "model", "model_state_dict"))
    return {key.removeprefix("module."): value for key, value in weights.items()}


def build(name: str, weights: Mapping[str, Any]) -> Any:
    """A detector with random weights, in evaluation mode, of the sizes that a checkpoint has.

    Args:
        name: as torchvision registers it.
        weights: the checkpoint's tensors by name; without those that tell a size, torchvision's own is taken.
    """
    options: dict[str, Any] = {"weights": None, "weights_backbone": None}
    if _KEYPOINTS in weights:
        options["num_keypoints"] = int(weights[_KEYPOINTS].shape[1])
    with _tail(weights):
        model = torchvision.models.get_model(name, **options)
        own = model.state_dict()
        key = next(key for key in _CLASS_LOGITS if key in own)
        if key in weights and weights[key].shape[0] != own[key].shape[0]:
            anchors = max(own[key].shape[0] // class_count(model), 1)
            count = max(weights[key].shape[0] // anchors, 1)
            model = torchvision.models.get_model(name, num_classes=count, **options)
    return model.eval()


def class_count(model: Any) -> int:
    """How many class logits a box has; that of the background, where there is one, included."""
    if hasattr(model, "roi_heads"):
        return int(model.roi_heads.box_predictor.cls_score.out_features)
    head = model.head.classification_head
    return int(head.num_classes if hasattr(head, "num_classes") else head.num_columns)


def labels(
    name: str,
    count: int,
    given: str | os.PathLike[str] | Sequence[str] | None = None,
    background: bool = False,
) -> tuple[str, ...]:
    """Class names: those that are given; those of torchvision's own weights if they are as many; numbers otherwise.

    Args:
        name: of the model.
        count: how many class numbers it has.
        given: a file with one name a line, or the names; that of the background may be missing.
        background: whether number 0 is the background.

    Raises:
        SourceError: the names are not as many, or cannot be read.
    """
    if given is not None:
        found = class_names.read(given)
        found = (_BACKGROUND, *found) if background and len(found) == count - 1 else found
        if len(found) != count:
            first = ", of which number 0 is the background" if background else ""
            raise SourceError(
                f"there {verb(len(found), 'is', 'are')} {counted(len(found), 'class name')}, and this {name} has"
                f" {counted(count, 'class', 'classes')}{first}. Pass one name for each with class_names=."
            )
        return found
    known = torchvision.models.get_model_weights(name)
    names = tuple(str(c) for c in next(iter(known)).meta["categories"]) if len(known) else ()
    return names if len(names) == count else tuple(f"class {index}" for index in range(count))


def has_background(model: Any) -> bool:
    """Whether a detector's class number 0 stands for nothing: it has a logit of its own, and is never reported."""
    return hasattr(model, "roi_heads") or not hasattr(model.head.classification_head, "num_classes")


def published(name: str, path: str | os.PathLike[str]) -> str | None:
    """Which of torchvision's own files of weights this is, such as ``"COCO_V1"``; None if it is none of them."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for weights in torchvision.models.get_model_weights(name):
        stem = os.path.splitext(os.path.basename(str(weights.url)))[0]
        if digest.startswith(stem.rsplit("-", 1)[-1]):  # the files' names end so
            return str(weights.name)
    return None


def preprocess(name: str, model: Any, shape: tuple[int, int] | None) -> Preprocess:
    """What ``GeneralizedRCNNTransform``, which stands before the detector, does to an image.

    Args:
        name: of the model, for messages.
        model: the detector.
        shape: height and width of the model's input; None for the transform's own, of landscape if it keeps the ratio.

    Raises:
        SourceError: the model cannot take that shape.
    """
    transform = model.transform
    if transform.fixed_size is not None:
        width, height = transform.fixed_size
        fit, divisor = shape or (height, width), 1
    else:
        fit, divisor = shape or (transform.min_size[-1], transform.max_size), int(transform.size_divisible)
    padded = tuple(-(-size // divisor) * divisor for size in fit)
    if shape is not None and padded != shape:
        raise SourceError(f"shape={shape}: {name} needs multiples of {divisor}. Pass shape={padded}, for example.")
    return Preprocess(
        height=padded[0],
        width=padded[1],
        fit_height=fit[0],
        fit_width=fit[1],
        resize="fit" if transform.fixed_size is None else "stretch",
        pad_to="top-left",
        pad_value=(0.0, 0.0, 0.0),
        pad_before_normalize=False,
        mean=_of_pixels(transform.image_mean),
        std=_of_pixels(transform.image_std),
        color="RGB",
        rounding="down",
    )


def set_thresholds(model: Any, score: float | None, nms: float | None) -> None:
    """Put the user's thresholds where the detector keeps its own."""
    place = getattr(model, "roi_heads", model)
    place.score_thresh = place.score_thresh if score is None else score
    place.nms_thresh = place.nms_thresh if nms is None else nms


def _of_pixels(values: Any) -> tuple[float, float, float]:
    """A mean or deviation of values in 0..1 as one of pixels in 0..255."""
    red, green, blue = (float(value) * 255 for value in values)
    return red, green, blue


@contextlib.contextmanager
def _tail(weights: Mapping[str, Any]) -> Iterator[None]:
    """Build SSDLite with the backbone that the checkpoint has.

    Its builder halves the backbone's last channels unless it also downloads weights for the backbone.
    """
    from torchvision.models.detection import ssdlite

    if _TAIL not in weights or weights[_TAIL].shape[0] != _FULL_TAIL:
        yield
        return
    original = ssdlite.mobilenet_v3_large

    @functools.wraps(original)
    def with_full_tail(**options: Any) -> Any:
        return original(**{**options, "reduced_tail": False})

    ssdlite.mobilenet_v3_large = with_full_tail
    try:
        yield
    finally:
        ssdlite.mobilenet_v3_large = original
