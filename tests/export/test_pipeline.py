"""The whole export of a small detector: what it takes, what it warns of, and what it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from onnx import TensorProto

import boxcam
from boxcam.bundle import read
from boxcam.errors import BoxcamWarning, ExportError
from tests.export.detectors import CLASSES, conv
from tests.export.export_graphs import Net
from tests.export.heads import weights

Put = Callable[..., None]
Cli = Callable[..., Result]


def single_cells(net: Net, x: str) -> str:
    """A head of 1x1 convolutions only."""
    return conv(net, net.Relu(conv(net, x, "a", (8, 8, 1, 1))), "b", (CLASSES, 8, 1, 1), name="logits")


def rounded(net: Net, x: str, low: float = 0.0) -> str:
    """A head as quantization tools write it: weights in int8, activations in uint8, around float operators."""
    kernels = {key: 2 * weights(key, *shape) for key, shape in {"a": (8, 8, 3, 3), "b": (CLASSES, 8, 3, 3)}.items()}

    def through(value: str, scale: float, zero: int) -> str:
        pair = np.float32(scale), np.uint8(zero)
        return net.DequantizeLinear(net.QuantizeLinear(value, *pair), *pair)

    def weighted(value: str, key: str, name: str | None = None) -> str:
        scales = np.abs(kernels[key]).reshape(len(kernels[key]), -1).max(1).astype(np.float32) / 127
        whole = np.round(kernels[key] / scales[:, None, None, None]).astype(np.int8)
        weight = net.DequantizeLinear(whole, scales, np.zeros(len(scales), np.int8), axis=0)
        return net.node("Conv", [value, weight], pads=[1] * 4, name=name)[0]

    inner = net.Relu(weighted(through(x, 0.02, 0), "a"))
    return through(weighted(through(inner, 0.05, 0), "b"), 0.05, 128)


@pytest.fixture(params=["onnx", "torchscript", "both"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.startswith("gradient."))


def test_each_engine_writes_its_own_files(tiny: Put, tmp_path: Path, engine: str) -> None:
    tiny()
    with warnings.catch_warnings():
        warnings.simplefilter("error", BoxcamWarning)
        manifest = boxcam.export("x.tiny", output=tmp_path / "b", engine=engine)
    onnx, torch = ["gradient.neck.means.onnx", "gradient.neck.onnx"], ["gradient.neck.pt"]
    assert names(tmp_path / "b") == {"onnx": onnx, "torchscript": torch, "both": [*onnx, *torch]}[engine]
    built = {"onnx", "torchscript"} if engine == "both" else {engine}
    assert set(manifest.layers[0].engines) == built


def test_an_onnx_export_imports_no_torch_of_its_own(tmp_path: Path) -> None:
    code = """
import sys
from boxcam.export.source import SOURCES
from tests.export.detectors import Detector
SOURCES.register("tiny")(Detector().way())
import boxcam
for name in ("torchscript.module", "torchscript.ops", "torchscript.roi_align", "verify.torchscript_gradient"):
    sys.modules["boxcam.export." + name] = None  # so that importing it fails
boxcam.export("x.tiny", output=sys.argv[1], engine="onnx")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "b")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert names(tmp_path / "b") == ["gradient.neck.means.onnx", "gradient.neck.onnx"]


def test_an_opset_11_detector_is_exported(tiny: Put, tmp_path: Path) -> None:
    tiny(opset=11)
    manifest = boxcam.export("x.tiny", output=tmp_path / "b", layers=("neck", "early"))
    assert manifest.verification["outputs"] < 1e-5


# Warnings


def test_a_layer_with_1x1_convolutions_behind_it_is_warned_of(tiny: Put, tmp_path: Path, engine: str) -> None:
    tiny(head=single_cells)
    with pytest.warns(
        BoxcamWarning, match="^layer 'neck' is so late that .* single active cell. Choose an earlier layer"
    ):
        manifest = boxcam.export("x.tiny", output=tmp_path / "b", engine=engine)
    assert manifest.layers[0].tensors[0].receptive_field == 1


