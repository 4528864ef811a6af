"""Bundles of a quantized model hold its integers, once; and what they give is what the real numbers would give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from boxcam.bundle import FORWARD, WEIGHTS
from boxcam.errors import BoxcamWarning
from boxcam.export.graphs.dequantized import dequantized_constants
from boxcam.export.graphs.run import run_model, serialized
from boxcam.export.graphs.weights import SMALL, WeightsFile, read_graph
from boxcam.export.source import SOURCES
from tests.export import two_stage
from tests.export.bundles import SMALL_LIMIT, export, inline, maps, size
from tests.export.export_graphs import Net

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
WEIGHING = ["Conv", "Gemm", "MatMul"]


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        shape = (1, 3, two_stage.SIZE, two_stage.SIZE)
        random = np.random.default_rng(0)
        self.inputs: Iterator[dict[str, np.ndarray]] = iter(
            [{"image": random.normal(0, 1, shape).astype(np.float32)} for _ in range(2)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.inputs, None)


def quantized(folder: Path, per_channel: bool, kind: QuantType) -> onnx.ModelProto:
    """The two-stage detector as ONNX Runtime quantizes it."""
    plain, path = folder / "plain.onnx", folder / "quantized.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(ir.to_proto(two_stage.model())), plain)
    quantize_static(
        *(plain, path, Calibration()),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=WEIGHING,
        per_channel=per_channel,
        activation_type=QuantType.QUInt8,
        weight_type=kind,
    )
    return onnx.load(path)


@pytest.mark.parametrize(
    ("per_channel", "kind"), [(True, QuantType.QInt8), (False, QuantType.QInt8), (False, QuantType.QUInt8)]
)
def test_a_quantized_model_stays_as_small_as_it_is(
    per_channel: bool, kind: QuantType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = quantized(tmp_path, per_channel, kind)
    monkeypatch.setitem(SOURCES._things, "two", two_stage.way(two_stage.source(ir.from_proto(model))))
    with pytest.warns(BoxcamWarning, match="straight-through"):
        path = export(tmp_path / "two.boxcam", engine="onnx")
    assert len(list(path.glob("gradient.*.onnx"))) >= 3
    assert size(path) <= SMALL_LIMIT * model.ByteSize()
    assert (path / "weights.bin").stat().st_size <= model.ByteSize()
    assert size(path) < SMALL_LIMIT / 3 * len(serialized(two_stage.model()))
    for file in path.glob("*.onnx"):
        large = [tensor for tensor in onnx.load(file).graph.initializer if len(tensor.raw_data) > 4 * SMALL]
        assert {tensor.data_type for tensor in large} <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    inline(monkeypatch)
    with pytest.warns(BoxcamWarning, match="straight-through"):
        apart = export(tmp_path / "apart", engine="onnx")
    for one, other in zip(maps(path, "onnx"), maps(apart, "onnx"), strict=True):
        assert np.abs(other).max() > 0
        assert np.array_equal(one, other)


INTEGERS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_integers_become_the_numbers_that_they_mean(kind: str, axis: int | None, tmp_path: Path) -> None:
    """Per tensor and along each axis; also those that a graph lays out anew."""
    random, shape = np.random.default_rng(1), (24, 16, 3)
    low, high = INTEGERS[kind]
    whole = random.integers(low, high + 1, shape).astype(kind)
    count = 1 if axis is None else shape[axis]
    scale = random.uniform(0.001, 0.1, count).astype(np.float32)
    zero = random.integers(max(low, -100), 100, count).astype(kind)
    if axis is None:
        scale, zero = scale[0], zero[0]
    net = Net(21)
    attributes = {} if axis is None else {"axis": axis}
    net.node("DequantizeLinear", [whole, scale, zero], name="w", **attributes)
    model = net.model([net.Mul(net.input("x", (1,)), "w")])
    along = [1, 1, 1]
    if axis is not None:
        along[axis] = -1
    real = (whole.astype(np.float32) - zero.reshape(along)) * scale.reshape(along)
    graphs = {}
    for name, laid_out in (("forward", real), ("gradient", real.reshape(24, 48))):
        plain = Net(18)
        graphs[name] = plain.model([plain.Mul(plain.input("x", (1,)), laid_out)])
    with WeightsFile(tmp_path / WEIGHTS, dequantized_constants(model.graph)) as weights:
        for name, graph in graphs.items():
            weights.save(graph, tmp_path / f"{name}.onnx")
    assert whole.nbytes <= (tmp_path / WEIGHTS).stat().st_size < whole.nbytes + 64
    given = {"x": np.ones(1, np.float32)}
    (meant,) = run_model(model, given).values()
    for name, wanted in (("forward", meant), ("gradient", meant.reshape(24, 48))):
        (found,) = run_model(read_graph(tmp_path / f"{name}.onnx"), given).values()
        assert np.array_equal(found, wanted)


def test_numbers_beside_those_of_integers_stay_real(tmp_path: Path) -> None:
    """Of real numbers that no integer means, none is taken for one."""
    net = Net(18)
    net.node("DequantizeLinear", [np.arange(-64, 64, dtype=np.int8).repeat(16), np.float32(0.5)], name="w")
    model = net.model([net.Mul(net.input("x", (1,)), "w")])
    other = Net(18)
    numbers = np.arange(-64, 64, dtype=np.float32).repeat(16) * np.float32(0.5)
    numbers[7] = np.nextafter(numbers[7], np.float32(0))
    graph = other.model([other.Mul(other.input("x", (1,)), numbers)])
    with WeightsFile(tmp_path / WEIGHTS, dequantized_constants(model.graph)) as weights:
        weights.save(graph, tmp_path / FORWARD)
    assert (tmp_path / WEIGHTS).stat().st_size == numbers.nbytes
    (found,) = run_model(read_graph(tmp_path / FORWARD), {"x": np.ones(1, np.float32)}).values()
    assert np.array_equal(found, numbers)
