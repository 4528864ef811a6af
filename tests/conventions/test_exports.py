"""Each layout as a bundle: the default layer, the detections, and a gradient, which is torch's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F

import boxcam
from boxcam.runtime.preprocess import prepare
from tests.conventions.files import Levels, net_of, outputs_of, write
from tests.conventions.in_graph import IN_GRAPH
from tests.conventions.layouts import LAYOUTS
from tests.conventions.reading import PLAIN, THRESHOLD, expected, picture, same

CLASSES = 3
ALL = {**LAYOUTS, **IN_GRAPH}


@pytest.mark.parametrize("name", ALL)
def test_a_bundle_has_the_layer_the_boxes_and_the_gradients(name: str, tmp_path: Path) -> None:
    layout = ALL[name]
    path = write(layout, tmp_path / "model.onnx", CLASSES)
    options = {"preprocess": PLAIN, "score_threshold": THRESHOLD, "engine": "onnx", **layout.options}
    manifest = boxcam.export(path, output=tmp_path / "b", accept=["boxes", "place"], **options)
    (layer,) = manifest.layers
    assert layer.name == "neck"
    used = {tensor.name for tensor in layer.tensors}
    net, _ = net_of(layout, CLASSES)
    assert used == (set(net.necks) if "cls.0" in net.weights or "all.0" in net.weights else {"neck.1"})
    model = boxcam.load(tmp_path / "b", threads=1)
    image = prepare(picture(), manifest.preprocess)[0]
    proto = onnx.load(str(path))
    truth = expected(layout, layout.truth(outputs_of(proto, image), CLASSES))
    found = model.detect(picture())
    whole = np.array([96, 64, 96, 64])
    same((found.boxes, found.scores, found.labels), (np.clip(truth[0], 0, whole), *truth[1:]))
    prediction = model.runtime.predict(picture(), model.runtime.layer("neck"))
    checked = 0
    for k in range(min(len(found), 4)):
        ((patch,),) = model.runtime.patches(prediction, model.runtime.layer("neck"), [k])
        neck = net.necks.index(layer.tensors[patch.tensor].name)
        wanted = gradient(net, proto, image, neck, float(found.logits[k]))
        got = np.zeros_like(wanted)
        y, x = patch.corner
        height, width = got.shape[1:]
        for i in range(patch.gradient.shape[1]):
            for j in range(patch.gradient.shape[2]):
                if 0 <= y + i < height and 0 <= x + j < width:
                    got[:, y + i, x + j] = patch.gradient[:, i, j]
        got += 0 if patch.uniform is None else patch.uniform[:, None, None]
        assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()
        checked += 1
    assert checked


def gradient(net: Levels, proto: onnx.ModelProto, image: np.ndarray, level: int, logit: float) -> np.ndarray:
    """The gradient of the number that is the logit by its map, by torch: of a head's convolutions, or of a token."""
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    del probe.graph.output[:]
    probe.graph.output.append(onnx.helper.make_tensor_value_info(net.necks[level], onnx.TensorProto.FLOAT, None))
    neck = torch.from_numpy(outputs_of(probe, image)[net.necks[level]]).requires_grad_()
    kind = next(kind for kind in ("cls", "all", "mixed") if f"{kind}.{level}" in net.weights)
    a, b, c, d = (torch.from_numpy(weight) for weight in net.weights[f"{kind}.{level}"])
    numbers = F.conv2d(F.relu(F.conv2d(neck, a, b, padding=1)), c, d)
    if kind == "mixed":
        scale, shift, weight, bias = (torch.from_numpy(w) for w in (*net.weights["tokens"], *net.weights["labels"]))
        numbers = F.layer_norm(numbers.flatten(2).transpose(1, 2), (8,), scale, shift) @ weight + bias
    apart = (numbers - logit).abs().flatten()
    assert apart.min() < 1e-3, "the logit is none of the head's"
    (found,) = torch.autograd.grad(numbers.flatten()[apart.argmin()], neck)
    return found[0].numpy()
