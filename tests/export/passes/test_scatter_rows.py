"""Rows that are written element by element become a ScatterND, and only those."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.run import run_model
from boxcam.export.passes.scatter_rows import write_whole_rows


def model(axis: int = 0, columns: int = 3, numbers: tuple[int, int] = (2, 1), reduction: str = "none") -> ir.Model:
    """Two rows of updates [2, columns] put into data [4, 3], at computed places."""
    kinds = {"data": ([4, 3], ir.DataType.FLOAT), "at": (list(numbers), ir.DataType.INT64)}
    kinds["updates"] = ([2, columns], ir.DataType.FLOAT)
    inputs = [ir.Value(name=n, shape=ir.Shape(s), type=ir.TensorType(t)) for n, (s, t) in kinds.items()]
    graph = ir.Graph(inputs, [], nodes=[], opset_imports={"": 18}, name="rows")
    op = Ops(graph, "test")
    data, at, updates = inputs
    indices = op.Expand(at, np.array([2, columns]))
    out = op.ScatterElements(data, indices, updates, axis=axis, reduction=reduction)
    out.name, out.shape, out.type = "out", ir.Shape([4, 3]), ir.TensorType(ir.DataType.FLOAT)
    graph.outputs.append(out)
    return ir.Model(graph, ir_version=10)


def kinds(found: ir.Model) -> list[str]:
    return [node.op_type for node in found.graph if node.op_type.startswith("Scatter")]


def test_whole_rows_are_the_same_rows() -> None:
    feeds = {
        "data": np.arange(12, dtype=np.float32).reshape(4, 3),
        "at": np.array([[-1], [1]]),
        "updates": np.array([[20, 21, 22], [30, 31, 32]], np.float32),
    }
    rewritten = model()
    write_whole_rows(rewritten)
    assert kinds(rewritten) == ["ScatterND"]
    expected = [[0, 1, 2], [30, 31, 32], [6, 7, 8], [20, 21, 22]]
    assert run_model(model(), feeds)["out"].tolist() == expected
    assert run_model(rewritten, feeds)["out"].tolist() == expected


@pytest.mark.parametrize(
    "options", [{"axis": 1}, {"columns": 2}, {"numbers": (1, 3)}, {"reduction": "add"}], ids=lambda o: next(iter(o))
)
def test_other_elements_stay(options: dict[str, object]) -> None:
    untouched = model(**options)  # type: ignore[arg-type]
    write_whole_rows(untouched)
    assert kinds(untouched) == ["ScatterElements"]
