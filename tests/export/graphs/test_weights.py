"""Tensors of a graph lie in the common file wherever the graph holds them; and it computes what it computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from boxcam.export.graphs.run import run_model
from boxcam.export.graphs.weights import SMALL, Place, WeightsFile, read_graph

_RNG = np.random.default_rng(0)
SIDE = 40
A, B = (_RNG.standard_normal((SIDE, SIDE)).astype(np.float32) for _ in range(2))


def product(name: str, weight: np.ndarray) -> onnx.GraphProto:
    """A branch that holds its weight as a node, as they do when a graph is folded."""
    constant = helper.make_node("Constant", [], [f"{name}.w"], value=numpy_helper.from_array(weight))
    node = helper.make_node("MatMul", ["x", f"{name}.w"], [name])
    return helper.make_graph([constant, node], name, [], [helper.make_tensor_value_info(name, 1, [None, SIDE])])


def branches(by_node: bool) -> ir.Model:
    """x·A·A or x·A·B; the first A is a node or an initializer."""
    nodes = [
        helper.make_node("MatMul", ["image", "w"], ["x"]),
        helper.make_node("If", ["which"], ["y"], then_branch=product("a", A), else_branch=product("b", B)),
    ]
    given = numpy_helper.from_array(A, "w")
    if by_node:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=given))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", SIDE])
    which = helper.make_tensor_value_info("which", TensorProto.BOOL, [])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", SIDE])
    graph = helper.make_graph(nodes, "g", [image, which], [y], [] if by_node else [given])
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize("by_node", [False, True])
def test_constants_of_branches_are_stored_once_too(by_node: bool, tmp_path: Path) -> None:
    model = branches(by_node)
    before = ir.to_proto(model).SerializeToString()
    with WeightsFile(tmp_path / "w.bin") as weights:
        weights.save(model, tmp_path / "one.onnx")
        weights.save(model, tmp_path / "two.onnx")
    assert ir.to_proto(model).SerializeToString() == before
    assert (tmp_path / "w.bin").read_bytes() == A.tobytes() + B.tobytes()
    image = _RNG.standard_normal((3, SIDE)).astype(np.float32)
    for name in ("one", "two"):
        assert (tmp_path / f"{name}.onnx").stat().st_size < 1500
        session = onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        for which, second in ((True, A), (False, B)):
            feeds = {"image": image, "which": np.array(which)}
            (found,) = session.run(None, feeds)
            assert found == pytest.approx(image @ A @ second, rel=1e-4, abs=1e-4)
            assert np.array_equal(run_model(read_graph(tmp_path / f"{name}.onnx"), feeds)["y"], found)


def test_shapes_and_types_may_differ_where_bytes_do_not(tmp_path: Path) -> None:
    with WeightsFile(tmp_path / "w.bin") as weights:
        first = weights.place(A)
        assert weights.place(A.reshape(-1)) == first == Place(0, A.nbytes)
        assert weights.place(A.view(np.int32)) == first
        assert weights.place(A.T) == Place(A.nbytes, A.nbytes)  # its numbers are in another order


def test_only_what_float16_holds_is_taken_from_it(tmp_path: Path) -> None:
    half = A.astype(np.float16)
    special = np.zeros(SMALL, np.float16)
    special[:4] = np.inf, -np.inf, -0.0, 6e-8
    with WeightsFile(tmp_path / "w.bin") as weights:
        places = [weights.place(array) for array in (half, special)]
        for array, place in zip((half, special), places, strict=True):
            assert weights.place(array.astype(np.float32)) == Place(place.offset, place.length, narrow=True)
        assert not weights.place(A).narrow
        negative = half.astype(np.float32)
        negative[0, 0] = np.nextafter(negative[0, 0], np.float32(9))
        assert not weights.place(negative).narrow
        zeros = special.astype(np.float32)
        zeros[2] = 0.0  # equal to -0, and not the same
        assert not weights.place(zeros).narrow


def test_a_file_without_any_is_not_made(tmp_path: Path) -> None:
    identity = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    model = ir.from_proto(helper.make_model(helper.make_graph([identity], "g", values[:1], values[1:])))
    with WeightsFile(tmp_path / "w.bin") as weights:
        weights.save(model, tmp_path / "plain.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["plain.onnx"]
