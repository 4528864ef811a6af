"""Models whose height and width are open: each picture in its own size, gradients those of torch at that size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

import boxcam
from boxcam.errors import BoxcamWarning, ExportError, SourceError, UnsupportedOperatorError
from boxcam.export.preprocessing.parse import parse
from boxcam.export.verify.samples import Samples
from boxcam.runtime.preprocess import prepare
from boxcam.types import Patch
from tests.export.passes.open_sizes import BACKBONE, PICTURES, PREPROCESS, RESIZES, Detector, pixels, written
from tests.matrix.deployed import whole


@pytest.fixture(scope="module", params=[(name, True) for name in RESIZES] + [("nearest to a size", False)])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, boxcam.Model]:
    folder = tmp_path_factory.mktemp("open")
    model = Detector(*request.param).eval().requires_grad_(False)
    path = written(model, folder / "model.onnx")
    limits = {} if model.selects else {"score_threshold": 0.4, "nms_threshold": 0.5}
    boxcam.export(
        path,
        output=folder / "bundle",
        layers=[BACKBONE],
        targets=["logit", "score", "x2"],
        preprocess=PREPROCESS,
        **limits,
    )
    return model, boxcam.load(folder / "bundle", threads=1)


@pytest.mark.parametrize("size", PICTURES)
def test_every_picture_has_its_own_size_and_the_gradients_of_torch(
    network: tuple[Detector, boxcam.Model], size: tuple[int, int]
) -> None:
    model, bundle = network
    layer = bundle.runtime.layer(BACKBONE)
    picture = pixels(*size)
    assert {g.form for g in layer.gradients} == {"windows"}
    for what in ("another size: ONNX gradient", "another size: means"):
        assert any(what in check for check in bundle.manifest.verification)
    prediction = bundle.runtime.predict(picture, layer)
    place = prediction.transform
    assert (place.canvas_height % 16, place.canvas_width % 16) == (0, 0)
    assert 0 <= place.canvas_height - place.resized_height < 16 > place.canvas_width - place.resized_width >= 0
    with torch.no_grad():
        image = torch.from_numpy(prepare(picture, bundle.manifest.preprocess)[0])
        assert image.shape[2:] == (place.canvas_height, place.canvas_width)
        fine = model.backbone(image)
    np.testing.assert_allclose(prediction.outputs[BACKBONE], fine.numpy(), atol=1e-5)
    fine = torch.from_numpy(np.array(prediction.outputs[BACKBONE])).requires_grad_()
    boxes, logits = model.heads(fine)
    found = prediction.detections
    assert len(found) >= 5
    for target, values in (("logit", logits), ("score", logits.sigmoid()), ("x2", boxes)):
        aim = bundle.manifest.target(target)
        prediction = bundle.runtime.predict(picture, layer, target=target)
        mine = bundle.runtime.values(prediction, target)
        numbers = prediction.outputs[aim.origin][prediction.rows]
        assert len(numbers) == len(found)
        for k, of in enumerate(
            bundle.runtime.patches(prediction, layer, list(range(min(len(found), 12))), target=target)
        ):
            true = _nearest(values, float(mine[k]), int(found.labels[k]))
            (expected,) = torch.autograd.grad(true, fine, retain_graph=True)
            _same(of, expected.numpy())


@pytest.mark.parametrize("method", ["ablation-cam", "recipro-cam"])
def test_the_rest_of_the_model_runs_at_every_size(network: tuple[Detector, boxcam.Model], method: str) -> None:
    model, bundle = network
    layer = bundle.runtime.layer(BACKBONE)
    assert {head.end for head in layer.heads} >= {end.name for end in bundle.manifest.target().ends}
    for size in PICTURES[:2]:
        found = bundle.explain(pixels(*size), method=method, layer=BACKBONE, score=0.4, top=1)
        prediction = bundle.runtime.predict(pixels(*size), layer)
        fine = torch.from_numpy(np.array(prediction.outputs[BACKBONE]))
        channels, height, width = fine.shape[1:]
        with torch.no_grad():
            column = model.heads(fine)[1][0, :, int(found.detections.labels[0])]
            place = int((column - float(found.values[0])).abs().argmin())
            if method == "ablation-cam":
                start, masks = fine, 1 - torch.eye(channels).reshape(channels, channels, 1, 1)
            else:
                start, masks = 0 * fine, torch.eye(height * width).reshape(-1, 1, height, width)
            before, *numbers = [
                model.heads(one[None])[1][0, place, int(found.detections.labels[0])]
                for one in torch.cat([start, fine * masks])
            ]
        changes = torch.stack(numbers) - before
        if method == "ablation-cam":
            want = torch.relu((-changes[:, None, None] / before.abs() * fine[0]).sum(0)).numpy()
        else:
            want = changes.reshape(height, width).numpy()
        (part,) = found.parts[0]
        got, (y, x) = np.zeros_like(want), part.cells.corner
        rows, columns = part.cells.values.shape
        got[max(y, 0) : y + rows, max(x, 0) : x + columns] = part.cells.values
        assert np.abs(want).max() > 1e-3
        assert got == pytest.approx(want, abs=2e-4 * float(np.abs(want).max()))


def _nearest(values: Tensor, mine: float, label: int) -> Tensor:
    """The number of torch's own that a box was made of."""
    column = values[0, :, 2] if values.shape[2] == 4 else values[0, :, label]
    apart = (column - mine).detach().abs()
    assert float(apart.min()) < 1e-3 * max(1.0, abs(mine))
    return column[int(apart.argmin())]


