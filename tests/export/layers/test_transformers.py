"""Layers of detection transformers: the tokens of the image are told from those before and after, and from queries.

A map is held against what the live model computes, read by a hook and laid out by hand.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx_ir.passes import common as passes
from torch import Tensor, nn

from boxcam.errors import ExportError
from boxcam.export import inspect
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import find_value
from boxcam.export.graphs.run import observe_values
from boxcam.export.inspect import Survey
from boxcam.export.layers.layout import as_map
from boxcam.export.layers.tokens import ImageInput
from boxcam.export.preprocessing.parse import parse
from boxcam.export.source import Request
from tests.export.layers.transformers import (
    COLUMNS,
    HEIGHT,
    KINDS,
    PATCH,
    ROWS,
    WIDE,
    WIDTH,
    Yolos,
    export,
    make,
    picture,
)  # fmt: skip

INPUT = ImageInput("images", parse(("yolo", "resize=stretch"), (1, 3, HEIGHT, WIDTH), ir.DataType.FLOAT, None, None))
READ = {
    "scores": "logits", "boxes": "pred_boxes", "box_format": "cxcywh", "box_scale": "normalized",
    "score_activation": "none", "preprocess": ("yolo", "resize=stretch"),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def network(kind: str) -> nn.Module:
    return make(kind)


@pytest.fixture(scope="module")
def file(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(network, tmp_path_factory.mktemp("transformer"))


@pytest.fixture(scope="module")
def found(file: Path) -> Survey:
    return inspect.survey(Request((str(file),), **READ), lambda words: None, everything=True, seconds=20)  # type: ignore[arg-type]


NECK = {
    "yolos": "/blocks.1/before_attention/LayerNormalization_output_0",
    "projected": "/project/project.3/Mul_output_0",
    "queries": "/embed/Conv_output_0",
    "selected": "/norm/LayerNormalization_output_0",
    "merged": "/lateral/lateral.1/Mul_output_0",
}


def test_what_is_explained_when_nothing_is_asked(kind: str, found: Survey) -> None:
    assert found.problem == ""
    assert found.default == ("neck", (NECK[kind],))


def test_no_first_convolution_is_what_the_heads_read(kind: str, found: Survey) -> None:
    roles = {layer.name: layer.role for layer in found.layers}
    if kind != "queries":  # whose patches are made of another convolution's map
        assert not roles["/embed/Conv_output_0"].startswith("what the heads read")


def test_queries_are_no_map(found: Survey) -> None:
    assert not [layer.name for layer in found.layers if "decoder" in layer.name]


def test_a_map_is_listed_in_the_layout_that_it_has(kind: str, found: Survey) -> None:
    sizes = {(4, 6), (64, 96)} if kind != "merged" else {(16, 24), (8, 24), (16, 12), (8, 12)}
    assert {(layer.height, layer.width) for layer in found.layers} <= sizes
    for layer in found.layers:
        assert layer.stride == (HEIGHT / layer.height, WIDTH / layer.width)


def test_every_layer_that_is_listed_can_be_differentiated(found: Survey) -> None:
    assert found.layers
    assert [layer.name for layer in found.layers if layer.problem or not layer.form] == []


NORM = "LayerNormalization_output_0"
MAPS = {
    "yolos": {
        "blocks.0.before_mlp": f"/blocks.0/before_mlp/{NORM}",
        "blocks.1.before_attention": f"/blocks.1/before_attention/{NORM}",
    },
    "queries": {"blocks.1.before_mlp": f"/blocks.1/before_mlp/{NORM}", "norm": f"/norm/{NORM}"},
    "selected": {"norm": f"/norm/{NORM}"},
    "projected": {"project.3": "/project/project.3/Mul_output_0"},
    "merged": {
        "after.before_mlp": f"/after/before_mlp/{NORM}",
        "norm": f"/norm/{NORM}",
        "lateral.1": "/lateral/lateral.1/Mul_output_0",
    },
}
"""Of each detector modules, and the tensors that they give."""


def by_hand(kind: str, network: nn.Module) -> dict[str, np.ndarray]:
    """Maps of the live model, [C, H, W]: the output of a module, and the tokens that lie on the image, row by row."""
    seen: dict[str, Tensor] = {}
    for name in MAPS[kind]:
        network.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    with torch.no_grad():
        network(picture())
    maps = {}
    for name, value in seen.items():
        maps[name] = value[0]
        if value.ndim == 3:
            rows, columns = (ROWS, COLUMNS) if kind != "merged" else (HEIGHT // 8, WIDTH // 8)
            first = 1 if kind == "yolos" else 0
            tokens = value[0, first : first + rows * columns]
            lines = torch.stack([tokens[row * columns : (row + 1) * columns] for row in range(rows)])
            maps[name] = lines.permute(2, 0, 1)
    return {name: value.numpy() for name, value in maps.items()}


def test_a_map_is_what_the_live_model_has_there(kind: str, network: nn.Module, file: Path) -> None:
    for name, expected in by_hand(kind, network).items():
        model = fold_model(ir.load(str(file)))
        asked = as_map(model, MAPS[kind][name], None, INPUT, None)
        passes.ShapeInferencePass()(model)
        value = find_value(model.graph, asked)
        assert value is not None
        (found,) = observe_values(model, [value], {"images": picture().numpy()})
        assert np.abs(found[0] - expected).max() < 1e-5, name


def test_where_the_cells_lie(kind: str, file: Path) -> None:
    """Patches do not overlap: the middle of a cell is the middle of its patch."""
    model = fold_model(ir.load(str(file)))
    placed = INPUT.placed(model.graph)
    last = find_value(model.graph, NECK[kind])
    assert last is not None
    stride = PATCH if kind != "merged" else 8
    for line in (placed.tokens[last].y, placed.tokens[last].x) if last in placed.tokens else ():
        assert (line.stride, line.center) == (stride, stride / 2)
    if last in placed.cells:
        cells = placed.cells[last]
        assert (cells.y.stride, cells.x.center, cells.axes) == (stride, stride / 2, (2, 3))


def test_tokens_that_come_from_no_map_are_refused_by_name(tmp_path: Path) -> None:
    model = fold_model(ir.load(str(export(make("queries"), tmp_path))))
    queries = [v for node in model.graph for v in node.outputs if str(v.name).startswith("/decoder/last/")][-1]
    with pytest.raises(ExportError, match="do not come from the cells of a feature map"):
        as_map(model, str(queries.name), None, INPUT, None)


def test_tokens_as_asked(tmp_path: Path) -> None:
    path = export(make("yolos"), tmp_path)
    name = NECK["yolos"]
    for asked, words in (((ROWS, COLUMNS), ""), ((COLUMNS, ROWS), "come from a map of 4x6 cells")):
        model = fold_model(ir.load(str(path)))
        if words:
            with pytest.raises(ExportError, match=words):
                as_map(model, name, None, INPUT, asked)
        else:
            assert as_map(model, name, None, INPUT, asked) == f"{name}.map"


@pytest.mark.parametrize("queries", [1, 9, 30])
def test_however_many_detection_tokens_there_are(tmp_path: Path, queries: int) -> None:
    torch.manual_seed(0)
    model = fold_model(ir.load(str(export(Yolos(queries).eval(), tmp_path))))
    value = find_value(model.graph, NECK["yolos"])
    assert value is not None
    grid = INPUT.placed(model.graph).tokens[value]
    assert (grid.first, grid.rows, grid.columns) == (1, ROWS, COLUMNS)
    assert value.shape is not None
    assert value.shape[1] == 1 + ROWS * COLUMNS + queries
    assert value.shape[2] == WIDE
