"""Parts of a detector that are run again: what moves, what is held, in float32 and in float64."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from boxcam.export.graphs.fold import fold_model
from boxcam.export.verify.replay import Replay
from tests.export.export_graphs import Net

FEED = {"x": np.array([[0.5, -1.0, 2.0]], np.float32)}


def network() -> ir.Model:
    """f = 2x; the sum of f's two largest squares, and their number, behind it."""
    net = Net()
    f = net.node("Mul", [net.input("x", ("b", 3)), np.float32(2)], name="f")[0]
    largest, places = net.node("TopK", [f, np.array([2])], 2, name="largest")
    picked = net.node("GatherElements", [net.Mul(f, f), places], name="picked", axis=1)[0]
    total = net.node("ReduceSum", [picked, np.array([1])], name="total", keepdims=0)[0]
    size = net.node("Shape", [picked], name="size")[0]
    return fold_model(
        net.model({**dict.fromkeys([f, largest, picked, total], TensorProto.FLOAT), size: TensorProto.INT64})
    )


def test_values_on_the_path_move_and_what_lies_beside_it_is_held() -> None:
    """The places of the largest stay those of the first run, as proposals do."""
    model = network()
    replay = Replay(model, ["f"], ["total"], FEED)
    assert replay({"f": np.array([[1, -2, 4]], np.float32)})["total"] == pytest.approx(17)
    assert replay({"f": np.array([[1, 9, 4]], np.float32)})["total"] == pytest.approx(17), "not the new largest"


def test_a_target_whose_size_is_read_too_moves_all_the_same() -> None:
    replay = Replay(network(), ["f"], ["picked", "size"], FEED)
    found = replay({"f": np.array([[3, -2, 5]], np.float32)})
    assert sorted(found["picked"].ravel()) == [9, 25]
    assert found["size"].tolist() == [1, 2]


def test_float64_is_float64() -> None:
    replay = Replay(network(), ["f"], ["total"], FEED)
    assert replay.small
    found = replay.exactly({"f": np.array([[1 + 1e-12, -2, 4]])})["total"]
    assert found.dtype == np.float64
    assert found[0] == pytest.approx(17 + 2e-12, abs=1e-15)
    assert found[0] != 17


def test_what_is_sorted_keeps_its_order() -> None:
    """The largest two of the first run, whatever they are now; the numbers are those of the elements all the same."""
    replay = Replay(network(), ["f"], ["largest"], FEED)
    assert replay({"f": np.array([[1, -2, 4]], np.float32)})["largest"].tolist() == [[4, 1]]
    assert replay({"f": np.array([[6, 9, 4]], np.float32)})["largest"].tolist() == [[4, 6]]
    assert replay.exactly({"f": np.array([[6.5, 9, 4]])})["largest"].tolist() == [[4, 6.5]]


def test_the_error_function_is_not_rounded() -> None:
    net = Net()
    net.node("Erf", [net.node("Mul", [net.input("x", (1, 3)), np.float32(1)], name="feature")[0]], name="out")
    model = net.model({"out": TensorProto.FLOAT})
    feature = np.array([[0.1, -0.7, 1.3]])
    replay = Replay(model, ["feature"], ["out"], {"x": feature.astype(np.float32)})
    step = 1e-7
    slope = (
        replay.exactly({"feature": feature + step})["out"] - replay.exactly({"feature": feature - step})["out"]
    ) / (2 * step)
    np.testing.assert_allclose(slope, 2 / np.sqrt(np.pi) * np.exp(-(feature**2)), rtol=1e-6)


@pytest.mark.parametrize(("approximate", "expected"), [("none", 0.8413447460685429), ("tanh", 0.8411919906082768)])
def test_gelu_is_float64_too(approximate: str, expected: float) -> None:
    net = Net(opset=20)
    feature = net.node("Mul", [net.input("x", (1, 1)), np.float32(1)], name="feature")[0]
    net.node("Gelu", [feature], name="out", approximate=approximate)
    model = net.model(["feature", "out"])
    found = Replay(model, ["feature"], ["out"], {"x": np.ones((1, 1), np.float32)}).exactly(
        {"feature": np.ones((1, 1))}
    )
    assert found["out"][0, 0] == pytest.approx(expected, rel=1e-15, abs=0)


def test_a_region_without_numbers_is_none_in_float64_either() -> None:
    """As paddle2onnx writes a Resize; onnx's reference implementation up to 1.17 read the first number of it."""
    net = Net(opset=16)
    feature = net.node("Mul", [net.input("x", (1, 1, 2, 2)), np.float32(1)], name="feature")[0]
    empty, sizes = np.zeros(0, np.float32), np.array([1, 1, 4, 4])
    net.node("Resize", [feature, empty, empty, sizes], name="out", mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric")  # fmt: skip
    x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    replay = Replay(net.model(["feature", "out"]), ["feature"], ["out"], {"x": x.astype(np.float32)})
    (resize,) = (node for node in replay._model.graph if node.op_type == "Resize")
    assert [value is None for value in resize.inputs] == [False, True, True, False]
    expected = x.repeat(2, 2).repeat(2, 3)
    assert replay.exactly({"feature": x})["out"].tolist() == expected.tolist()
    assert replay({"feature": x.astype(np.float32)})["out"].tolist() == expected.tolist()
