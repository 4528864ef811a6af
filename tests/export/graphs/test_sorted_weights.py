"""What a graph computes its weights of lies before them, whatever the file of weights holds already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from boxcam.export.graphs.dequantized import dequantized_constants
from boxcam.export.graphs.run import run_model
from boxcam.export.graphs.weights import WeightsFile, read_graph
from tests.export.export_graphs import Net

CHANNELS = 512
RANDOM = np.random.default_rng(0)
WHOLE = RANDOM.integers(-128, 128, (CHANNELS, 4)).astype(np.int8)
SCALE = RANDOM.uniform(0.5, 1.5, CHANNELS).astype(np.float16)
ZERO = RANDOM.integers(-100, 100, CHANNELS).astype(np.int8)


@pytest.mark.parametrize("laid_out", [(CHANNELS, 4), (2 * CHANNELS, 2)])
@pytest.mark.parametrize("centred", [True, False])
def test_scales_that_lie_there_in_float16_are_read_before_they_are_used(
    centred: bool, laid_out: tuple[int, int], tmp_path: Path
) -> None:
    """Of a model in float16 with quantized weights: its scales are numbers of the forward graph in float16."""
    scale = SCALE.astype(np.float32)
    of = Net(21)
    of.node("DequantizeLinear", [WHOLE, scale, *([] if centred else [ZERO])], name="w", axis=0)
    model = of.model([of.Mul(of.input("x", (1,)), "w")])
    forward = Net(18)
    half = forward.Mul(
        forward.Mul(forward.Cast(forward.input("x", (1,)), to=onnx.TensorProto.FLOAT16), SCALE), ZERO.astype(np.float16)
    )
    real = ((WHOLE - (0 if centred else ZERO.astype(np.float32)[:, None])) * scale[:, None]).astype(np.float32)
    gradient = Net(18)
    graph = gradient.model([gradient.Mul(gradient.input("x", (1,)), real.reshape(laid_out))])
    with WeightsFile(tmp_path / "weights.bin", dequantized_constants(model.graph)) as weights:
        weights.save(forward.model([half]), tmp_path / "forward.onnx")
        weights.save(graph, tmp_path / "gradient.onnx")
    onnx.checker.check_model(str(tmp_path / "gradient.onnx"))
    written = onnx.load(tmp_path / "gradient.onnx", load_external_data=False).graph
    assert [node.op_type for node in written.node][:1] == ["Cast"]
    assert {tensor.name.rpartition("/")[2]: tensor.data_type for tensor in written.initializer}["scale"] == 1
    (found,) = run_model(read_graph(tmp_path / "gradient.onnx"), {"x": np.ones(1, np.float32)}).values()
    assert np.array_equal(found, real.reshape(laid_out))
