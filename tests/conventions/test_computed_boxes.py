"""Boxes that boxcam or the user's function computes: no option says their format, and none is advised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from boxcam.bundle import Finding
from tests.conventions.belief import against
from tests.conventions.files import FLOAT, Levels, write
from tests.conventions.further import FURTHER
from tests.messages import check_message


def one_sided(path: Path) -> Path:
    """A SCRFD whose boxes begin at their cells, and end far away: they would lie around these as centre and size."""
    layout = FURTHER["scrfd"]
    proto = onnx.load(str(write(layout, path, 1)))
    for name in [output.name for output in proto.graph.output if "bbox" in output.name]:
        (node,) = (node for node in proto.graph.node if name in node.output)
        node.output[0] = f"{name}.sides"
        far = onnx.numpy_helper.from_array(np.array([0, 0, 9, 9], np.float32), f"{name}.far")
        proto.graph.initializer.append(far)
        none = onnx.numpy_helper.from_array(np.array([0, 0, 0, 0], np.float32), f"{name}.none")
        proto.graph.initializer.append(none)
        proto.graph.node.append(onnx.helper.make_node("Mul", [f"{name}.sides", f"{name}.none"], [f"{name}.zero"]))
        proto.graph.node.append(onnx.helper.make_node("Add", [f"{name}.zero", f"{name}.far"], [name]))
    onnx.save(proto, str(path))
    return path


def test_a_published_decoding_is_doubted_and_no_other_format_advised(tmp_path: Path) -> None:
    found = against(one_sided(tmp_path / "m.onnx"))["place"]
    assert isinstance(found, Finding)
    assert found.verdict == "doubtful"
    assert "Compute the boxes with decode=" in found.sentence
    assert "box_format=" not in found.sentence
    check_message(found.sentence)


def raw(net: Levels) -> dict[str, int]:
    net.node("Transpose", [net.corners()], perm=[0, 2, 1], name="places")
    net.node("Transpose", [net.classes_of_cells()], perm=[0, 2, 1], name="chances")
    return {"places": FLOAT, "chances": FLOAT}


@pytest.mark.parametrize("right", [True, False])
def test_a_function_that_returns_another_format_is_refused_as_such(right: bool, tmp_path: Path) -> None:
    """It returns corners; here centre and size."""
    net = Levels(3)
    onnx.save(net.proto(raw(net)), str(tmp_path / "m.onnx"))

    def decode(op: Any, outputs: Any) -> Any:
        corners = outputs["places"]
        low, high = op.Slice(corners, [0], [2], [2]), op.Slice(corners, [2], [4], [2])
        centre = op.Mul(op.Add(low, high), np.float32(0.5))
        boxes = corners if right else op.Concat(centre, op.Sub(high, low), axis=2)
        return boxes, outputs["chances"]

    found = against(tmp_path / "m.onnx", decode=decode)
    if right:
        assert found == {}
        return
    assert set(found) & {"place", "boxes"}
    for one in found.values():
        assert isinstance(one, Finding)
        assert "Correct the function of decode=" in one.sentence
        assert "box_format=" not in one.sentence
