"""Nothing of what libraries print or log while a model is exported reaches the user."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import onnx_ir as ir
import pytest
import torch
import torchvision

from boxcam.export.graphs.quiet import quiet_onnx_ir
from tests.export.sources.onnx.deployed import CASES, export


def run(*arguments: str | Path) -> str:
    """What a command prints to stderr that ends well and was told to be quiet."""
    command = [sys.executable, "-m", "boxcam.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_an_onnx_file_of_a_dynamic_size(tmp_path: Path) -> None:
    path = tmp_path / "yolo.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(CASES["ultralytics"], path)
    assert run("inspect", path) == ""
    assert run("export", path, "-o", tmp_path / "b", "-q") == ""


def test_a_model_of_torchvision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / "w.pth")
    output = tmp_path / "b"
    assert run("export", "torchvision:squeezenet1_1", tmp_path / "w.pth", "-o", output, "--layer", "image", "-q") == ""


def test_values_of_a_shape_without_a_type_are_written_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    value = ir.Value(name="x", shape=ir.Shape([1, 3]))
    model = ir.Model(ir.Graph([value], [value], nodes=[], opset_imports={"": 18}), ir_version=10)
    before = logging.getLogger("onnx_ir").level
    with quiet_onnx_ir():
        ir.to_proto(model)
    assert caplog.messages == []
    assert logging.getLogger("onnx_ir").level == before
    ir.to_proto(model)  # as it is without
    assert any("is not known" in message for message in caplog.messages)


@pytest.mark.parametrize("name", ["onnx_ir", "onnx_ir.passes.common.shape_inference", "onnxscript.rewriter"])
def test_no_logger_of_theirs_says_a_word_whatever_its_own_level(name: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with quiet_onnx_ir():
            logger.warning("Shape inference failed", exc_info=ValueError("x"))
            logger.error("so did this")
        assert caplog.messages == []
        assert logger.level == logging.DEBUG
        logger.warning("now")
        assert caplog.messages == ["now"]
    finally:
        logger.setLevel(before)


def test_their_warnings_are_ignored_and_no_others() -> None:
    def warn(module: str) -> None:
        exec("import warnings; warnings.warn('said')", {"__name__": module})

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with quiet_onnx_ir():
            for module in ("onnx", "onnx.helper", "onnx_ir._core", "onnxruntime.capi", "onnxes", "boxcam.model"):
                warn(module)
        assert len(seen) == 2
