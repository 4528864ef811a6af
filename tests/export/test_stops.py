"""Tensors that no gradient passes, as the user names them: what a framework detaches is held, and only that.

The truth is autograd on the live model, which detaches the queries that it selects, or does not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import boxcam
from boxcam.errors import ExportError
from boxcam.export import inspect
from boxcam.export.inspect.lines import lines
from boxcam.export.source import Request
from tests.export.layers.transformers import COLUMNS, HEIGHT, ROWS, WIDTH, Selected, export

MEMORY = "/norm/LayerNormalization_output_0"
QUERIES = "/GatherElements_output_0"
READ = {
    "scores": "logits", "boxes": "pred_boxes", "box_format": "cxcywh", "box_scale": "normalized",
    "score_activation": "none", "preprocess": ("yolo", "resize=stretch"),
}  # fmt: skip
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def network(detach: bool) -> Selected:
    torch.manual_seed(0)
    return Selected(detach).eval()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(network(True), tmp_path_factory.mktemp("selected"))


def live(detach: bool, origin: np.ndarray) -> np.ndarray:
    """HiResCAM of one class logit at the memory, by autograd: [rows, columns]."""
    model = network(detach)
    seen = []
    model.norm.register_forward_hook(lambda _, __, out: seen.append(out))
    logits = []
    model.heads.score.register_forward_hook(lambda _, __, out: logits.append(out))
    model(torch.from_numpy(IMAGE[..., ::-1].transpose(2, 0, 1).copy())[None].float() / 255)
    (gradient,) = torch.autograd.grad(logits[0][0][tuple(origin[1:])], seen[0])
    return (gradient * seen[0]).sum(2).detach().numpy().reshape(ROWS, COLUMNS)


@pytest.mark.parametrize("stopped", [True, False])
def test_the_gradient_is_that_of_the_framework(file: Path, tmp_path: Path, stopped: bool) -> None:
    stops = [QUERIES] if stopped else []
    manifest = boxcam.export(
        file,
        output=tmp_path / "b",
        layers=[MEMORY],
        engine="onnx",
        stops=stops,
        **READ,  # type: ignore[arg-type]
    )
    assert manifest.source.get("stopped gradients", "") == ", ".join(stops)
    found = boxcam.load(tmp_path / "b").explain(IMAGE, method="hirescam", score=0, top=4)
    assert len(found) == 4
    for origin, parts in zip(found.detections.origin, found.parts, strict=True):
        expected, other = live(stopped, origin), live(not stopped, origin)
        size = np.abs(expected).max()
        cells = np.zeros((ROWS, COLUMNS), np.float32)
        (part,) = parts
        y, x = part.cells.corner
        cells[y : y + part.cells.values.shape[0], x : x + part.cells.values.shape[1]] = part.cells.values
        assert np.abs(cells - expected).max() < 1e-4 * size
        assert np.abs(cells - other).max() > 1e-2 * size


def test_a_tensor_that_is_not_there(file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=r"no tensor '/GatherElements_output'.* Did you mean /GatherElements_output_0"
    ):
        boxcam.export(
            file,
            output=tmp_path / "b",
            layers=[MEMORY],
            stops=["/GatherElements_output"],
            **READ,  # type: ignore[arg-type]
        )
    assert not (tmp_path / "b").exists()


def test_inspect_tells_of_selected_queries(file: Path) -> None:
    found = inspect.survey(Request((str(file),), **READ), lambda words: None, seconds=0)  # type: ignore[arg-type]
    assert found.selected == (QUERIES,)
    (line,) = [line for line in lines(found) if "Queries are selected" in line]
    assert f"stops=['{QUERIES}']" in line


def test_the_advice_of_inspect_can_be_obeyed(file: Path, tmp_path: Path) -> None:
    found = inspect.survey(Request((str(file),), **READ), lambda words: None, seconds=0)  # type: ignore[arg-type]
    stops = list(found.selected)
    boxcam.export(file, output=tmp_path / "b", layers=[MEMORY], engine="onnx", stops=stops, **READ)  # type: ignore[arg-type]
