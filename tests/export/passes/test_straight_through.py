"""Graphs in QDQ form without their rounding."""

from __future__ import annotations

import numpy as np

from boxcam.export.graphs.run import run_model
from boxcam.export.passes.straight_through import straight_through
from tests.export.export_graphs import Net


def test_a_dequantized_output_keeps_its_name_and_loses_its_rounding() -> None:
    net = Net()
    scale, zero = net.constant(np.float32(0.1)), net.constant(np.int8(3))
    inner = net.Mul(net.input("x", (1, 4)), np.float32(2))
    feature = net.node("DequantizeLinear", [net.QuantizeLinear(inner, scale, zero), scale, zero], name="feature")[0]
    logits = net.Mul(feature, np.float32(3))
    model = net.model([feature, logits])
    plain = straight_through(model)
    assert [value.name for value in plain.graph.outputs] == [feature, logits]
    x = np.array([[0.512, -0.033, 100, -100]], np.float32)
    found = run_model(plain, {"x": x})
    np.testing.assert_allclose(found[feature], [[1.024, -0.066, 12.45, -13.15]], atol=1e-5)  # what rounds to -128 … 127
    np.testing.assert_allclose(found[logits], 3 * found[feature], atol=1e-5)
    assert {node.op_type for node in plain.graph} == {"Mul", "Clip"}
    rounded = run_model(model, {"x": x})[feature]
    np.testing.assert_allclose(rounded, [[1.0, -0.1, 12.4, -13.1]], atol=1e-5)  # the given model is not changed
