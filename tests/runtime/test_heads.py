"""The rest of a model, run on changed rows: a matrix, and what is said of each proposal, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxcam.bundle import Head, Layer, Tensor
from boxcam.errors import BundleError, RunError
from boxcam.export.graphs.run import serialized
from boxcam.runtime import heads
from boxcam.runtime.heads import HeadGraph
from boxcam.runtime.sessions import Device
from boxcam.runtime.tensors import Tensors
from tests.export.export_graphs import Net

MATRIX: Any = np.random.default_rng(0).standard_normal((2 * 9, 3)).astype(np.float32)
ROWS: Any = np.random.default_rng(1).random((4, 2, 3, 3), np.float32)
OTHERS: Any = np.random.default_rng(2).random((4, 3), np.float32)
LAYER = Layer("roi", "roi", (Tensor("pooled", 2, 3, 3, None, rois="rois"),), ())


def graph(folder: Path, batch: bool, **fields: Any) -> HeadGraph:
    net = Net()
    flat = net.Flatten(net.input("pooled", ("n", 2, 3, 3)))
    net.node("Mul", [net.MatMul(flat, MATRIX), net.input("others", ("n", 3))], name="logits")
    (folder / "head.roi.onnx").write_bytes(serialized(net.model(["logits"])))
    head = {"end": "logits", "file": "head.roi.onnx", "context": ("others",), "scope": "map", "rows": ("others",)}
    return HeadGraph(folder, LAYER, Head(batch=batch, **{**head, **fields}), Device(threads=1))


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("most", [1, 2, 128])
def test_a_row_is_changed_and_the_others_are_not(
    batch: bool, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "_MOST_AT_ONCE", most)
    running = graph(tmp_path, batch)
    tensors = Tensors({"pooled": ROWS, "others": OTHERS})
    changes = [ROWS[2] * 0, ROWS[2], ROWS[2] * 2, -ROWS[2], ROWS[0]]
    found = list(running.run(tensors, 2, iter([{"pooled": one} for one in changes])))
    assert len(found) == 5
    for one, output in zip(changes, found, strict=True):
        want = ROWS.reshape(4, -1) @ MATRIX * OTHERS
        want[2] = one.reshape(-1) @ MATRIX * OTHERS[2]
        assert output == pytest.approx(want[2:3] if batch else want, abs=1e-5)
    assert tensors["pooled"] is ROWS
    assert list(running.run(tensors, 2, iter([]))) == []


def test_few_are_run_together_where_they_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = HeadGraph._several
    monkeypatch.setattr(heads, "_MEMORY", 2 * ROWS[0].nbytes)
    monkeypatch.setattr(HeadGraph, "_several", lambda *given: (sizes.append(len(given[-1])), real(*given))[1])
    tensors = Tensors({"pooled": ROWS, "others": OTHERS})
    assert len(list(graph(tmp_path, True).run(tensors, 0, iter([{"pooled": one} for one in [*ROWS, ROWS[0]]])))) == 5
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize(("beside", "sizes"), [(3, [2, 2, 1]), (36, [1, 1, 1, 1, 1])])
def test_few_are_run_together_where_what_else_is_read_is_large(
    beside: int, sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read once for each of them."""
    net, found = Net(), []
    product = net.MatMul(net.Flatten(net.input("pooled", ("n", 2, 3, 3))), MATRIX)
    net.node(
        "Add", [product, net.ReduceMean(net.input("others", (1, beside)), np.array([1]), keepdims=1)], name="logits"
    )
    (tmp_path / "head.roi.onnx").write_bytes(serialized(net.model(["logits"])))
    running = HeadGraph(tmp_path, LAYER, Head("logits", "head.roi.onnx", ("others",), True, "map"), Device(threads=1))
    real = HeadGraph._several
    monkeypatch.setattr(heads, "_MEMORY", 2 * ROWS[0].nbytes)
    monkeypatch.setattr(HeadGraph, "_several", lambda *given: (found.append(len(given[-1])), real(*given))[1])
    tensors = Tensors({"pooled": ROWS, "others": np.ones((1, beside), np.float32)})
    assert len(list(running.run(tensors, 0, iter([{"pooled": one} for one in [*ROWS, ROWS[0]]])))) == 5
    assert found == sizes


def test_few_are_run_together_where_what_comes_out_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is known of the first run, and keeps the others small."""
    found: list[int] = []
    real = HeadGraph._several
    monkeypatch.setattr(heads, "_MEMORY", 2 * ROWS[0].nbytes)
    monkeypatch.setattr(HeadGraph, "_several", lambda *given: (found.append(len(given[-1])), real(*given))[1])
    wide = Net()
    row = wide.Flatten(wide.input("pooled", ("n", 2, 3, 3)))
    wide.node("Concat", [row] * 4, name="logits", axis=1)
    (tmp_path / "head.roi.onnx").write_bytes(serialized(wide.model(["logits"])))
    running = HeadGraph(tmp_path, LAYER, Head("logits", "head.roi.onnx", (), True, "map"), Device(threads=1))
    list(running.run(Tensors({"pooled": ROWS}), 0, iter([{"pooled": one} for one in [*ROWS, ROWS[0]]])))
    assert found == [2, 1, 1, 1]


def test_proposals_without_a_row_of_their_own_are_refused(tmp_path: Path) -> None:
    tensors = Tensors({"pooled": ROWS, "others": OTHERS[:3]})
    with pytest.raises(
        RunError, match=r"others is \[3, 3\], and .*head\.roi\.onnx reads a row of it for each of 4 prop"
    ):
        list(graph(tmp_path, True).run(tensors, 3, iter([{"pooled": ROWS[3]}])))


def test_a_graph_that_gives_another_number_of_rows_is_refused(tmp_path: Path) -> None:
    tensors = Tensors({"pooled": ROWS, "others": OTHERS})
    running = graph(tmp_path, True, rows=())  # all four of the others, times the one
    with pytest.raises(RunError, match=r"head\.roi\.onnx gives \[4, 3\] for 1 feature map\."):
        list(running.run(tensors, 3, iter([{"pooled": ROWS[3]}])))


@pytest.mark.parametrize("fields", [{"end": "scores"}, {"context": ()}])
def test_a_graph_of_something_else_is_refused(tmp_path: Path, fields: Any) -> None:
    with pytest.raises(BundleError, match=r"is not the graph from layer 'roi' to \w+ that the manifest lists"):
        graph(tmp_path, True, **fields)
