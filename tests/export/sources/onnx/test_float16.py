"""ONNX files in float16: the detections are nearly the float32 network's, and the gradients too."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import Result
from onnxruntime.transformers.float16 import convert_float_to_float16

import boxcam
from boxcam.bundle import FORWARD
from boxcam.export.verify.onnx_gradient import embedded
from boxcam.runtime.preprocess import prepare
from tests.export.sources.onnx.deployed import CASES, HEIGHT, WIDTH, Deployed, export

PICTURE = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
NAMES = ["ultralytics", next(name for name, case in CASES.items() if case.channels_last)]


@pytest.fixture(scope="module", params=[(name, keep) for name in NAMES for keep in (True, False)], ids=str)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Deployed, Path]:
    """A case, its network with the weights as float16 holds them, and the file in float16."""
    name, keep = request.param
    path = tmp_path_factory.mktemp("half") / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = export(CASES[name], path)
        model = convert_float_to_float16(onnx.load(path), keep_io_types=keep)
    onnx.save(model, path)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half().float())
    return name, network, path


def test_it_is_explained_in_float32(exported: tuple[str, Deployed, Path]) -> None:
    name, network, path = exported
    case, out = CASES[name], path.with_suffix(".boxcam")
    options = {**case.options, **({} if case.preprocess is None else {"preprocess": case.preprocess})}
    manifest = boxcam.export(path, output=out, engine="onnx", **options)
    assert manifest.source["precision"].startswith("float16")
    forward = onnx.load(out / FORWARD).graph
    kernels = {node.input[1] for node in forward.node if node.op_type == "Conv"}
    types = {t.name: t.data_type for t in forward.initializer}
    assert {types[kernel] for kernel in kernels} == {onnx.TensorProto.FLOAT16}
    model = boxcam.load(out, threads=1)
    layer = model.runtime.layer("neck")
    prediction = model.runtime.predict(PICTURE, layer)
    image = torch.from_numpy(prepare(PICTURE, model.manifest.preprocess)[0].astype(np.float32))
    image = image.permute(0, 3, 1, 2) if case.channels_last else image
    neck = [feature.detach().requires_grad_() for feature in network.body.neck(image)]
    boxes, logits = network.body.heads(neck)
    expected = case.expected(boxes[0], logits[0])
    found = prediction.detections
    clipped = np.clip(expected.boxes, 0, np.array([WIDTH, HEIGHT] * 2))
    # The last bits change the order, and which of two boxes is suppressed: the graph adds a thousand to boxes for each
    # class to keep classes apart, and then float16 knows whole pixels only.
    pairs = []
    for k in range(len(found)):
        alike = (expected.labels == found.labels[k]) & (np.abs(expected.scores - found.scores[k]) < 2e-3)
        alike &= np.abs(clipped - found.boxes[k]).max(1) < 0.1
        pairs += [(k, int(j)) for j in np.flatnonzero(alike)[:1]]
    assert len(pairs) >= 0.8 * max(len(found), len(clipped)) > 9
    sizes = [(feature.shape[2], feature.shape[3]) for feature in neck]
    worst = 0.0
    patches = model.runtime.patches(prediction, layer, [k for k, _ in pairs])
    for (patch,), (_, j) in zip(patches, pairs, strict=True):
        tensor = layer.tensors[patch.tensor]
        level = sizes.index((tensor.height, tensor.width))
        (gradient,) = torch.autograd.grad(logits.reshape(-1)[expected.logits[j]], neck[level], retain_graph=True)
        error = np.abs(embedded(patch, tensor.height, tensor.width) - gradient[0].numpy()).max()
        worst = max(worst, float(error / gradient.abs().max()))
    assert worst <= 5e-3


def test_inspect_prints_a_line_that_can_be_run(
    exported: tuple[str, Deployed, Path], tmp_path: Path, cli: Callable[..., Result]
) -> None:
    name, _, path = exported
    if name != "ultralytics":
        return
    shown = cli("inspect", path).stdout.splitlines()
    kind = "float16" if onnx.load(path).graph.input[0].type.tensor_type.elem_type == 10 else "float32"
    (said,) = (line for line in shown if line.startswith("input  "))
    assert said.startswith(f"input           image [1, 3, ?, ?] {kind} NCHW, dynamic: pictures are fitted into ")
    (line,) = (line for line in shown if line.startswith("  boxcam export "))
    done = cli(*shlex.split(line)[1:], "-o", tmp_path / "b", "--engine", "onnx", "--score-threshold", "0.3")
    assert done.exit_code == 0, done.stderr
