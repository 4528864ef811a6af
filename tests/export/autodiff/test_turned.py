"""Weights that a gradient graph turns itself are those that were meant, in double precision and in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.export.autodiff import turned
from boxcam.export.autodiff.vjp import finished
from boxcam.export.graphs.ops import Operand, Ops
from boxcam.export.graphs.query import Array
from boxcam.export.graphs.run import run_model
from tests.export.autodiff.cases import CASES
from tests.export.autodiff.differences import LIMIT, Case, errors, runtime_error

LARGE = [case for case in CASES if case.operator in ("Conv", "ConvTranspose", "MatMul", "Gemm")]


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_rules_with_weights_that_count_as_large(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turned, "_WORTH", 0)
    assert errors(case) < LIMIT
    assert runtime_error(case) < 1e-4


def computed(write: Callable[[Ops], Operand]) -> tuple[Array, list[str]]:
    """What a graph computes that does nothing else, and its operators."""
    index = ir.Value(name="index", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([]))
    graph = ir.Graph([index], [], nodes=[], opset_imports={"": 18}, name="gradient")
    op = Ops(graph, "gradient")
    made, again = op.value(write(op)), op.value(write(op))
    assert made is again  # however often it is asked for
    result = op.Gather(op.Unsqueeze(made, [0]), index, axis=0)
    result.name, result.dtype = "result", ir.DataType.FLOAT
    graph.outputs.append(result)
    model = finished(graph)
    kinds = [node.op_type for node in model.graph if node.op_type not in ("Unsqueeze", "Gather")]
    return run_model(model, {"index": np.array(0)})["result"], kinds


def random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


KERNELS = {
    "plain": ((48, 16, 3, 3), 1, ["Transpose", "Slice"]),
    "uneven": ((48, 16, 2, 5), 1, ["Transpose", "Slice"]),
    "pointwise": ((64, 32, 1, 1), 1, ["Transpose"]),
    "a row": ((32, 32, 1, 7), 1, ["Transpose", "Slice"]),
    "one axis": ((32, 32, 5), 1, ["Transpose", "Slice"]),
    "three axes": ((16, 8, 3, 2, 3), 1, ["Transpose", "Slice"]),
    "groups": ((48, 16, 3, 3), 4, ["Reshape", "Transpose", "Reshape", "Slice"]),
    "depthwise": ((128, 1, 3, 3), 128, ["Slice"]),
    "depthwise, twice": ((128, 1, 3, 3), 64, ["Reshape", "Transpose", "Reshape", "Slice"]),
    "small": ((4, 2, 3, 3), 2, []),
}


@pytest.mark.parametrize("kind", KERNELS)
def test_the_kernel_of_the_way_back(kind: str) -> None:
    shape, group, operators = KERNELS[kind]
    weight = random(*shape)
    found, written = computed(lambda op: turned.backward_kernel(op, weight, group))
    out, each = shape[0] // group, shape[1]
    expected = np.zeros((group * each, out, *shape[2:]), np.float32)
    for g in range(group):
        for o in range(out):
            for i in range(each):
                for place in np.ndindex(*shape[2:]):
                    opposite = tuple(k - 1 - p for k, p in zip(shape[2:], place, strict=True))
                    expected[(g * each + i, o, *place)] = weight[(g * out + o, i, *opposite)]
    assert np.array_equal(found, expected)
    assert written == operators


@pytest.mark.parametrize("shape", [(48, 16, 3, 3), (4, 2, 3, 3), (64, 32, 1, 1)])
def test_a_kernel_as_a_matrix(shape: tuple[int, ...]) -> None:
    weight = random(*shape)
    found, written = computed(lambda op: turned.kernel_matrix(op, weight))
    out, channels, height, width = shape
    rows = [weight[o, :, y, x] for o in range(out) for y in range(height) for x in range(width)]
    assert np.array_equal(found, np.stack(rows))
    assert found.shape == (out * height * width, channels)
    assert bool(written) == (weight.nbytes >= 4096)


@pytest.mark.parametrize("shape", [(64, 48), (3, 5)])
def test_a_matrix_transposed(shape: tuple[int, int]) -> None:
    matrix = random(*shape)
    found, written = computed(lambda op: turned.transposed(op, matrix))
    assert all(found[b, a] == matrix[a, b] for a in range(shape[0]) for b in range(shape[1]))
    assert written == (["Transpose"] if matrix.nbytes >= 4096 else [])
