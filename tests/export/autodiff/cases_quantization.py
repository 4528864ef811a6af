"""Cases of quantization: differences of the straight-through forward pass, which saturates and does not round."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.export.autodiff.differences import Case

_x = np.array([[-2.31, -0.72, 0.53, 1.13], [-0.11, 0.36, 2.65, -1.85]])

CASES = [
    Case("QuantizeLinear", (_x,), (0.01, np.int8(3)), opset=13, type=TensorProto.INT8, name="QuantizeLinear-int8"),
    Case("QuantizeLinear", (_x,), (0.01, np.uint8(120)), opset=21, type=TensorProto.UINT8, name="QuantizeLinear-uint8"),
    Case("QuantizeLinear", (_x,), (np.array([0.01, 0.015]), np.array([3, -20], np.int8)), {"axis": 0}, opset=19,
         type=TensorProto.INT8, name="QuantizeLinear-by-axis"),
    Case("QuantizeLinear", (_x,), (np.array([0.01, 0.02, 0.005, 0.1]),), opset=13, type=TensorProto.UINT8,
         name="QuantizeLinear-by-last-axis"),
    Case("DequantizeLinear", (_x * 100,), (0.01, np.int8(3)), opset=13, name="DequantizeLinear-int8"),
    Case("DequantizeLinear", (_x * 100,), (np.array([0.01, 0.015]), np.array([3, -20], np.int8)), {"axis": 0},
         opset=21, name="DequantizeLinear-by-axis"),
]  # fmt: skip
