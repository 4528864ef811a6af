"""Plain ONNX files: the detections are the network's own, and so are the gradients."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result

import boxcam
from boxcam.errors import SourceError
from boxcam.runtime.preprocess import prepare
from tests.export.sources.onnx.deployed import CASES, HEIGHT, LIMITS, RIVALS, WIDTH, Case, Deployed, export


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def network(case: Case, tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployed, Path]:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return export(case, path), path


@pytest.fixture(scope="module")
def bundle(case: Case, network: tuple[Deployed, Path]) -> boxcam.Model:
    path = network[1].with_suffix(".boxcam")
    options = dict(case.options)
    if case.preprocess is not None:
        options["preprocess"] = case.preprocess
    boxcam.export(network[1], output=path, engine="onnx", **options)
    return boxcam.load(path, threads=1)


def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def test_the_detections_are_those_of_the_network(
    case: Case, network: tuple[Deployed, Path], bundle: boxcam.Model
) -> None:
    deployed, _ = network
    found = bundle.detect(picture())
    tensor = torch.from_numpy(prepare(picture(), bundle.manifest.preprocess)[0])
    with torch.no_grad():
        boxes, logits = deployed.body(tensor.permute(0, 3, 1, 2) if case.channels_last else tensor)
        expected = case.expected(boxes[0], logits[0])
    assert len(expected.scores) > 3
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found.labels, expected.labels)
    limit = np.array([WIDTH, HEIGHT] * 2)
    np.testing.assert_allclose(found.boxes, np.clip(expected.boxes, 0, limit), atol=1e-3)
    np.testing.assert_allclose(found.logits, logits.reshape(-1)[expected.logits], atol=1e-4)


def test_the_gradients_are_those_of_torch(case: Case, network: tuple[Deployed, Path], bundle: boxcam.Model) -> None:
    deployed, _ = network
    layer = bundle.runtime.layer("neck")
    prediction = bundle.runtime.predict(picture(), layer)
    image = torch.from_numpy(prepare(picture(), bundle.manifest.preprocess)[0])
    neck = [
        f.detach().requires_grad_()
        for f in deployed.body.neck(image.permute(0, 3, 1, 2) if case.channels_last else image)
    ]
    boxes, logits = deployed.body.heads(neck)
    expected = case.expected(boxes[0], logits[0])
    order = [t.name for t in layer.tensors]
    assert len(order) == 2
    shapes = {(t.height, t.width): i for i, t in enumerate(layer.tensors)}
    for k, (patch,) in enumerate(bundle.runtime.patches(prediction, layer, range(len(expected.scores)))):
        gradients = torch.autograd.grad(
            logits.reshape(-1)[expected.logits[k]], neck, retain_graph=True, allow_unused=True
        )
        level = next(i for i, f in enumerate(neck) if shapes[tuple(f.shape[2:])] == patch.tensor)
        assert all((g is None or not g.any()) for i, g in enumerate(gradients) if i != level)
        whole = np.zeros_like(gradients[level][0].numpy())
        height, width = whole.shape[1:]
        y, x = patch.corner
        for i in range(patch.gradient.shape[1]):
            for j in range(patch.gradient.shape[2]):
                if 0 <= y + i < height and 0 <= x + j < width:
                    whole[:, y + i, x + j] = patch.gradient[:, i, j]
        scale = np.abs(gradients[level].numpy()).max()
        assert np.abs(whole - gradients[level][0].numpy()).max() <= 1e-4 * scale


def test_outputs_can_be_named(tmp_path: Path) -> None:
    """Of two scores and two boxes, those that are named; classes by a file; another name is asked for."""
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(RIVALS, path)
    (tmp_path / "names.txt").write_text("car\ncat\ncup\n")
    options: dict[str, Any] = {**LIMITS, "preprocess": ("imagenet", "resize=stretch"), "engine": "onnx"}
    with pytest.raises(SourceError, match=r"the scores may be first or second\. Pass the right one with scores="):
        boxcam.export(path, output=tmp_path / "b", **options)
    found = {}
    for name in ("first", "second"):
        given = {"scores": name, "boxes": "places", "class_names": tmp_path / "names.txt"}
        manifest = boxcam.export(path, output=tmp_path / name, **given, **options)
        assert manifest.labels == ("car", "cat", "cup")
        assert manifest.source["scores"] == name
        found[name] = boxcam.load(tmp_path / name, threads=1).detect(picture())
    assert found["first"].scores.max() > 0.6 > 0.5 >= found["second"].scores.max()
    turned = {"scores": "first", "boxes": "turned", "box_format": "yxyx", "box_scale": "pixels"}
    boxcam.export(path, output=tmp_path / "turned", **turned, **options)
    again = boxcam.load(tmp_path / "turned", threads=1).detect(picture())
    np.testing.assert_allclose(again.boxes, found["first"].boxes, atol=1e-3)


def test_the_function_of_the_page_is_called_by_the_command_line(tmp_path: Path, cli: Callable[..., Result]) -> None:
    path, code = tmp_path / "model.onnx", tmp_path / "head.py"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(CASES["a function"], path)
    page = (Path(__file__).resolve().parents[4] / "docs" / "onnx.md").read_text(encoding="utf-8")
    code.write_text(page.split("```python\n")[1].split("```")[0], encoding="utf-8")
    given = ["--decode", f"{code}:decode", "--nms", "0.5", "--score-threshold", "0.3", "--engine", "onnx"]
    done = cli("export", path, "-o", tmp_path / "b", "--preprocess", "imagenet", *given)
    assert done.exit_code == 0, done.stderr
    code.unlink()  # the bundle works without it
    assert len(boxcam.load(tmp_path / "b", threads=1).detect(picture())) > 3
    inspected = cli("inspect", path, "--decode", f"{code}:none")
    assert inspected.exit_code == 0
    assert "head.py, the file of --decode, does not exist" in inspected.stdout


def test_a_file_whose_name_is_not_utf_8(tmp_path: Path, cli: Callable[..., Result]) -> None:
    path = tmp_path / os.fsdecode(b"m\xff.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(CASES["a function"], tmp_path / "model.onnx")
    (tmp_path / "model.onnx").rename(path)
    options = {**CASES["a function"].options, "preprocess": "imagenet", "engine": "onnx"}
    manifest = boxcam.export(path, output=tmp_path / "b", **options)
    assert path.name in manifest.source["file"]
    assert boxcam.load(tmp_path / "b", threads=1).manifest.source == manifest.source
    inspected = cli("inspect", tmp_path / "b")
    assert inspected.exit_code == 0, inspected.stderr
    assert r"m\udcff.onnx" in inspected.stdout
