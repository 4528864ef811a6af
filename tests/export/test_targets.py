"""Every target of a box, by feature maps and by pixels, against torch.autograd; guided backpropagation likewise."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import boxcam
from boxcam.bundle import Layer
from boxcam.errors import BoxcamWarning, UnknownNameError
from boxcam.explain.placement import place
from boxcam.runtime.preprocess import prepare
from boxcam.targets import TARGETS
from boxcam.types import Patch
from tests.export.sources.onnx.deployed import CASES, HEIGHT, WIDTH, Case, Deployed, Found, export

PLAIN, SOFTMAX = CASES["boxes and scores"], CASES["ssd"]
USED: dict[str, Case] = {
    "sigmoid": PLAIN,
    "softmax": SOFTMAX,
    "channels last": dataclasses.replace(PLAIN, channels_last=True),
}


@dataclasses.dataclass
class Pair:
    """A detector in torch and as a bundle, on one picture."""

    deployed: Deployed
    model: boxcam.Model
    image: Tensor
    found: Found

    def body(self, image: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """The neck's maps, boxes [N, 4] and logits [N, C] of an image in the model's layout."""
        neck = self.deployed.body.neck(image.permute(0, 3, 1, 2) if self.deployed.case.channels_last else image)
        boxes, logits = self.deployed.body.heads(neck)
        return neck, boxes[0], logits[0]

    def target(self, name: str, k: int, boxes: Tensor, logits: Tensor) -> Tensor:
        """The number that a box's target is."""
        row, label = divmod(int(self.found.logits[k]), logits.shape[1])
        if name == "logit":
            return logits[row, label]
        if name == "score":
            softmax = self.deployed.case is SOFTMAX
            return (logits[row].softmax(0) if softmax else logits[row].sigmoid())[label]
        return boxes[row, ("x1", "y1", "x2", "y2").index(name)]


def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)


@pytest.fixture(scope="module", params=USED)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    case, folder = USED[request.param], tmp_path_factory.mktemp("targets")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deployed = export(case, folder / "model.onnx")
    options: dict[str, Any] = {**case.options, "preprocess": case.preprocess}
    boxcam.export(
        folder / "model.onnx", output=folder / "b", layers=("neck", "image"), targets=TARGETS.names(), **options
    )
    model = boxcam.load(folder / "b", threads=1)
    image = torch.from_numpy(prepare(picture(), model.manifest.preprocess)[0])
    made = Pair(deployed, model, image, None)  # type: ignore[arg-type]
    with torch.no_grad():
        _, boxes, logits = made.body(image)
    return dataclasses.replace(made, found=case.expected(boxes, logits))


def whole(patches: tuple[Patch, ...], number: int, shape: tuple[int, ...]) -> np.ndarray:
    """A box's gradient by one of the layer's tensors, [C, H, W]."""
    full = np.zeros(shape, np.float64)
    for patch in patches:
        if patch.tensor != number:
            continue
        if patch.uniform is not None:
            full += patch.uniform[:, None, None]
        (y, x), (_, h, w) = patch.corner, patch.gradient.shape
        y0, y1, x0, x1 = max(y, 0), min(y + h, shape[1]), max(x, 0), min(x + w, shape[2])
        full[:, y0:y1, x0:x1] += patch.gradient[:, y0 - y : y1 - y, x0 - x : x1 - x]
    return full


def order(layer: Layer, neck: list[Tensor]) -> list[Tensor]:
    """The neck's maps in the order of the layer's tensors."""
    return [next(f for f in neck if tuple(f.shape[2:]) == (t.height, t.width)) for t in layer.tensors]


