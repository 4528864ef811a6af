"""A detector as ONNX Runtime quantizes it, exported and explained: against torch's own fake quantization."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import boxcam
from boxcam.bundle import Outputs
from boxcam.errors import BoxcamWarning, ExportError
from boxcam.export.source import SOURCES, LayerTensors, Request, Source, SourceModel
from boxcam.export.verify.onnx_gradient import embedded
from boxcam.runtime.preprocess import prepare
from tests.export.detectors import HEIGHT, SPEC, WIDTH, Detector

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
SIGNED = {onnx.TensorProto.INT8: (-128, 127), onnx.TensorProto.UINT8: (0, 255)}


def pictures() -> Iterator[np.ndarray]:
    for seed in range(4):
        yield np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.inputs = iter([{"image": prepare(picture, SPEC)[0]} for picture in pictures()])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.inputs, None)


Quantize = Callable[..., onnx.ModelProto]


@pytest.fixture
def quantize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Quantize:
    """Quantize the tiny detector, and put it in the way of ``x.tiny``."""

    def make(operators: list[str] | None, per_channel: bool, kind: QuantType) -> onnx.ModelProto:
        plain, out = tmp_path / "plain.onnx", tmp_path / "quantized.onnx"
        onnx.save(onnx.shape_inference.infer_shapes(ir.to_proto(Detector().model())), plain)
        quantize_static(
            *(plain, out, Calibration()),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=operators,
            per_channel=per_channel,
            activation_type=kind,
            weight_type=QuantType.QInt8,
        )
        layers = {"neck": LayerTensors(("neck",))}
        given = Outputs("boxes", "scores", "labels"), SPEC, ("cat", "dog"), layers, ("neck",), {"source": "tiny"}

        def load(request: Request, progress: object) -> SourceModel:
            return SourceModel(ir.load(out), "image", *given)

        way = Source("MODEL.tiny", lambda arguments: arguments[0].endswith(".tiny"), load)
        monkeypatch.setitem(SOURCES._things, "tiny", way)
        return onnx.load(out)

    return make


def straight_through(model: onnx.ModelProto, feature: str, value: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer as a leaf, and the logits, by torch's fake quantization of all that lies between."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    leaf = torch.tensor(value, requires_grad=True)
    found: dict[str, torch.Tensor] = {feature: leaf}
    kinds = {t.name: t.data_type for t in model.graph.initializer}
    whole: dict[str, tuple[torch.Tensor, float, int, int]] = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            integers, scale, zero = (constants[name].astype(np.float32) for name in node.input)
            along = (-1, *[1] * (integers.ndim - 1)) if scale.ndim else ()
            real = (integers - zero.reshape(along)) * scale.reshape(along)
            found[node.output[0]] = torch.tensor(real)
        elif (node.input[0] not in found and node.input[0] not in whole) or node.output[0] == feature:
            continue
        elif node.op_type == "QuantizeLinear":
            scale, zero = float(constants[node.input[1]]), int(constants[node.input[2]])
            whole[node.output[0]] = (found[node.input[0]], scale, zero, kinds[node.input[2]])
        elif node.op_type == "DequantizeLinear":
            x, scale, zero, kind = whole[node.input[0]]
            found[node.output[0]] = torch.fake_quantize_per_tensor_affine(x, scale, zero, *SIGNED[kind])
        elif node.op_type == "Conv":
            found[node.output[0]] = torch.conv2d(found[node.input[0]], found[node.input[1]], padding=1)
        elif node.op_type == "Relu":
            found[node.output[0]] = torch.relu(found[node.input[0]])
        if "logits" in found:
            return leaf, found["logits"]
    raise AssertionError("no logits")


@pytest.mark.parametrize("layer", ["neck", "neck_DequantizeLinear_Output"])
@pytest.mark.parametrize(
    ("operators", "per_channel", "kind"),
    [
        (None, False, QuantType.QUInt8),  # everything, the scores too
        (None, True, QuantType.QInt8),
        (["Conv"], True, QuantType.QUInt8),
        (["Conv"], False, QuantType.QInt8),
    ],
)
def test_it_is_explained_as_torch_differentiates_fake_quantization(
    quantize: Quantize, tmp_path: Path, operators: list[str] | None, per_channel: bool, kind: QuantType, layer: str
) -> None:
    model = quantize(operators, per_channel, kind)
    with pytest.warns(BoxcamWarning, match="straight-through"):
        boxcam.export("x.tiny", output=tmp_path / "b", layers=[layer])
    explained = boxcam.load(tmp_path / "b")
    picture = next(pictures())
    chosen = explained.runtime.layer(layer)
    prediction = explained.runtime.predict(picture, chosen)
    assert len(prediction.detections) == 5
    leaf, logits = straight_through(model, layer, prediction.outputs[layer])
    found = list(explained.runtime.patches(prediction, chosen, range(5)))
    strength = 0.0
    for patches, origin, value in zip(found, prediction.detections.origin, prediction.detections.logits, strict=True):
        own = logits[tuple(int(i) for i in origin[1:])]
        assert own.item() == pytest.approx(value, abs=1e-5)
        (expected,) = torch.autograd.grad(own, leaf, retain_graph=True)
        got = sum(embedded(patch, *expected.shape[2:]) for patch in patches)
        assert got == pytest.approx(expected[0].numpy(), abs=1e-6)
        strength = max(strength, float(expected.abs().max()))
    assert strength > 0.01
    assert len(boxcam.explain(explained, picture)) == 5


def test_a_layer_of_integers_is_refused(quantize: Quantize, tmp_path: Path) -> None:
    quantize(["Conv"], False, QuantType.QUInt8)
    with pytest.raises(ExportError, match=r"neck_QuantizeLinear_Output.* holds integers.*neck"):
        boxcam.export("x.tiny", output=tmp_path / "b", layers=["neck_QuantizeLinear_Output"])


def test_what_is_quantized_is_shown(quantize: Quantize, tmp_path: Path, cli: Callable[..., object]) -> None:
    quantize(["Conv"], False, QuantType.QUInt8)
    with pytest.warns(BoxcamWarning, match="straight-through"):
        boxcam.export("x.tiny", output=tmp_path / "b")
    shown = cli("inspect", str(tmp_path / "b"))
    assert "the model is quantized: straight-through, as if without rounding" in shown.output


def test_rounded_scores_are_checked_to_the_step(quantize: Quantize, tmp_path: Path) -> None:
    """A score that is one step beside what its logit gives is found."""
    from boxcam.export.trace.tracer import Rounding
    from boxcam.export.verify.detections import _beside

    rounding = (Rounding(0.01, 3, 0, 100),)
    assert _beside(0.5, 0.5, "Identity", ()) == 0
    assert _beside(0.51, 0.5, "Identity", ()) == pytest.approx(0.01)
    for value, score in ((0.504, 0.5), (0.506, 0.51), (0.9999, 0.97), (-0.2, -0.03)):  # 97 steps are the most
        assert _beside(score, value, "Softmax", rounding) == pytest.approx(0, abs=1e-9)
        assert _beside(score + 0.01, value, "Softmax", rounding) == pytest.approx(0.01)
    assert _beside(0.5, 0.505, "Softmax", rounding) == pytest.approx(0, abs=1e-9)  # between two steps, either will do
    assert _beside(0.51, 0.505, "Softmax", rounding) == pytest.approx(0, abs=1e-9)
    # A logit of 1.1 in steps of 0.5 is 1, its probability 0.731, in steps of 0.01 0.73.
    both = (Rounding(0.5, 0, -9, 9, of_logits=True), *rounding)
    assert _beside(0.73, 1.1, "Sigmoid", both) == pytest.approx(0, abs=1e-9)
    assert _beside(0.75, 1.1, "Sigmoid", rounding) == pytest.approx(0, abs=1e-9)
