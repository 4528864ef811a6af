"""What selects, opened: nothing of it is left that takes time."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper

from boxcam.export.passes.open_selection import open_selection
from boxcam.runtime.selection import ASKED

BOXES, CLASSES = 6, 3


def best_class_only(swapped: bool = False, other: str = "scores") -> ir.Model:
    """A suppression that each box enters with its best class only, as boxcam writes it for a YOLO.

    Args:
        swapped: whether the best class is the second input of the comparison or the first.
        other: whose best class it is.
    """
    compared = ["best", "classes"] if swapped else ["classes", "best"]
    nodes = [
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Neg", ["scores"], ["lower"]),
        helper.make_node("ArgMax", [other], ["best"], axis=1, keepdims=1),
        helper.make_node("Equal", compared, ["is best"]),
        helper.make_node("Where", ["is best", "scores", "none"], ["entering"]),
        helper.make_node("NonMaxSuppression", ["boxes", "entering", "most", "iou", "threshold"], ["kept"]),
        helper.make_node("Identity", ["kept"], ["chosen"]),
    ]
    constants = {
        "classes": np.arange(CLASSES, dtype=np.int64).reshape(1, CLASSES, 1),
        "none": np.array(-1, np.float32),
        "most": np.array([100], np.int64),
        "iou": np.array([0.5], np.float32),
        "threshold": np.array([0.4], np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "selection",
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES, BOXES]),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, BOXES, 4]),
        ],
        [helper.make_tensor_value_info("chosen", TensorProto.INT64, [None, 3])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def run(model: ir.Model, logits: np.ndarray) -> list[list[int]]:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    boxes = np.tile(np.float32([0, 0, 9, 9]), (1, BOXES, 1))  # all of them in one place
    feeds = {"logits": logits, "boxes": boxes, ASKED: np.array([99], np.int64)}
    (found,) = session.run(None, {one.name: feeds[one.name] for one in session.get_inputs()})
    return [row.tolist() for row in found]


@pytest.mark.parametrize("swapped", [False, True])
def test_neither_suppression_nor_the_best_class_is_looked_for(swapped: bool) -> None:
    model = best_class_only(swapped)
    logits = np.full((1, CLASSES, BOXES), -9, np.float32)
    logits[0, 1] = 9
    assert len(run(model, logits)) == 1
    open_selection(model, ["logits"])
    assert {node.op_type for node in model.graph} == {"Sigmoid", "Greater", "NonZero", "Transpose", "Identity"}
    assert run(model, logits) == [[0, 1, k] for k in range(BOXES)]
    logits[0, 1, 2] = -0.5  # below the threshold, which stays
    assert run(model, logits) == [[0, 1, k] for k in range(BOXES) if k != 2]


def test_the_best_class_of_other_scores_stays() -> None:
    model = best_class_only(other="lower")
    open_selection(model, ["logits"])
    assert "ArgMax" in {node.op_type for node in model.graph}
    logits = np.random.default_rng(0).normal(size=(1, CLASSES, BOXES)).astype(np.float32) * 4
    lowest = logits[0].argmin(axis=0)
    assert run(model, logits) == sorted([0, int(c), k] for k, c in enumerate(lowest) if logits[0, c, k] > -0.4054)
