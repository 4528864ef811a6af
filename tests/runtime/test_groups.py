"""What an ONNX gradient may give: each way to be wrong is told, and what lies at the edge of being right is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from boxcam.errors import EngineError
from boxcam.runtime.engines import Group, OnnxEngine
from boxcam.runtime.sessions import Device
from boxcam.runtime.tensors import Tensors

FEATURES = [(1, 2, 9, 9), (5, 2, 7, 7)]


def group(**others: Any) -> Group:
    """Of three boxes of four, in either tensor; the fourth entry is filler."""
    right = Group(
        gradients=np.zeros((4, 2, 3, 3), np.float32),
        places=np.array([[0, 0, -1, 8], [1, 4, 0, 0], [1, 0, 0, 0], [9, -9, 0, 0]]),
        boxes=np.array([0, 3, 1, -1]),
        uniform=None,
    )
    return replace(right, **others)


def places(row: int, *values: int) -> Any:
    found = group().places.copy()
    found[row] = values
    return found


UNIFORM = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"uniform": UNIFORM},
        {"places": group().places.astype(np.int32), "boxes": group().boxes.astype(np.int32)},
        {"gradients": np.zeros((4, 2, 0, 0), np.float32), "uniform": UNIFORM},
        {"boxes": np.array([-1] * 4), "places": np.full((4, 4), 99)},
    ],
)
def test_what_is_right(others: dict[str, Any]) -> None:
    assert group(**others).problem(FEATURES, 4) == ""


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"boxes": np.zeros((4, 1), int)}, "its outputs are [[4, 2, 3, 3], [4, 4], [4, 1]]"),
        ({"boxes": np.zeros(3, int)}, "its outputs are [[4, 2, 3, 3], [4, 4], [3]]"),
        ({"places": np.zeros((4, 3), int)}, "its outputs are [[4, 2, 3, 3], [4, 3], [4]]"),
        ({"gradients": np.zeros((4, 2, 3), np.float32)}, "its outputs are [[4, 2, 3], [4, 4], [4]]"),
        ({"gradients": np.zeros((3, 2, 3, 3), np.float32)}, "its outputs are [[3, 2, 3, 3], [4, 4], [4]]"),
        ({"gradients": np.zeros((4, 2, 3, 3))}, "its outputs are ['float64', 'int64', 'int64']"),
        ({"places": np.zeros((4, 4))}, "its outputs are ['float32', 'float64', 'int64']"),
        ({"boxes": np.zeros(4)}, "its outputs are ['float32', 'int64', 'float64']"),
        ({"uniform": UNIFORM[:3]}, "its uniform part is float32 [3, 2], its patches are [4, 2, 3, 3]"),
        ({"uniform": UNIFORM[:, :1]}, "its uniform part is float32 [4, 1], its patches are [4, 2, 3, 3]"),
        ({"uniform": UNIFORM.astype(np.float64)}, "its uniform part is float64 [4, 2], its patches are [4, 2, 3, 3]"),
        ({"boxes": np.array([0, 4, 1, -1])}, "it names a box or a tensor that is not there"),
        ({"places": places(0, 2, 0, 0, 0)}, "it names a box or a tensor that is not there"),
        ({"places": places(0, -1, 0, 0, 0)}, "it names a box or a tensor that is not there"),
        ({"places": places(0, 0, 1, 0, 0)}, "it names a row that is not there, or has other channels than its tensor"),
        ({"places": places(1, 1, 5, 0, 0)}, "it names a row that is not there, or has other channels than its tensor"),
        ({"places": places(1, 1, -1, 0, 0)}, "it names a row that is not there, or has other channels than its tensor"),
        (
            {"gradients": np.zeros((4, 3, 3, 3), np.float32)},
            "it names a row that is not there, or has other channels than its tensor",
        ),
    ],
)
def test_what_is_wrong(others: dict[str, Any], said: str) -> None:
    assert group(**others).problem(FEATURES, 4) == said


def test_one_tensor_of_other_channels_is_enough() -> None:
    assert group().problem([FEATURES[0], (5, 3, 7, 7)], 4).endswith("other channels than its tensor")
    assert group().problem([(1, 3, 9, 9), FEATURES[1]], 4).endswith("other channels than its tensor")


def engine(*groups: Group) -> OnnxEngine:
    """A gradient graph that gives the same whatever it is asked."""
    nodes, outputs = [helper.make_node("Identity", ["origin"], ["same"])], []
    for number, one in enumerate(groups):
        parts = {"patches": one.gradients, "place": one.places, "box": one.boxes, "uniform": one.uniform}
        for name, array in parts.items():
            if array is not None:
                output = f"{name}.{number}"
                nodes.append(helper.make_node("Constant", [], [output], value=numpy_helper.from_array(array)))
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                outputs.append(helper.make_tensor_value_info(output, kind, array.shape))
    inputs = [helper.make_tensor_value_info("origin", TensorProto.INT64, ["K", 2])]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxEngine(made.SerializeToString(), Device(threads=1))


TENSORS = Tensors({"a": np.zeros(FEATURES[0], np.float32), "b": np.zeros(FEATURES[1], np.float32)})


def test_patches_of_all_groups_go_to_their_boxes_in_the_order_of_tensors() -> None:
    late = group(
        gradients=np.full((3, 2, 1, 1), 5, np.float32),
        places=np.array([[1, 2, 0, 0], [0, 0, 4, 4], [1, 1, 3, 3]]),
        boxes=np.array([0, 1, 3]),
        uniform=np.arange(6, dtype=np.float32).reshape(3, 2),
    )
    found = engine(group(), late).patches(TENSORS, ["a", "b"], [], np.zeros((4, 2), np.int64))
    places = [[(patch.tensor, patch.row, patch.corner) for patch in of] for of in found]
    assert places == [
        [(0, 0, (-1, 8)), (1, 2, (0, 0))],
        [(0, 0, (4, 4)), (1, 0, (0, 0))],
        [],
        [(1, 4, (0, 0)), (1, 1, (3, 3))],
    ]
    assert [patch.uniform is None for of in found for patch in of] == [True, False, False, True, True, False]
    uniform = found[1][0].uniform
    assert uniform is not None
    assert uniform.tolist() == [2, 3]
    assert (found[1][0].gradient == 5).all()


def test_for_no_box_nothing_runs_and_what_is_wrong_is_an_error() -> None:
    wrong = engine(group(boxes=np.array([0, 4, 1, -1])))
    assert wrong.patches(TENSORS, ["a", "b"], [], np.zeros((0, 2), np.int64)) == []
    with pytest.raises(
        EngineError, match=r"is broken: it names a box or a tensor that is not there\. Export the model"
    ):
        wrong.patches(TENSORS, ["a", "b"], [], np.zeros((4, 2), np.int64))