def test_the_command_shows_a_warning_as_a_line(tiny: Put, tmp_path: Path, cli: Cli) -> None:
    tiny(head=single_cells)
    done = cli("export", "x.tiny", "-o", tmp_path / "b", "--engine", "onnx", "--layer", "neck", "-q")
    assert (done.exit_code, done.stdout) == (0, "")
    assert re.fullmatch(r"boxcam: warning: layer 'neck' is so late[^\n]+ single active cell\.[^\n]+\n", done.stderr)
    said = cli("inspect", tmp_path / "b").stdout
    assert "  onnx          windows: each box depends on a window of cells\n" in said
    assert "torchscript" not in said


@pytest.mark.parametrize("engine", ["onnx", "both"])
def test_a_quantized_detector_is_explained_straight_through(tiny: Put, tmp_path: Path, engine: str) -> None:
    tiny(head=rounded)
    with pytest.warns(BoxcamWarning, match="is quantized: gradients by layer 'neck' are straight-through"):
        manifest = boxcam.export("x.tiny", output=tmp_path / "b", engine=engine)
    (gradient,) = manifest.layers[0].gradients
    assert gradient.engine == "onnx"
    assert gradient.form == "windows"
    assert "straight-through" in gradient.reason
    model = boxcam.load(tmp_path / "b", threads=1)
    assert b"QuantizeLinear" in (tmp_path / "b" / "forward.onnx").read_bytes()  # the detector keeps its rounding
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    explanation = boxcam.explain(model, image, method="hirescam", score=0.0)
    assert np.abs(explanation.maps).max() > 0


def test_layers_in_front_of_rounding_only_are_warned_of(tiny: Put, tmp_path: Path) -> None:
    def early(net: Net, x: str) -> str:
        pair = np.float32(0.02), np.uint8(0)
        x = net.node("DequantizeLinear", [net.QuantizeLinear(x, *pair), *pair], name="dequantized")[0]
        return conv(net, net.Sigmoid(conv(net, x, "a", (8, 8, 3, 3), name="inner")), "b", (CLASSES, 8, 3, 3))

    tiny(head=early, layers={"neck": ("neck",), "inner": ("inner",)})
    with pytest.warns(BoxcamWarning) as caught:
        manifest = boxcam.export("x.tiny", output=tmp_path / "b", engine="onnx", layers=("neck", "inner"))
    assert [str(w.message).partition(" are ")[0] for w in caught if "quantized" in str(w.message)] == [
        "the model is quantized: gradients by layer 'neck'"
    ]
    assert ["straight-through" in layer.gradients[0].reason for layer in manifest.layers] == [True, False]


# Refusals


def half(net: Net, x: str) -> str:
    smaller = net.node("Cast", [x], to=TensorProto.BFLOAT16, name="smaller")[0]
    return conv(net, net.Cast(net.Tanh(smaller), to=TensorProto.FLOAT), "b", (CLASSES, 8, 3, 3), name="logits")


def reversed_rows(net: Net, x: str) -> str:
    turned = net.node("ReverseSequence", [x, np.array([5])], name="odd", batch_axis=0, time_axis=1)[0]
    return conv(net, turned, "b", (CLASSES, 8, 3, 3), name="logits")