def _same(patches: tuple[Patch, ...], expected: np.ndarray) -> None:
    found = whole(patches, expected.shape)
    assert np.abs(found - expected).max() <= 2e-6 * np.abs(expected).max()


def test_maps_lie_on_the_picture_whatever_its_size(network: tuple[Detector, boxcam.Model]) -> None:
    """The map of a box lights up around it, as a logit depends on the cells around its own."""
    _, bundle = network
    for size in PICTURES:
        found = boxcam.explain(bundle, pixels(*size), method="hirescam", score=0.4, top=5)
        for k in range(len(found.detections)):
            drawn = np.abs(found.map(k))
            assert drawn.shape == size
            weight = drawn.sum()
            if weight == 0:
                continue
            y, x = (drawn.sum(1) @ np.arange(size[0]) / weight, drawn.sum(0) @ np.arange(size[1]) / weight)
            x1, y1, x2, y2 = found.detections.boxes[k]
            reach = 64 * max(size) / 136
            assert abs(y - (y1 + y2) / 2) < reach
            assert abs(x - (x1 + x2) / 2) < reach


def test_a_shape_fixes_the_size(tmp_path: Path) -> None:
    path = written(Detector("nearest by 2", True).eval(), tmp_path / "model.onnx")
    options = [option for option in PREPROCESS if not option.startswith(("size", "multiple"))]
    manifest = boxcam.export(
        path, output=tmp_path / "fixed", layers=[BACKBONE], shape=(64, 96), preprocess=options, engine="both"
    )
    assert (manifest.preprocess.multiple, manifest.preprocess.shape) == (0, (1, 3, 64, 96))
    with pytest.raises(SourceError, match="multiple 16 is for a model whose height and width are dynamic, not fixed"):
        boxcam.export(
            path, output=tmp_path / "other", layers=[BACKBONE], shape=(64, 96), preprocess=[*options, "multiple=16"]
        )
    with pytest.raises(SourceError, match=r"Fix them with shape=, .* or let each image have its own, with"):
        boxcam.export(path, output=tmp_path / "other", layers=[BACKBONE], preprocess=options)
    with pytest.raises(ExportError, match=r"TorchScript gradients need a fixed input size.*shape="):
        boxcam.export(path, output=tmp_path / "other", layers=[BACKBONE], preprocess=PREPROCESS, engine="both")
    assert not (tmp_path / "other").exists()


def test_pictures_may_stay_as_they_are(tmp_path: Path) -> None:
    path = written(Detector("nearest to a size", True).eval(), tmp_path / "model.onnx")
    options = ("resize=none", "multiple=1", "scale=0-1", "color=RGB")
    boxcam.export(path, output=tmp_path / "bundle", layers=[BACKBONE], preprocess=options)
    bundle = boxcam.load(tmp_path / "bundle", threads=1)
    for size in PICTURES:
        place = bundle.runtime.predict(pixels(*size)).transform
        assert (place.canvas_height, place.canvas_width) == (place.resized_height, place.resized_width) == size


