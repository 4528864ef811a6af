"""Names of layers as exporters write them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from boxcam.errors import SourceError, UnknownLayerError
from boxcam.export.sources.onnx import layers
from tests.export.export_graphs import Net


def _network(*scopes: str) -> Net:
    """A chain of Relus in the scopes that tf2onnx writes in front of operators."""
    net = Net()
    value = net.node("Mul", [net.input("image", (1, 8, 4, 4)), np.float32(2)], name="scaled:0")[0]
    for scope in scopes:
        value = net.node("Relu", [value], name=f"resnet/{scope}/Relu:0")[0]
    net.node("ReduceMean", [value, np.array([2, 3])], keepdims=0, name="logits")
    return net


@pytest.mark.parametrize("given", ["conv5_block3_out", "conv5_block3_out_1", "resnet/conv5_block3_out"])
def test_a_layer_that_tensorflow_numbered_is_found_by_its_own_name(given: str) -> None:
    model = _network("conv4_block6_out_1", "conv5_block3_out_1").model({"logits": TensorProto.FLOAT})
    assert layers.by_name(model, given) == "resnet/conv5_block3_out_1/Relu:0"


def test_of_several_numbers_none_is_guessed() -> None:
    model = _network("out_1", "out_2").model({"logits": TensorProto.FLOAT})
    with pytest.raises((SourceError, UnknownLayerError), match="out"):
        layers.by_name(model, "out")
