"""Heads that read their maps cell by cell: the layer that is proposed and exported is an earlier one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
import torch
from click.testing import Result
from torch import nn

import boxcam
from boxcam.export.layers.marks import Flows
from boxcam.export.layers.pointwise import earlier, is_cell_by_cell
from tests.export.sources.onnx import deployed
from tests.export.sources.onnx.deployed import CASES

Cli = Callable[..., Result]


class Residual(nn.Module):
    """A convolution of 3x3 cells beside a way that leads around it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(12, 12, 3, 1, 1), nn.ReLU())

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return given + self.inner(given)


class Pointwise(deployed.Body):
    """Heads of 1x1 convolutions behind a block of 3x3 ones; ``around`` makes it a residual one."""

    around = False

    def __init__(self, classes: int = deployed.CLASSES) -> None:
        super().__init__(classes)
        self.ends = nn.ModuleList(
            Residual() if self.around else nn.Sequential(nn.Conv2d(12, 12, 3, 1, 1), nn.ReLU()) for _ in range(2)
        )
        self.score, self.box = nn.Conv2d(12, classes, 1), nn.Conv2d(12, 4, 1)

    def neck(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [end(given) for end, given in zip(self.ends, super().neck(image), strict=True)]


@pytest.mark.parametrize("around", [False, True])
def test_heads_of_single_cells(around: bool, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pointwise, "around", around)
    monkeypatch.setattr(deployed, "Body", Pointwise)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deployed.export(CASES["torchvision"], tmp_path / "model.onnx")
    said = cli("inspect", tmp_path / "model.onnx")
    assert said.exit_code == 0, said.stderr
    assert "(What the heads read themselves would show a single active cell per box" in said.stdout
    found = json.loads(cli("inspect", tmp_path / "model.onnx", "--json").stdout)
    roles = {layer["name"]: (layer["role"], layer["receptive_field"]) for layer in found["layers"]}
    name, tensors = found["default"]
    assert (name, tensors) == ("neck", ["/body/fine/fine.1/Relu_output_0", "/body/coarse/coarse.1/Relu_output_0"])
    assert roles[tensors[1]] == ("before the heads' last window", 3)
    late = [field for role, field in roles.values() if role.startswith("what the heads read, cell by cell")]
    assert late == [1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error", boxcam.errors.BoxcamWarning)  # no layer of a single active cell
        manifest = boxcam.export(
            tmp_path / "model.onnx", output=tmp_path / "b", preprocess=["imagenet", "resize=stretch"], engine="onnx"
        )
    assert [tensor.name for tensor in manifest.layers[0].tensors] == tensors


IN_A_ROW = """
<ir_version: 8, opset_import: ["": 18]>
g (float[1, 3, 8, 8] image) => (float[1, 2, 8, 8] coarse, float[1, 2, 8, 8] fine) {
    first = Conv <pads = [1, 1, 1, 1]> (image, w)
    second = Conv <pads = [1, 1, 1, 1]> (first, v)
    third = Conv <pads = [1, 1, 1, 1]> (second, u)
    coarse = Conv (second, t)
    fine = Conv (third, t)
}
"""
WEIGHTS = {"w": (4, 3, 3, 3), "v": (4, 4, 3, 3), "u": (4, 4, 3, 3), "h": (2, 2, 3, 3), "t": (2, 4, 1, 1)}
MAPS = {"first", "second", "third"}


def read(text: str, height: int, width: int) -> tuple[Flows, dict[str, ir.Value]]:
    """A graph, the weights that it lacks, and its values by name: maps of four channels, of so many cells."""
    model = onnx.parser.parse_model(text.replace("8, 8", f"{height}, {width}"))
    for name, shape in WEIGHTS.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name))
    graph = ir.from_proto(model).graph
    values = {str(value.name): value for node in graph for value in node.outputs}
    for name in MAPS & set(values):
        values[name].shape, values[name].dtype = ir.Shape([1, 4, height, width]), ir.DataType.FLOAT
    return Flows(graph), values


@pytest.mark.parametrize(("height", "width"), [(8, 8), (1, 2)])
def test_a_map_that_another_head_reads_is_that_heads_own(height: int, width: int) -> None:
    """Of two heads in a row the later one's earlier map would be what the first one reads, and is said of that."""
    flows, values = read(IN_A_ROW, height, width)
    scores = {values[name]: np.ones((1, 2, 1, 1), np.uint8) for name in ("coarse", "fine")}
    layouts = {values[name]: "NCHW" for name in MAPS}
    second, third = values["second"], values["third"]

    def found(*heads: ir.Value) -> dict[str | None, str | None]:
        return {of.name: before.name for of, before in earlier(flows, heads, scores, layouts).items()}  # type: ignore[arg-type]

    assert found(third) == {"third": "second"}
    assert found(second, third) == {"second": "first"}
    assert is_cell_by_cell(flows, third, (second, third), scores, layouts)  # type: ignore[arg-type]
    assert not is_cell_by_cell(flows, values["first"], (values["first"],), scores, layouts)  # type: ignore[arg-type]
    # Without the other head's map, what this one reads reaches the later scores by a window, too.
    assert found(second) == {}


GATED = """
<ir_version: 8, opset_import: ["": 18]>
g (float[1, 3, 8, 8] image) => (float[1, 2, 8, 8] fine) {
    first = Conv <pads = [1, 1, 1, 1]> (image, w)
    mean = GlobalAveragePool (first)
    gate = Sigmoid (mean)
    second = Mul (first, gate)
    fine = Conv (second, t)
}
"""
HALVES = """
<ir_version: 8, opset_import: ["": 18]>
g (float[1, 3, 8, 8] image) => (float[1, 2, 8, 8] fine) {
    first = Conv <pads = [1, 1, 1, 1]> (image, w)
    left, right = Split <axis = 1, num_outputs = 2> (first)
    around = Conv <pads = [1, 1, 1, 1]> (left, h)
    second = Concat <axis = 1> (around, right)
    fine = Conv (second, t)
}
"""


@pytest.mark.parametrize(("text", "expected"), [(GATED, {}), (HALVES, {"second": "first"})])
def test_a_mean_is_no_window_and_halves_meet_again(text: str, expected: dict[str, str]) -> None:
    flows, values = read(text, 8, 8)
    for name, channels, height in (("left", 2, 8), ("right", 2, 8), ("around", 2, 8), ("mean", 4, 1), ("gate", 4, 1)):
        if name in values:
            values[name].shape, values[name].dtype = ir.Shape([1, channels, height, height]), ir.DataType.FLOAT
    scores = {values["fine"]: np.ones((1, 2, 1, 1), np.uint8)}
    layouts = {values[name]: "NCHW" for name in ("first", "second")}
    found = earlier(flows, [values["second"]], scores, layouts)  # type: ignore[arg-type]
    assert {of.name: before.name for of, before in found.items()} == expected