def summed(net: Net, x: str) -> str:
    """With an operator that has a rule and no counterpart in torch."""
    return conv(net, net.Softsign(x, name="odd"), "b", (CLASSES, 8, 3, 3), name="logits")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"head": half},
            r"the model computes in bfloat16 \(Cast \(node_smaller\)\), which ONNX Runtime does not run on every",
        ),
        (
            {"type": TensorProto.FLOAT16},
            "the model's input image is float16, but an image is prepared as float32. Export the model with an"
            r" input of float32\.",
        ),
        (
            {"size": ("h", "w")},
            r"the model's input image \[1, 3, \?, \?\] has no fixed height and width. Fix them with",
        ),
        (
            {"head": reversed_rows},
            r"ReverseSequence \(node_odd\), opset 18, lies between the layer and the scores, and has no"
            r" gradient rule\. Choose a layer after it with --layer\.",
        ),
        (
            {"head": summed},
            r"Softsign \(node_\w+\) on the score path has no counterpart in PyTorch.* Or export without PyTorch"
            r" gradients: --engine onnx\.",
        ),
        (
            {"head": rounded, "engine": "torchscript"},
            r"the model is quantized \(QuantizeLinear \(.+\)\), and there is only the ONNX gradient\."
            r" Use --engine onnx\.",
        ),
        ({"opset": 6}, r"the model has opset 6, which is too old. Export it with opset 7 or newer"),
    ],
)
def test_a_refusal_is_one_line(tiny: Put, tmp_path: Path, cli: Cli, options: Any, expected: str) -> None:
    tiny(**{name: value for name, value in options.items() if name != "engine"})
    done = cli("export", "x.tiny", "-o", tmp_path / "b", "--engine", options.get("engine", "both"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.fullmatch(rf"boxcam: (layer 'neck': )?{expected}[^\n]*\n", done.stderr), done.stderr
    assert os.listdir(tmp_path) == []


def test_what_torch_lacks_is_exported_without_it(tiny: Put, tmp_path: Path) -> None:
    tiny(head=summed)
    boxcam.export("x.tiny", output=tmp_path / "b", engine="onnx")
    assert read(tmp_path / "b").layers[0].engines == ("onnx",)


def test_a_layer_that_no_score_depends_on(tiny: Put, tmp_path: Path) -> None:
    tiny()
    expected = (
        r"^layer 'beside': no score depends on beside, so there is nothing to explain at that layer\. Scores do"
        r" depend on neck, early: choose one of these with layers=\.$"
    )
    with pytest.raises(ExportError, match=expected):
        boxcam.export("x.tiny", output=tmp_path / "b", layers=("beside",))
    tiny(layers={"neck": ("beside",)})
    with pytest.raises(ExportError, match=r"nothing to explain at that layer\. Choose another with layers=\.$"):
        boxcam.export("x.tiny", output=tmp_path / "b")


def test_an_engine_that_is_not_there(tiny: Put, tmp_path: Path, cli: Cli) -> None:
    tiny()
    assert cli("export", "x.tiny", "-o", tmp_path / "b", "--engine", "tensorflow").exit_code == 2
    with pytest.raises(ValueError, match="engine='tensorflow' is not one of: auto, onnx, torchscript, both"):
        boxcam.export("x.tiny", output=tmp_path / "b", engine="tensorflow")


def test_a_model_may_have_tensors_of_our_names(tiny: Put, tmp_path: Path) -> None:
    def head(net: Net, x: str) -> str:
        inner = net.Relu(conv(net, x, "head.a", (8, 8, 3, 3), name="origin"))
        return conv(net, inner, "head.b", (CLASSES, 8, 3, 3), name="logit")

    tiny(head=head)
    manifest = boxcam.export("x.tiny", output=tmp_path / "b", engine="onnx", targets=("logit", "score"))
    assert [(target.origin, target.value) for target in manifest.targets] == [
        ("boxcam.origin", "boxcam.logit"),
        ("boxcam.origin.score", "boxcam.value.score"),
    ]
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    explanation = boxcam.explain(boxcam.load(tmp_path / "b", threads=1), image, score=0.0, target="score")
    assert explanation.values == pytest.approx(explanation.detections.scores)


def test_boxes_that_are_constant_have_no_sides_to_explain(tiny: Put, tmp_path: Path) -> None:
    """The tiny detector's boxes are constants."""
    tiny()
    with pytest.raises(ExportError, match=r"the boxes 'boxes' are constant"):
        boxcam.export("x.tiny", output=tmp_path / "b", engine="onnx", targets=("logit", "x1"))
