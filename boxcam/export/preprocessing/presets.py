"""Presets of preprocessing, by the names that people know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boxcam.registry import Registry

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True)
class Preset:
    """Preprocessing under a name.

    Attributes:
        models: whose it is, for people.
        settings: what it sets, by the keys of `boxcam.export.preprocessing.keys.KEYS`.
        pixels: whether an input of type uint8 gets the pixels as they are, without mean and std.
    """

    models: str
    settings: Mapping[str, Any]
    pixels: bool = False


PRESETS: Registry[Preset] = Registry("preset", "boxcam.presets")

PRESETS.register("imagenet")(
    Preset(
        "classifiers of torchvision and timm: the shorter side to 256/224 of the size, then the middle",
        {
            "resize": "cover",
            "crop_pct": 0.875,
            "interpolation": "area or bilinear",
            "color": "RGB",
            "scale": "0-1",
            **_IMAGENET,
        },
    )
)
PRESETS.register("torchvision")(
    Preset(
        "torchvision's detectors as PyTorch exports them, which normalise by themselves; SSD with `resize=stretch`",
        {
            "resize": "fit",
            "rounding": "down",  # as its own transform, which is in the file, does again: that one then changes little
            "pad": "top-left",
            "pad_value": tuple(round(255 * value, 9) for value in _IMAGENET["mean"]),  # 0 once it is normalised
            "interpolation": "bilinear",
            "color": "RGB",
            "scale": "0-1",
            "mean": (0.0,) * 3,
            "std": (1.0,) * 3,
        },
    )
)
PRESETS.register("yolo")(
    Preset(
        "Ultralytics and other YOLOs: letterboxed, centred on grey",
        {
            "resize": "fit",
            "rounding": "half-even",
            "pad": "center",
            "pad_value": (114.0,) * 3,
            "interpolation": "bilinear",
            "color": "RGB",
            "scale": "0-1",
            "mean": (0.0,) * 3,
            "std": (1.0,) * 3,
        },
    )
)
PRESETS.register("yolox")(
    Preset(
        "YOLOX: the picture in the upper left, the rest grey, pixels as they are",
        {
            "resize": "fit",
            "rounding": "down",
            "pad": "top-left",
            "pad_value": (114.0,) * 3,
            "interpolation": "bilinear",
            "color": "BGR",
            "scale": "0-255",
            "mean": (0.0,) * 3,
            "std": (1.0,) * 3,
        },
    )
)
PRESETS.register("paddle")(
    Preset(
        "PaddleDetection; for PP-YOLOE+ with `mean=0` and `std=1`, which its config has",
        {
            "resize": "stretch",
            "rounding": "half-even",
            "interpolation": "bicubic",
            "color": "RGB",
            "scale": "0-1",
            **_IMAGENET,
        },
    )
)
PRESETS.register("tf")(
    Preset(
        "TensorFlow: -1 to 1 for an input of floats, the pixels as they are for one of uint8",
        {
            "resize": "stretch",
            "interpolation": "bilinear",
            "color": "RGB",
            "scale": "0-255",
            "mean": (127.5,) * 3,
            "std": (127.5,) * 3,
        },
        pixels=True,
    )
)
