"""One operator in both precisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from boxcam.export.graphs.run import run_model
from boxcam.export.verify import double
from tests.export.export_graphs import Net


def both(kind: str, inputs: list[np.ndarray], opset: int = 20, **attributes: Any) -> tuple[np.ndarray, np.ndarray]:
    """An operator's output, in float64 by what is tested and in float32 by ONNX Runtime."""
    net = Net(opset)
    x = net.input("x", inputs[0].shape)
    net.node(kind, [x, *inputs[1:]], name="y", **attributes)
    model = net.model(["y"])
    single = run_model(model, {"x": inputs[0].astype(np.float32)})["y"]
    wide = Net(opset)
    given = wide.input("x", inputs[0].shape, TensorProto.DOUBLE)
    rest = [wide.constant(one, keep=True) for one in inputs[1:]]
    wide.node(kind, [given, *rest], name="y", **attributes)
    proto = ir.to_proto(wide.model(["y"]))
    exact = ReferenceEvaluator(proto, new_ops=list(double.OPERATORS)).run(None, {"x": inputs[0]})[0]
    assert exact.dtype == np.float64
    return exact, single
