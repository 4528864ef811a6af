"""What an mmdet config says about its model: preprocessing, class names, thresholds."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

from boxcam.bundle import Preprocess
from boxcam.bundle.pointers import POINTER, is_pointer
from boxcam.errors import SourceError
from boxcam.runtime.preprocess import INTERPOLATIONS

_HARMLESS = {"LoadImageFromFile", "LoadImageFromNDArray", "LoadAnnotations", "PackDetInputs"}


def read_config(path: str) -> Any:
    """Read a config file.

    Raises:
        SourceError: it is missing, broken, or describes no detector.
    """
    from mmengine import Config

    if not os.path.isfile(path):
        raise SourceError(f"config {path} does not exist. Check the path.")
    if is_pointer(path):
        raise SourceError(f"config {path} {POINTER}")
    try:
        config = Config.fromfile(path)
    except (Exception, SystemExit) as error:  # a config is a program: anything can come out of it
        said = f"{type(error).__name__}: {_one_line(error)}".rstrip(".")
        raise SourceError(f"config {path} cannot be read: {said}. Pass a config that mmdet itself can load.") from error
    model = config.get("model")
    if not isinstance(model, Mapping) or "type" not in model:
        raise SourceError(
            f"config {path} has no 'model' with a 'type'. Pass the config that the detector was trained with."
        )
    if _is_of_version_2(config):
        raise SourceError(
            f"config {path} is of mmdet 2.x (it has img_norm_cfg or data.test, and no data_preprocessor), which mmdet"
            " 3.x reads without its normalisation. Pass the same model's config of mmdet 3.x, or migrate it as"
            " mmdet's documentation describes (migration to 3.x)."
        )
    return config


def _is_of_version_2(config: Any) -> bool:
    """Whether a config has what mmdet 3 no longer reads: the normalisation as a step of its pipelines."""
    if config.model.get("data_preprocessor") or config.get("data_preprocessor"):
        return False
    data = config.get("data")
    splits = [data.get(name) for name in ("test", "val", "train")] if isinstance(data, Mapping) else []
    pipelines = [
        config.get("test_pipeline"),
        *(split.get("pipeline") for split in splits if isinstance(split, Mapping)),
    ]
    steps = {str(step.get("type")) for of in pipelines if isinstance(of, list) for step in of if hasattr(step, "get")}
    old = {"Normalize", "MultiScaleFlipAug", "ImageToTensor", "DefaultFormatBundle", "Collect"}
    return "img_norm_cfg" in config or any(isinstance(split, Mapping) for split in splits) or bool(steps & old)


def is_pair(arguments: tuple[str, ...]) -> bool:
    """Two files that look like a config and a checkpoint."""
    return (
        len(arguments) == 2
        and arguments[0].lower().endswith((".py", ".json", ".yaml", ".yml"))
        and arguments[1].lower().endswith((".pth", ".pt", ".ckpt"))
    )


def scope(path: str) -> str | None:
    """The framework that a config is of, ``default_scope``; None if it does not say or cannot be read here."""
    if not os.path.isfile(path) or importlib.util.find_spec("mmengine") is None:
        return None
    from mmengine import Config

    try:
        found = Config.fromfile(path, import_custom_modules=False).get("default_scope")
    except (Exception, SystemExit):  # noqa: BLE001  (a config is a program; what is wrong with it is said when it is loaded)
        return None
    return None if found is None else str(found)


def preprocess(config: Any, path: str, shape: tuple[int, int] | None) -> Preprocess:
    """The config's test pipeline and data preprocessor as a `Preprocess`.

    Args:
        config: the config.
        path: its file, for messages.
        shape: height and width that the user wants, or None for the config's own.

    Raises:
        SourceError: the pipeline does something that cannot be repeated without mmdet.
    """
    found = (place.get("data_preprocessor") for place in (config.model, config))
    data = next((one for one in found if one is not None), None)
    if data is None:
        raise SourceError(
            f"config {path} has no data_preprocessor, so it is unknown how images are normalised. Add the one that the"
            " detector was trained with, or a DetDataPreprocessor without mean and std if images are not normalised."
        )
    while data.get("data_preprocessor"):  # one for several branches of training wraps the detector's own
        data = data["data_preprocessor"]
    keep_ratio, scale, pad_value, divisor = True, None, None, int(data.get("pad_size_divisor") or 1)
    if config.get("default_scope") == "mmyolo":
        divisor = max(divisor, 32)  # the coarsest level that its necks join with finer ones
    canvas: tuple[int, int] | None = None
    interpolation: Any = "bilinear"
    rounding: Any = "nearest"
    centred = False
    for step in _pipeline(config, path):
        kind = str(step["type"]).split(".")[-1]
        _check_backend(step, kind, path)
        if kind == "Resize":
            scale, keep_ratio = shape or _scale(step, path), bool(step.get("keep_ratio", False))
            interpolation = _interpolation(step, kind, path)
        elif kind == "FixShapeResize":
            scale, keep_ratio = shape or (int(step["height"]), int(step["width"])), bool(step.get("keep_ratio", False))
            interpolation = _interpolation(step, kind, path)
            pad_value = _pad_value(step.get("pad_val", 0), path)
            canvas = scale
        elif kind == "YOLOv5KeepRatioResize":
            scale, keep_ratio = shape or _scale({**step, "keep_ratio": True}, path), True
            interpolation, rounding = "area or bilinear", "down"
        elif kind == "LetterResize":
            canvas, pad_value = _letterbox(step, scale, path), _pad_value(step.get("pad_val", 0), path)
            centred = True
        elif kind == "Pad":
            pad_value = _pad_value(step.get("pad_val", 0), path)
            divisor = max(divisor, int(step.get("size_divisor") or 1))
            if step.get("size"):
                canvas = (int(step["size"][1]), int(step["size"][0]))
            elif step.get("pad_to_square") and scale:
                canvas = (max(scale), max(scale))
        elif kind not in _HARMLESS:
            raise SourceError(
                f"config {path}: its test pipeline has {kind!r}, which cannot be reproduced without mmdet."
                " Give it a test pipeline of Resize and Pad."
            )
    if scale is None and shape is None:
        raise SourceError(
            f"config {path}: its test pipeline does not resize. Pass the size of the model input with shape=."
        )
    fit = shape or scale
    assert fit is not None
    height, width = shape or canvas or (_up(fit[0], divisor), _up(fit[1], divisor))
    if fit[0] > height or fit[1] > width:
        raise SourceError(
            f"config {path}: images are resized to {fit[0]}x{fit[1]} and padded to {height}x{width}, which is"
            " smaller. Pass a larger shape=."
        )
    if height % divisor or width % divisor:
        good = _up(height, divisor), _up(width, divisor)
        raise SourceError(
            f"shape={(height, width)}: this model needs multiples of {divisor}. Pass shape={good}, for example."
        )
    bgr_input = not data.get("bgr_to_rgb", False) and not data.get("rgb_to_bgr", False)
    if pad_value and not bgr_input:
        pad_value = pad_value[::-1]  # the pipeline pads in BGR
    after = float(data.get("pad_value", 0) or 0)
    return Preprocess(
        height=height,
        width=width,
        fit_height=fit[0],
        fit_width=fit[1],
        resize="fit" if keep_ratio else "stretch",
        pad_to="center" if centred else "top-left",
        pad_value=pad_value or (after, after, after),
        pad_before_normalize=pad_value is not None,
        mean=_triple(data.get("mean"), 0.0, path),
        std=_triple(data.get("std"), 1.0, path),
        color="BGR" if bgr_input else "RGB",
        interpolation=interpolation,
        rounding=rounding,
    )


def labels(config: Any, meta: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Class names: from the checkpoint, the config's data set, or the data set's class; numbers if none fits."""
    for found in (_classes(meta.get("dataset_meta")), _classes(meta), *_dataset_classes(config)):
        if found and len(found) == count:
            return found
    return tuple(f"class {index}" for index in range(count))


