"""A model whose weights alone are quantized: its bundle holds the integers once, for both engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from boxcam.export.graphs.run import serialized
from boxcam.export.source import SOURCES
from tests.export import two_stage
from tests.export.bundles import SMALL_LIMIT, export, inline, maps, size


def weight_only(kind: str) -> onnx.ModelProto:
    """The two-stage detector with integers in the place of its larger weights, and real activations."""
    model = onnx.shape_inference.infer_shapes(ir.to_proto(two_stage.model()))
    info = np.iinfo(kind)
    for tensor in list(model.graph.initializer):
        numbers = onnx.numpy_helper.to_array(tensor)
        if numbers.dtype != np.float32 or numbers.size < 256:
            continue
        scale = np.float32(np.abs(numbers).max() / 127)
        zero = 0 if info.min < 0 else 128
        whole = np.clip(np.rint(numbers / scale) + zero, info.min, info.max).astype(kind)
        parts = {"integers": whole, "scale": scale, "zero": np.array(zero, kind)}
        names = [f"{tensor.name}/{what}" for what in parts]
        node = onnx.helper.make_node("DequantizeLinear", names, [tensor.name], f"{tensor.name}/real")
        model.graph.node.insert(0, node)
        model.graph.initializer.remove(tensor)
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(np.asarray(array), name)
            for name, array in zip(names, parts.values(), strict=True)
        )
    return model


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_both_engines_read_the_integers(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = weight_only(kind)
    monkeypatch.setitem(SOURCES._things, "two", two_stage.way(two_stage.source(ir.from_proto(model))))
    path = export(tmp_path / "two.boxcam", engine="both")
    assert len(list(path.glob("gradient.*.pt"))) >= 2
    real = len(serialized(two_stage.model()))
    programs = sum(file.stat().st_size for file in path.glob("*.pt"))  # of which each has some kilobytes of code
    assert size(path) - programs <= SMALL_LIMIT * model.ByteSize()
    assert size(path) - programs < 0.45 * real
    inline(monkeypatch)
    apart = export(tmp_path / "apart", engine="both")
    for engine in ("onnx", "torchscript"):
        for one, other in zip(maps(path, engine), maps(apart, engine), strict=True):
            assert np.abs(other).max() > 0
            assert np.array_equal(one, other)