class Errors:
    """How far gradients are from the true ones: a saturated number's gradient has no digits left in float32."""

    def __init__(self) -> None:
        self.errors: list[float] = []
        self.sizes: list[float] = []

    def add(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """The gradients of one box by each tensor: found, expected."""
        self.errors.append(max(float(np.abs(found - expected).max()) for found, expected in pairs))
        self.sizes.append(max(float(np.abs(expected).max()) for _, expected in pairs))

    def check(self) -> None:
        errors, sizes = np.array(self.errors), np.array(self.sizes)
        assert len(sizes) > 3
        assert (sizes > 0).all()
        assert (errors <= 1e-4 * sizes + 3e-5 * sizes.max()).all()


def test_odam_of_the_class_and_all_sides_together(pair: Pair) -> None:
    asked: dict[str, Any] = {"layer": "neck", "top": 2}
    maps = [
        [np.maximum(one, 0) / max(float(one.max()), 1e-30) for one in found.maps]
        for found in (
            pair.model.explain(picture(), method="odam", target=name, **asked)
            for name in ("logit", "x1", "y1", "x2", "y2")
        )
    ]
    assert len({round(float(of[0].sum()), 3) for of in maps}) == 5
    found = pair.model.explain(picture(), method="odam-combined", **asked)
    assert found.maps == pytest.approx(np.max(maps, axis=0), abs=1e-5)
    assert found.target == "logit"
    assert "odam-combined" in pair.model.methods()


@pytest.mark.parametrize("target", TARGETS)
def test_values_are_the_numbers_that_are_reported(pair: Pair, target: str) -> None:
    prediction = pair.model.runtime.predict(picture(), pair.model.runtime.layer("neck"), target=target)
    with torch.no_grad():
        _, boxes, logits = pair.body(pair.image)
        expected = [float(pair.target(target, k, boxes, logits)) for k in range(len(pair.found.scores))]
    np.testing.assert_allclose(pair.model.runtime.values(prediction, target), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_gradients_by_maps_are_those_of_torch(pair: Pair, target: str) -> None:
    layer = pair.model.runtime.layer("neck")
    prediction = pair.model.runtime.predict(picture(), layer, target=target)
    neck, _, _ = pair.body(pair.image)
    leaves = [f.detach().requires_grad_() for f in neck]
    boxes, logits = (value[0] for value in pair.deployed.body.heads(leaves))
    count, errors = len(pair.found.scores), Errors()
    for k, patches in enumerate(pair.model.runtime.patches(prediction, layer, range(count), target=target)):
        gradients = torch.autograd.grad(
            pair.target(target, k, boxes, logits), order(layer, leaves), retain_graph=True, allow_unused=True
        )
        pairs = []
        for number, (gradient, leaf) in enumerate(zip(gradients, order(layer, leaves), strict=True)):
            expected = np.zeros(leaf.shape[1:]) if gradient is None else gradient[0].numpy()
            pairs.append((whole(patches, number, expected.shape), expected))
        errors.add(pairs)
    errors.check()


@pytest.mark.parametrize("target", TARGETS)
def test_gradients_by_pixels_are_those_of_torch(pair: Pair, target: str) -> None:
    layer = pair.model.runtime.layer("image")
    (tensor,) = layer.tensors
    assert (tensor.channels, tensor.height, tensor.width, tensor.stride) == (3, HEIGHT, WIDTH, (1.0, 1.0))
    prediction = pair.model.runtime.predict(picture(), layer, target=target)
    image, errors = pair.image.clone().requires_grad_(), Errors()
    _, boxes, logits = pair.body(image)
    for k, patches in enumerate(pair.model.runtime.patches(prediction, layer, range(4), target=target)):
        (gradient,) = torch.autograd.grad(pair.target(target, k, boxes, logits), image, retain_graph=True)
        expected = gradient[0].numpy()
        if pair.deployed.case.channels_last:
            expected = expected.transpose(2, 0, 1)
        errors.add([(whole(patches, 0, expected.shape), expected)])
    errors.check()


class _Guided(torch.autograd.Function):
    """A ReLU that passes what is positive, where it is active: Springenberg et al. 2015, section 3.4."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return g * (g > 0) * (x > 0)


@pytest.fixture
def guided(pair: Pair) -> Iterator[None]:
    rectified = [m for m in pair.deployed.modules() if isinstance(m, nn.ReLU)]
    for module in rectified:
        module.forward = _Guided.apply  # type: ignore[method-assign]
    yield
    for module in rectified:
        del module.forward


@pytest.mark.usefixtures("guided")
def test_guided_backpropagation_is_that_of_torch(pair: Pair) -> None:
    layer = pair.model.runtime.layer("image")
    prediction = pair.model.runtime.predict(picture(), layer)
    image = pair.image.clone().requires_grad_()
    _, boxes, logits = pair.body(image)
    for k, patches in enumerate(pair.model.runtime.patches(prediction, layer, range(4), rules="guided")):
        (gradient,) = torch.autograd.grad(pair.target("logit", k, boxes, logits), image, retain_graph=True)
        expected = gradient[0].numpy()
        if pair.deployed.case.channels_last:
            expected = expected.transpose(2, 0, 1)
        assert np.abs(whole(patches, 0, expected.shape) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_guided_grad_cam_is_the_product_of_both(pair: Pair) -> None:
    def made(method: str) -> np.ndarray:
        return boxcam.explain(pair.model, picture(), method=method, top=3).maps

    product = made("guided-gradcam")
    assert product.max() > 0
    np.testing.assert_allclose(product, made("gradcam") * made("guided-backprop"), rtol=1e-5, atol=1e-7)


def test_saliency_is_the_largest_gradient_of_a_pixel(pair: Pair) -> None:
    found = boxcam.explain(pair.model, picture(), method="saliency", top=2, target="x2")
    assert (found.layer, found.target) == ("image", "x2")
    image = pair.image.clone().requires_grad_()
    _, boxes, logits = pair.body(image)
    for k in range(2):
        (gradient,) = torch.autograd.grad(pair.target("x2", k, boxes, logits), image, retain_graph=True)
        expected = gradient[0].abs().amax(2 if pair.deployed.case.channels_last else 0).numpy()
        np.testing.assert_allclose(found.map(k), expected, atol=1e-4 * expected.max())


def test_a_map_is_the_sum_of_its_parts(pair: Pair) -> None:
    """The coarse map is computed from the fine one here, so a box of the coarse level depends on one of the two cut."""
    found = boxcam.explain(pair.model, picture(), method="hirescam", top=4)
    height, width = found.image.shape[:2]
    for k, parts in enumerate(found.parts):
        total = sum(place(part.cells, part.grid, height, width) for part in parts)
        np.testing.assert_allclose(found.map(k), total, atol=1e-6)


@pytest.mark.parametrize("method", ["gradcam", "guided-gradcam"])
def test_methods_of_feature_maps_are_not_for_pixels(pair: Pair, method: str) -> None:
    colours = r"the channels of the image are its colours\."
    with pytest.raises(UnknownNameError, match=rf"{colours} Choose another layer \(neck\), or pass method=.hirescam."):
        boxcam.explain(pair.model, picture(), method=method, layer="image")


def test_methods_of_pixels_are_not_for_feature_maps(pair: Pair) -> None:
    with pytest.raises(UnknownNameError, match="is one of pixels"):
        boxcam.explain(pair.model, picture(), method="saliency", layer="neck")


def test_a_target_that_does_not_depend_on_a_layer_is_left_out(tmp_path: Path) -> None:
    """The sides of boxes do not depend on the tower that scores are computed by."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(PLAIN, tmp_path / "model.onnx")
    tower = "/body/score/score.1/Relu_output_0"
    with pytest.warns(BoxcamWarning, match=r"target 'x1' does not depend on layer .*, which gets no gradient"):
        manifest = boxcam.export(
            tmp_path / "model.onnx",
            output=tmp_path / "b",
            layers=tower,
            targets=("logit", "x1"),
            engine="onnx",
            preprocess=PLAIN.preprocess or (),
            **PLAIN.options,
        )
    assert {gradient.target for gradient in manifest.layers[0].gradients} == {"logit"}
