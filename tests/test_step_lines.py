"""An export says which step it is at, and how many there are; a step that takes long is told again."""

from __future__ import annotations

import re
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from onnx import TensorProto

import boxcam
from boxcam.commands import progress
from boxcam.commands.progress import INTERVAL, StepLines, report_steps
from tests.clock import Clock
from tests.export.sources.onnx.small import Small

Cli = Callable[..., Result]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_steps_of_an_export_that_takes_long(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = StepLines(False)
    for seconds, text in ((0, "reading"), (40, "tracing"), (10, "differentiating"), (100, "verifying")):
        clock.now += seconds
        lines.begin(text)
    assert capsys.readouterr().err.splitlines() == ["[ 40.0 s] tracing", "[150.0 s] verifying"]


def test_a_step_that_takes_long_is_told_again_and_again(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = StepLines(False)
    lines.remind()  # before the first step there is nothing to tell
    lines.begin("verifying image (logit) by onnx, step 3 of 4")
    for _ in range(70):
        clock.now += 1
        lines.remind()
    assert capsys.readouterr().err.splitlines() == [
        "[ 30.0 s] verifying image (logit) by onnx, step 3 of 4 (goes on)",
        "[ 60.0 s] verifying image (logit) by onnx, step 3 of 4 (goes on)",
    ]
    assert INTERVAL == 30


def test_it_is_told_while_the_step_is_at_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.2)
    monkeypatch.setattr(progress, "TICK", 0.01)
    with report_steps(False) as step:
        step("verifying")
        until = time.monotonic() + 10
        while time.monotonic() < until and not (said := capsys.readouterr().err):
            time.sleep(0.01)
    assert re.fullmatch(r"\[  \d\.\d s\] verifying \(goes on\)\n", said)
    for thread in threading.enumerate():
        if thread.name == "boxcam.steps":
            thread.join(10)
            assert not thread.is_alive()


def test_a_quiet_run_starts_no_clock() -> None:
    with report_steps(True) as step:
        step("verifying")
        assert "boxcam.steps" not in [thread.name for thread in threading.enumerate()]


def test_every_layer_and_target_is_a_step_with_its_number(tmp_path: Path) -> None:
    steps: list[str] = []
    net = Small()
    net.classes()
    path = net.save(tmp_path / "model.onnx", logits=TensorProto.FLOAT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            path, output=tmp_path / "b", layers=["features", "image"], targets=["all"], engine="onnx",
            progress=steps.append, preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
        )  # fmt: skip
    assert [step for step in steps if ", step " in step] == [
        "differentiating features (logit), step 1 of 4",
        "differentiating features (score), step 2 of 4",
        "differentiating image (logit), step 3 of 4",
        "differentiating image (score), step 4 of 4",
        "verifying features (logit) by onnx, step 1 of 6",
        "verifying features (score) by onnx, step 2 of 6",
        "verifying image (logit) by onnx, step 3 of 6",
        "verifying image (logit) by onnx (guided), step 4 of 6",
        "verifying image (score) by onnx, step 5 of 6",
        "verifying image (score) by onnx (guided), step 6 of 6",
    ]
    assert steps.index("writing the graphs") == steps.index("verifying features (logit) by onnx, step 1 of 6") - 1
