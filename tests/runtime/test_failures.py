"""What ONNX Runtime says of a model that it refuses: the reason, without where in its source it stopped."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from boxcam.runtime.failures import found_nothing, reason


def refused(**fields: object) -> Exception:
    """What ONNX Runtime raises of a model with something that it does not know."""
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [given], [made])
    model = helper.make_model(graph, **{"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 10, **fields})
    with pytest.raises(Exception, match="ONNXRuntimeError") as caught:  # its errors share no public root
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return caught.value


def test_a_version_that_is_not_known_is_named_without_source_files() -> None:
    error = refused(ir_version=99)
    assert ".cc:" in str(error)  # otherwise there is nothing to leave out
    said = reason(error)
    assert "Unsupported model IR version: 99" in said
    assert ".cc" not in said
    assert "::" not in said


def test_an_opset_that_is_not_known_is_named_without_source_files() -> None:
    said = reason(refused(opset_imports=[helper.make_opsetid("", 999)]))
    assert "999" in said
    assert ".cc" not in said


@pytest.mark.parametrize(
    "said",
    [
        "a sentence (with brackets) Of one's own.",
        "failed at /build/onnxruntime/core.cc and went on",
        "Load model from /data/m.onnx failed:Type Error: Type (X) of input (Y) is wrong",
    ],
)
def test_what_names_no_source_file_stays_as_it_is(said: str) -> None:
    assert reason(RuntimeError(said)) == said.rstrip(".")


def test_an_empty_tensor_means_that_the_model_found_nothing() -> None:
    said = "[ONNXRuntimeError] Non-zero status code returned while running Resize node. Name:'r' Input shape:{1,0,2}"
    assert found_nothing(RuntimeError(said))
    assert "its own Resize r cannot process an empty tensor [1, 0, 2]" in reason(RuntimeError(said))
    assert not found_nothing(RuntimeError(said.replace(",0,", f",{np.int64(3)},")))
