"""The benchmark's rows of layers close to the image, on a detector of a few channels; no time is judged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import report
from benchmarks.cases import onnx_graph
from benchmarks.deployed import CELLS_METHOD, Graph
from benchmarks.early import IMAGE, STAGE, EarlyLayer, last, measured
from benchmarks.measure import Settings
from tests.benchmarks.tiny import Tiny


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(1, 3, 24, 32)


def test_a_stage_and_the_image_are_explained_by_the_boxes_that_are_given(picture: torch.Tensor) -> None:
    torch.manual_seed(3)
    module = Tiny().eval()
    graph = onnx_graph(module, picture, ["logits0", "logits1", "neck0", "neck1"])
    origin = np.array([[0, 0, 1, 5, 7], [1, 0, 3, 2, 2]])
    for layer, feature in ((STAGE, last(graph, "/stem/")), (IMAGE, "image")):
        deployed = Graph(graph, ["logits0", "logits1"], [feature], picture.numpy(), 2, 1, origin)
        maps = deployed.explain(2, "onnx", CELLS_METHOD)
        assert len(maps) == 2
        assert all(np.abs(map_).max() > 0 for map_ in maps)
        found = measured("Tiny", layer, deployed, 1)
        assert (found.title, found.layer, found.boxes) == ("Tiny", layer, 2)
        assert found.floor > 0
    given = picture.clone().requires_grad_()
    for n, (level, *at) in enumerate(origin.tolist()):
        (gradient,) = torch.autograd.grad(module(given)[level][tuple(at)], given)
        expected = (gradient * given)[0].sum(0).detach().numpy()
        (patch,) = deployed._patches(deployed.forward(), origin[n : n + 1])
        top, left = (64 + int(start) for start in patch.corner)
        around = np.zeros((24 + 128, 32 + 128), np.float32)
        around[top : top + maps[n].shape[0], left : left + maps[n].shape[1]] = maps[n]
        full = around[64:-64, 64:-64]
        np.testing.assert_allclose(full, expected, atol=1e-5 * np.abs(expected).max())


def test_the_table_says_what_was_aimed_at_and_whether_it_was_met() -> None:
    rows = [EarlyLayer("A", STAGE, 10, 0.2, 0.18), EarlyLayer("A", IMAGE, 10, 0.2, 0.9)]
    results = report.Results([], [], Settings(), 2, early=rows)
    lines = report.early(results).splitlines()
    assert lines[2].split("|")[4:9] == ["        200 ms ", "           180 ms ", "            0.9 ", " <= 1 ", " yes "]
    assert lines[3].split("|")[6:9] == ["            4.5 ", " <= 4 ", "  no "]
    assert report.early(results) in report.page(results)
    assert report.early(results) in report.text(results)