def test_what_needs_its_sizes_says_that_a_shape_is_the_way_out(tmp_path: Path) -> None:
    """A cubic resize on the way: its matrix is known for a fixed size only."""
    model = Detector("nearest by 2", True).eval()
    model.resize = {"mode": "bicubic", "align_corners": False, "scale_factor": 2.0}
    path = written(model, tmp_path / "model.onnx")
    with pytest.raises(
        UnsupportedOperatorError, match=r"Resize \(.*size of its maps.* Fix it with shape=, such as"
    ) as found:
        boxcam.export(path, output=tmp_path / "open", layers=[BACKBONE], preprocess=PREPROCESS)
    assert "torchscript" not in str(found.value)  # which is for fixed sizes only
    options = [option for option in PREPROCESS if not option.startswith(("size", "multiple"))]
    with pytest.warns(BoxcamWarning, match="has no TorchScript gradient, only the ONNX one: Resize .*'cubic'"):
        boxcam.export(path, output=tmp_path / "fixed", layers=[BACKBONE], preprocess=options, shape=(64, 96))


def test_a_model_that_does_not_bear_a_size_says_what_may_help(tmp_path: Path) -> None:
    """Its two levels meet where sides are multiples of 16 only."""
    path = written(Detector("nearest by 2", True).eval(), tmp_path / "model.onnx")
    options = [option for option in PREPROCESS if not option.startswith("multiple")]
    with pytest.raises(
        ExportError, match=r"both sides have to be multiples of 16\. Pass preprocess=.multiple=16., or .*shape="
    ):
        boxcam.export(path, output=tmp_path / "open", layers=[BACKBONE], preprocess=[*options, "multiple=8"])


def test_tokens_of_open_sizes_say_that_a_shape_is_the_way_out(tmp_path: Path) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.mix, self.score = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 8), nn.Linear(8, 5)

        def forward(self, image: Tensor) -> Tensor:
            return self.score(self.mix(self.patches(image).flatten(2).transpose(1, 2)).tanh().mean(1)).softmax(1)

    path, axes = tmp_path / "model.onnx", {"image": {2: "height", 3: "width"}}
    image = torch.rand(1, 3, 64, 96)
    names = {"input_names": ["image"], "output_names": ["scores"], "dynamic_axes": axes}
    torch.onnx.export(Tokens().eval(), (image,), str(path), dynamo=False, opset_version=17, **names)  # type: ignore[arg-type]
    (tokens,) = [node.output[0] for node in onnx.load(str(path)).graph.node if node.op_type == "Tanh"]
    with pytest.raises(ExportError, match=r"how the tokens .*\[1, \?, 8\] lie .* size is dynamic\. Fix it with shape="):
        boxcam.export(path, output=tmp_path / "open", layers=[tokens], preprocess=PREPROCESS)


@pytest.mark.parametrize("size", [(50, 1), (1, 50)])
def test_a_sample_of_one_line_has_another_size_too(size: tuple[int, int]) -> None:
    spec = parse(PREPROCESS, (1, 3, None, None), ir.DataType.FLOAT, None)
    (turned,) = Samples("image", spec, pixels(*size)).of_another_size()
    assert turned["image"].size > 0


class Joined(Detector):
    """Boxes and scores of a level in one tensor before its cells become rows, as some YOLOs have it."""

    def forward(self, image: Tensor) -> Any:
        fine = self.backbone(image)
        levels = []
        for feature, stride in ((fine, 8), (self.coarse(fine), 16)):
            height, width = feature.shape[-2:]
            y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
            size = self.box(feature)[:, :2].clamp(-2, 2).exp() * stride
            centre = torch.stack([x, y])[None].float() * stride
            levels.append(torch.cat([centre + 0 * size, size, self.score(feature).sigmoid()], 1).flatten(2))
        return torch.cat(levels, 2).double()


def test_scores_are_told_from_sizes_beside_them_in_open_maps(tmp_path: Path) -> None:
    """Rows are traced to the column that they come from though neither height nor width is known; float64 is read."""
    model = Joined("nearest by 2", False).eval().requires_grad_(False)
    model.outputs = ("output0",)
    path = written(model, tmp_path / "model.onnx")
    boxcam.export(path, output=tmp_path / "bundle", layers=[BACKBONE], preprocess=PREPROCESS, score_threshold=0.3)
    bundle = boxcam.load(tmp_path / "bundle", threads=1)
    found = bundle.detect(pixels(75, 118))
    assert len(found) >= 5
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-found.logits.astype(np.float64))), atol=1e-6)
    assert "[4:7]" in bundle.manifest.source["scores"]
