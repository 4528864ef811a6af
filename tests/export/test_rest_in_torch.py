"""Ablation-CAM and Recipro-CAM of a dense detector against the same computed by torch, of batches of whole maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16

import boxcam
from boxcam.export.source import SOURCES, Source, SourceModel
from tests.export.detectors import CLASSES, HEIGHT, WIDTH, Detector, conv
from tests.export.export_graphs import Net
from tests.export.heads import weights

PICTURE = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
Put = Callable[[bool], None]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Put the tiny detector in the way of ``x.tiny``, in float16 or as it is."""

    def make(half: bool) -> None:
        source: SourceModel = Detector().source()
        if half:
            model = ir.from_proto(convert_float_to_float16(ir.to_proto(source.model), keep_io_types=True))
            model.graph.sort()
            source = dataclasses.replace(source, model=model)
        way = Source("MODEL.tiny", lambda given: given[0].endswith(".tiny"), lambda request, progress: source)
        monkeypatch.setitem(SOURCES._things, "tiny", way)

    return make


def rest(layer: str, x: torch.Tensor, half: bool) -> torch.Tensor:
    """The logits of what a layer holds."""

    def convolved(key: str, x: torch.Tensor, *shape: int, stride: int = 1) -> torch.Tensor:
        weight = 2 * weights(key, *shape)
        held = weight.astype(np.float16).astype(np.float32) if half else weight
        return torch.conv2d(x, torch.tensor(held), stride=stride, padding=1)

    if layer == "early":
        x = torch.relu(convolved("b", x, 8, 8, 3, 3, stride=2))
    return convolved("head.b", torch.relu(convolved("head.a", x, 8, 8, 3, 3)), CLASSES, 8, 3, 3)


def expected(method: str, layer: str, features: torch.Tensor, position: Any, half: bool) -> Any:
    """A box's map, float32 [H, W]."""
    _, channels, height, width = features.shape
    if method == "ablation-cam":
        masks = 1 - torch.eye(channels).reshape(channels, channels, 1, 1)
        before = features
    else:
        masks = torch.eye(height * width).reshape(-1, 1, height, width)
        before = 0 * features
    whole = rest(layer, before, half)[tuple(position)]
    found = rest(layer, features * masks, half)[:, *position[1:]]
    if method == "recipro-cam":
        return (found - whole).reshape(height, width).numpy()
    return torch.relu((((whole - found) / whole.abs())[:, None, None] * features[0]).sum(0)).numpy()


@pytest.mark.parametrize("half", [False, True])
def test_maps_are_torchs(put: Put, tmp_path: Path, half: bool) -> None:
    put(half)
    boxcam.export("x.tiny", output=tmp_path / "b", layers=["neck", "early"], engine="onnx")
    model = boxcam.load(tmp_path / "b", threads=1)
    assert {layer.name: [head.scope for head in layer.heads] for layer in model.manifest.layers} == {
        "neck": ["window"],
        "early": ["cells"],  # four of its cells are one of the logits'
    }
    for layer in ("neck", "early"):
        of = model.runtime.layer(layer)
        prediction = model.runtime.predict(PICTURE, of)
        features = torch.tensor(prediction.outputs[layer])
        for method in ("ablation-cam", "recipro-cam"):
            found = model.explain(PICTURE, method=method, layer=layer, score=0)
            assert len(found) == 5
            for parts, origin in zip(found.parts, prediction.detections.origin.tolist(), strict=True):
                want = expected(method, layer, features, origin[1:], half)
                assert np.abs(want).max() > 1e-3
                got, cells = np.zeros_like(want), parts[0].cells
                rows, columns = (
                    slice(at, at + size) for at, size in zip(cells.corner, cells.values.shape, strict=True)
                )
                got[rows, columns] = cells.values
                assert got == pytest.approx(want, abs=1e-4 * float(np.abs(want).max()))


def of_two_maps(net: Net, neck: str) -> str:
    """Logits of the neck, and of a map that the neck is made of."""
    more = conv(net, "early", "more", (8, 8, 3, 3), 2)
    both = net.Relu(net.Add(conv(net, neck, "head.a", (8, 8, 3, 3)), more))
    return conv(net, both, "head.b", (CLASSES, 8, 3, 3), name="logits")


def rest_of_two(neck: torch.Tensor, early: torch.Tensor) -> torch.Tensor:
    def convolved(key: str, x: torch.Tensor, *shape: int, stride: int = 1) -> torch.Tensor:
        return torch.conv2d(x, torch.tensor(2 * weights(key, *shape)), stride=stride, padding=1)

    both = torch.relu(convolved("head.a", neck, 8, 8, 3, 3) + convolved("more", early, 8, 8, 3, 3, stride=2))
    return convolved("head.b", both, CLASSES, 8, 3, 3)


@pytest.mark.parametrize("method", ["ablation-cam", "recipro-cam"])
def test_a_layer_of_two_maps_has_one_of_them_changed(tiny: Callable[..., None], tmp_path: Path, method: str) -> None:
    """The other map is as it is, or all of it is zero."""
    tiny(head=of_two_maps, layers={"neck": ("neck", "early")})
    boxcam.export("x.tiny", output=tmp_path / "b", layers=["neck"], engine="onnx")
    model = boxcam.load(tmp_path / "b", threads=1)
    (layer,) = model.manifest.layers
    (head,) = layer.heads
    assert (head.scope, head.batch, head.context) == ("cells", True, ())
    prediction = model.runtime.predict(PICTURE, layer)
    maps = {name: torch.tensor(prediction.outputs[name]) for name in ("neck", "early")}
    found = model.explain(PICTURE, method=method, layer="neck", score=0, top=2)
    for box, origin in enumerate(prediction.detections.origin[:2].tolist()):
        position = tuple(origin[1:])
        parts = {part.tensor: part.cells for part in found.parts[box]}
        assert set(parts) == set(maps)
        for name, features in maps.items():
            _, channels, height, width = features.shape
            if method == "ablation-cam":
                start, masks = maps, 1 - torch.eye(channels).reshape(channels, channels, 1, 1)
            else:
                start = {one: 0 * of for one, of in maps.items()}
                masks = torch.eye(height * width).reshape(-1, 1, height, width)
            before = rest_of_two(**start)[position]
            numbers = torch.stack([rest_of_two(**{**start, name: features * mask})[position] for mask in masks])
            if method == "ablation-cam":
                want = torch.relu((((before - numbers) / before.abs())[:, None, None] * features[0]).sum(0))
            else:
                want = (numbers - before).reshape(height, width)
            assert float(want.abs().max()) > 1e-3
            assert parts[name].values == pytest.approx(want.numpy(), abs=1e-4 * float(want.abs().max()))
