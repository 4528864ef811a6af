"""Live detectors of PaddleDetection, made from their configs, with random weights that find something."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import yaml
from comparison import Array
from paddle_models import Model, captured, inputs, last, rows_of, width
from ppdet.core.workspace import create, global_config, load_config, merge_config
from ppdet.modeling.backbones import vgg


@contextmanager
def narrowed(times: int) -> Iterator[None]:
    """Layers that are made within it have so many times fewer channels, where their number is a multiple of 64."""
    kinds = [paddle.nn.Conv2D, paddle.nn.Conv2DTranspose, paddle.nn.BatchNorm2D, paddle.nn.Linear, vgg.L2NormScale]
    kept = [kind.__init__ for kind in kinds]

    def fewer(value: Any) -> Any:
        return value // times if isinstance(value, int) and value % 64 == 0 else value

    def thin(of: Callable[..., None]) -> Callable[..., None]:
        def __init__(self: Any, *args: Any, **named: Any) -> None:
            channels = {key: fewer(value) for key, value in named.items() if key in _CHANNELS}
            of(self, *map(fewer, args[:2]), *args[2:], **{**named, **channels})

        return __init__

    for kind in kinds:
        kind.__init__ = thin(kind.__init__)
    try:
        yield
    finally:
        for kind, own in zip(kinds, kept, strict=True):
            kind.__init__ = own


_CHANNELS = {"in_channels", "out_channels", "num_features", "in_features", "out_features", "num_channels", "groups"}


def made(about: Model, configs: Path, changed: Mapping[str, Any]) -> Any:
    """A live model, as its config has it; without the data sets and learning rates that configs name too.

    Args:
        about: which one.
        configs: PaddleDetection's.
        changed: what is set otherwise.
    """
    path = configs.resolve() / f"{about.config}.yml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    bases = [base for base in config["_BASE_"] if "datasets" not in base and "optimizer" not in base]
    config["_BASE_"] = [str(path.parent / base) for base in bases]
    config["num_classes"] = about.classes
    with tempfile.TemporaryDirectory() as folder, own_config():
        kept = Path(folder) / path.name
        kept.write_text(yaml.safe_dump(config), encoding="utf-8")
        loaded = load_config(str(kept))
        merge_config({"norm_type": "bn", "eval_size": [about.size, about.size], "export_onnx": False, **changed})
        model = create(loaded.architecture)
    if about.two_stages:
        model.rpn_head.test_proposal.post_nms_top_n = 100  # the first stage of a random model proposes whatever it may
    model.eval()
    return model


@contextmanager
def own_config() -> Iterator[None]:
    """What is read into PaddleDetection's one configuration of a process is forgotten afterwards."""
    kept = {
        key: copy.deepcopy(dict(value)) if isinstance(value, dict) else value for key, value in global_config.items()
    }
    try:
        yield
    finally:
        for key, value in list(global_config.items()):
            if key not in kept:
                del global_config[key]
            elif isinstance(value, dict):
                value.clear()
                value.update(kept[key])
            else:
                global_config[key] = kept[key]


def enliven(model: Any, about: Model, images: Array) -> None:
    """Draw the weights, fit BatchNorm to pictures, and give the classes of some boxes a score."""
    for layer in model.sublayers():
        if isinstance(layer, (paddle.nn.Conv2D, paddle.nn.Linear)) and not layer.weight.stop_gradient:
            inner = np.prod(layer.weight.shape[1:] if isinstance(layer, paddle.nn.Conv2D) else layer.weight.shape[:1])
            layer.weight.set_value(paddle.randn(layer.weight.shape) * float(np.sqrt(2 / inner)))
    norms = [layer for layer in model.sublayers() if isinstance(layer, (paddle.nn.BatchNorm2D, paddle.nn.BatchNorm))]
    with paddle.no_grad():
        for norm in norms:
            norm._momentum, norm._use_global_stats = 0.0, False
            norm.train()
        model(inputs(images))
        for norm in norms:
            norm._use_global_stats = None
            norm._variance.set_value(
                paddle.clip(norm._variance, min=about.spread)
            )  # three pictures tell little of single cells
            norm.eval()
        if about.two_stages:
            scaled(model, [model.rpn_head.rpn_rois_delta], images, 0.3)
            scaled(model, [model.rpn_head.rpn_rois_score], images, 2)
        scaled(model, last(model, about, about.boxes), images, 0.5)
        layers = last(model, about, about.scores)
        given = scaled(model, layers, images, 3)
        best = rows_of(given, about)
        best = best[:, :-1].max(1) - best[:, -1] if about.softmax else best.max(1)
        shift = -float(np.sort(best.numpy())[-50])  # some are as likely as nothing
        for layer in layers:
            bias = np.zeros((int(np.prod(layer.bias.shape)) // width(about), width(about)), np.float32)
            bias[:, slice(-1, None) if about.softmax else slice(None)] = -shift if about.softmax else shift
            layer.bias.set_value(paddle.to_tensor(bias.ravel()))


def scaled(model: Any, layers: list[Any], images: Array, deviation: float) -> list[paddle.Tensor]:
    """Scale the weights of layers, so that what they give varies so much around 0; returns what they give then."""
    for layer in layers:
        layer.bias.set_value(paddle.zeros_like(layer.bias))
    with captured(layers) as given:
        model(inputs(images))
    spread = float(np.std(np.concatenate([array.numpy().ravel() for array in given])))
    for layer in layers:
        layer.weight.set_value(layer.weight * (deviation / spread))
    return [array * (deviation / spread) for array in given]
