"""What is said of a model that ONNX Runtime does not run: why, and what can be done about that."""

from __future__ import annotations

import numpy as np
import pytest

from boxcam.errors import ExportError
from boxcam.export.graphs.run import run_model
from tests.export.export_graphs import Net


def test_a_newer_onnx_than_onnxruntime_knows_is_told_with_what_helps() -> None:
    net = Net()
    model = net.model([net.Relu(net.input("x", [1, 3]))])
    model.ir_version = 99
    with pytest.raises(ExportError, match=r"Unsupported model IR version: 99.*\. Install a newer onnxruntime, or expo"):
        run_model(model, {"x": np.zeros((1, 3), np.float32)})
