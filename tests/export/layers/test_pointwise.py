"""Heads that read their maps cell by cell: the layer that is proposed and exported is an earlier one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from torch import nn

import boxcam
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
