"""An ONNX file that ONNX Runtime quantized: what `boxcam inspect` shows of it, and its export."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import boxcam
from tests.export.sources.onnx.deployed import CASES, HEIGHT, WIDTH, export

NECK = [f"/body/{name}/{name}.1/Relu_output_0_DequantizeLinear_Output" for name in ("fine", "coarse")]
PICTURE = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.inputs: Iterator[dict[str, np.ndarray]] = iter(
            [{"image": np.random.default_rng(n).random((1, 3, HEIGHT, WIDTH), np.float32)} for n in range(4)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.inputs, None)


@pytest.fixture(scope="module", params=["convolutions", "everything"])
def quantized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("quantized")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(CASES["ultralytics"], folder / "plain.onnx")
        quantize_static(
            *(folder / "plain.onnx", folder / "q.onnx", Calibration()),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"] if request.param == "convolutions" else None,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    return request.param, folder / "q.onnx"


def test_inspect_lists_what_can_be_looked_at(quantized: tuple[str, Path], cli: Callable[..., Result]) -> None:
    kind, path = quantized
    done = cli("inspect", path, "--all")
    assert done.exit_code == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  /")}
    assert rows[NECK[1]].split()[1:5] == ["12", "4x6", "16", "DequantizeLinear"]
    assert rows[NECK[1]].endswith("a window of 3x3 cells")
    assert "duplicated" not in done.stdout
    assert not any(name.endswith("QuantizeLinear_Output") and "Dequantize" not in name for name in rows)
    if kind == "convolutions":
        assert f"the layer 'neck' is exported: {', '.join(NECK)}." in done.stdout


def test_it_is_explained_straight_through_and_says_so(
    quantized: tuple[str, Path], tmp_path: Path, cli: Callable[..., Result]
) -> None:
    case = CASES["ultralytics"]
    with pytest.warns(boxcam.errors.BoxcamWarning, match="is quantized: gradients by layer .* straight-through"):
        manifest = boxcam.export(quantized[1], output=tmp_path / "b", layers=[NECK[0]], engine="onnx", **case.options)
    assert max(manifest.verification.values()) <= 1e-4
    shown = cli("inspect", tmp_path / "b").stdout
    assert "(the model is quantized: straight-through, as if without rounding)" in shown
    model = boxcam.load(tmp_path / "b", threads=1)
    explanation = boxcam.explain(model, PICTURE)
    assert len(explanation) > 0
    assert max(float(np.abs(each).max()) for each in explanation.maps) > 0