def set_thresholds(config: Any, score: float | None, nms: float | None) -> None:
    """Put the user's thresholds into the config's test settings.

    Raises:
        SourceError: the model has no such threshold.
    """
    if score is not None and not config.model.get("test_cfg"):
        config.model["test_cfg"] = {}
    test = config.model.get("test_cfg")
    settings = {} if test is None else test if test.get("rcnn") is None else test["rcnn"]
    merges = isinstance(settings.get("nms"), Mapping)
    if score is not None:
        # What merges boxes has a lowest score even if the config does not name it; a set of queries has none.
        if settings and not merges and "score_thr" not in settings:
            raise SourceError(
                "score_threshold= has no meaning here: this model has no score_thr in its config's test_cfg. Leave it"
                " out, and choose boxes by their score when explaining."
            )
        settings["score_thr"] = score
    if nms is not None:
        if not merges:
            raise SourceError(
                "nms_threshold= has no meaning here: this model has no NMS in its config's test_cfg. Leave it out."
            )
        settings["nms"]["iou_threshold"] = nms


def _pipeline(config: Any, path: str) -> Sequence[Mapping[str, Any]]:
    loader = config.get("test_dataloader") or {}
    dataset = loader.get("dataset") or {}
    found = dataset.get("pipeline") or (dataset.get("dataset") or {}).get("pipeline") or config.get("test_pipeline")
    if not found:
        raise SourceError(
            f"config {path} has no test pipeline, so the preprocessing is unknown. Pass the config that the detector"
            " was trained with."
        )
    return list(found)


