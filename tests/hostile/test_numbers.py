"""Numbers that no detection has: they are an error, not a picture without a box."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import helper

import boxcam
from boxcam.errors import RunError
from tests.hostile.made import PICTURE, forward

Cli = Callable[..., Result]


def with_output(model: onnx.ModelProto, name: str, kind: str, *constants: Any, **attributes: Any) -> None:
    """Put an operator between an output of a graph and what computes it."""
    for node in model.graph.node:
        for index, output in enumerate(node.output):
            if output == name:
                node.output[index] = "before"
        for index, given in enumerate(node.input):
            if given == name:
                node.input[index] = "before"
    inputs = ["before"]
    for number, constant in enumerate(constants):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(constant), f"hostile.{number}"))
        inputs.append(f"hostile.{number}")
    model.graph.node.append(helper.make_node(kind, inputs, [name], **attributes))


def scaled(name: str, factors: list[float]) -> Callable[[onnx.ModelProto], None]:
    return lambda model: with_output(model, name, "Mul", np.array(factors, np.float32))


def moved(name: str, by: list[int]) -> Callable[[onnx.ModelProto], None]:
    return lambda model: with_output(model, name, "Add", np.array(by, np.int64))


def cut(name: str, axis: int, end: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        with_output(
            model, name, "Slice", np.array([0], np.int64), np.array([end], np.int64), np.array([axis], np.int64)
        )
        model.graph.node[-1].input[2] = "hostile.end"
        least = [  # which is 0, but is known in a run only, and so is the shape
            helper.make_node("ReduceMin", [model.graph.input[0].name], ["hostile.a"], keepdims=0),
            helper.make_node("Sub", ["hostile.a", "hostile.a"], ["hostile.b"]),
            helper.make_node("Cast", ["hostile.b"], ["hostile.c"], to=7),
            helper.make_node("Add", ["hostile.1", "hostile.c"], ["hostile.end"]),
        ]
        for node in reversed(least):
            model.graph.node.insert(0, node)
        output = next(value for value in model.graph.output if value.name == name)
        output.type.tensor_type.ClearField("shape")

    return change


NAN, INF = float("nan"), float("inf")
CASES: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "scores that are NaN": (scaled("dets", [1, 1, 1, 1, NAN]), "scores that are NaN or infinite"),
    "scores that are infinite": (scaled("dets", [1, 1, 1, 1, INF]), "scores that are NaN or infinite"),
    "boxes that are NaN": (scaled("dets", [1, NAN, 1, 1, 1]), "boxes that are NaN or infinite"),
    "boxes that are infinite": (scaled("dets", [1, 1, 1, -INF, 1]), "boxes that are NaN or infinite"),
    "logits that are NaN": (scaled("logit", [NAN]), "values of 'logit' that are NaN or infinite"),
    "scores above 1": (scaled("dets", [1, 1, 1, 1, 300]), r"a score of \d+\.?\d*, and scores are 0 to 1"),
    "scores below 0": (scaled("dets", [1, 1, 1, 1, -1]), r"a score of -0\.\d+, and scores are 0 to 1"),
    "an origin outside of its tensor": (moved("origin", [0, 0, 0, 40, 0]), "origin points outside of /bbox_head"),
    "an origin before its tensor": (moved("origin", [0, 0, 0, 0, -100]), "origin points outside of /bbox_head"),
    "an origin in a tensor that is not there": (moved("origin", [9, 0, 0, 0, 0]), "the manifest does not list"),
    "an origin of too few numbers": (cut("origin", 1, 3), "has 2 indices, and .* has 4 axes"),
    "fewer origins than boxes": (cut("origin", 0, 2), "not one row of whole numbers for each of 14 boxes"),
    "fewer labels than boxes": (cut("labels", 1, 3), "14 boxes, 14 scores and 3 labels"),
    "fewer logits than boxes": (cut("logit", 0, 3), r"logit is \[3\], not one number for each box"),
    "tables without scores": (cut("dets", 2, 4), "the manifest names its column 4"),
    "features of other channels": (
        cut("/neck/fpn_convs.0/activate/Relu_output_0", 1, 5),
        "the manifest says that it has 48 channels",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_impossible_numbers_are_an_error(case: str, tmp_path: Path, cli: Cli) -> None:
    change, expected = CASES[case]
    path = forward(tmp_path, change)
    with pytest.raises(RunError, match=expected):
        boxcam.load(path).explain(PICTURE)
    done = cli("explain", path, PICTURE, "-o", tmp_path / "out")
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_features_that_are_no_numbers(tmp_path: Path) -> None:
    name = "/neck/fpn_convs.0/activate/Relu_output_0"
    model = boxcam.load(forward(tmp_path, scaled(name, [INF])))
    with pytest.raises(RunError, match="a map holds NaN or infinite values"):
        model.explain(PICTURE, method="hirescam")