def _letterbox(step: Mapping[str, Any], scale: tuple[int, int] | None, path: str) -> tuple[int, int]:
    """The size in whose middle mmyolo's ``LetterResize`` lays an image that was resized before."""
    if scale is None or step.get("allow_scale_up", True) or step.get("use_mini_pad") or step.get("stretch_only"):
        raise SourceError(
            f"config {path}: LetterResize can be reproduced only after YOLOv5KeepRatioResize, with"
            " allow_scale_up=False, and without use_mini_pad and stretch_only: anything else resizes twice, or to a"
            " size that depends on the image. Give it the test pipeline of mmyolo's own configs."
        )
    width, height = (step["scale"], step["scale"]) if isinstance(step["scale"], int) else step["scale"]
    return int(height), int(width)


def _interpolation(step: Mapping[str, Any], kind: str, path: str) -> Any:
    interpolation = step.get("interpolation", "bilinear")
    if interpolation not in INTERPOLATIONS:
        raise SourceError(
            f"config {path}: {kind} with interpolation {interpolation!r} cannot be reproduced. Use bilinear in the"
            " test pipeline."
        )
    return interpolation


def _check_backend(step: Mapping[str, Any], kind: str, path: str) -> None:
    """Other libraries than OpenCV decode and resize to other pixels."""
    for key in ("backend", "imdecode_backend"):
        if step.get(key) not in (None, "cv2"):
            raise SourceError(
                f"config {path}: {kind} with {key} {step[key]!r} cannot be reproduced: its pixels are not OpenCV's."
                f" Take {key} out of the test pipeline if the detector may get images as OpenCV reads them."
            )


def _scale(step: Mapping[str, Any], path: str) -> tuple[int, int]:
    """Height and width to fit the image into: mmdet's scale is (width, height).

    Where the ratio is kept, it is a long and a short edge in any order; a bundle's one canvas lies, as most images do.
    """
    scale = step.get("scale")
    if isinstance(scale, int):
        return scale, scale
    if not isinstance(scale, (tuple, list)) or len(scale) != 2:
        raise SourceError(f"config {path}: Resize has no fixed 'scale'. Pass the size of the model input with shape=.")
    if not all(isinstance(edge, (int, float)) and edge >= 1 for edge in scale):
        raise SourceError(
            f"config {path}: Resize has the scale {scale}, which is not one width and height. Pass the size of the"
            " model input with shape=."
        )
    width, height = int(scale[0]), int(scale[1])
    return (min(width, height), max(width, height)) if step.get("keep_ratio", False) else (height, width)


def _pad_value(value: Any, path: str) -> tuple[float, float, float]:
    if isinstance(value, Mapping):
        value = value.get("img", 0)
    return _triple(value if isinstance(value, (tuple, list)) else [value] * 3, 0.0, path)


def _triple(values: Any, default: float, path: str) -> tuple[float, float, float]:
    if values is None:
        return default, default, default
    if len(values) != 3:
        raise SourceError(
            f"config {path}: {list(values)} should be three values, one per colour channel. Correct it there."
        )
    a, b, c = (float(v) for v in values)
    return a, b, c


def _up(size: int, divisor: int) -> int:
    return -(-size // divisor) * divisor


def _classes(meta: Any) -> tuple[str, ...] | None:
    if not isinstance(meta, Mapping):
        return None
    found = meta.get("classes", meta.get("CLASSES"))
    if isinstance(found, str):
        return (found,)
    return tuple(str(name) for name in found) if found else None


def _dataset_classes(config: Any) -> list[tuple[str, ...] | None]:
    from mmdet.registry import DATASETS

    result = []
    prefix = "mmyolo." if config.get("default_scope") == "mmyolo" else ""
    for name in ("test_dataloader", "val_dataloader", "train_dataloader"):
        dataset = (config.get(name) or {}).get("dataset") or {}
        result.append(_classes(dataset.get("metainfo")))
        kind = DATASETS.get(prefix + str(dataset.get("type", ""))) if dataset.get("type") else None
        result.append(_classes(getattr(kind, "METAINFO", None)))
    return result


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
