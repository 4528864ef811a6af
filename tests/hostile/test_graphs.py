"""ONNX files that are no models: one sentence, soon, and nothing else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import helper

import boxcam
from boxcam.errors import BoxcamError
from tests.hostile.made import model

Cli = Callable[..., Result]
Change = Callable[[onnx.ModelProto], object]


def node(model: onnx.ModelProto, output: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if output in node.output)


def reads(output: str, *inputs: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        node(model, output).input[:] = inputs

    return change


def constant(name: str, change: Callable[[onnx.TensorProto], object]) -> Change:
    return lambda model: change(next(one for one in model.graph.initializer if one.name == name))


def functions(*bodies: tuple[str, list[str]]) -> Change:
    """Functions of one input, each a chain of others; the first is used by the graph."""

    def change(model: onnx.ModelProto) -> None:
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        for name, used in bodies:
            nodes = [
                helper.make_node(one, [f"v{n}"], [f"v{n + 1}"], domain="" if one == "Relu" else "own")
                for n, one in enumerate(used)
            ]
            model.functions.append(helper.make_function("own", name, ["v0"], [f"v{len(used)}"], nodes, opsets))
        model.opset_import.append(helper.make_opsetid("own", 1))
        used = node(model, "used")
        used.op_type, used.domain = bodies[0][0], "own"

    return change


def laughs(count: int, width: int) -> Change:
    bodies = [(f"f{n}", [f"f{n + 1}"] * width) for n in range(count)]
    return functions(*bodies, (f"f{count}", ["Relu"]))


def names(said: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for key, value in (("names", said), ("stride", "32"), ("task", "classify")):
            model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=value))

    return change


def sized(*sizes: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
            dim.dim_value = size

    return change


def ranked(rank: int) -> Change:
    return lambda model: model.graph.value_info.append(helper.make_tensor_value_info("active", 1, [1] * rank))


CASES: dict[str, tuple[Change, str]] = {
    "a cycle": (reads("flat", "used"), "not a valid ONNX"),
    "a node that reads itself": (reads("active", "active"), "not a valid ONNX"),
    "an input that nothing computes": (reads("flat", "nowhere"), "reads 'nowhere', which nothing computes"),
    "a tensor that is computed twice": (
        lambda model: model.graph.node.append(helper.make_node("Relu", ["flat"], ["used"])),
        "'used' is computed twice",
    ),
    "an output that nothing computes": (
        lambda model: model.graph.output.append(helper.make_tensor_value_info("nowhere", 1, [1])),
        "'nowhere' is computed by nothing",
    ),
    "a constant with too few numbers": (constant("w", lambda one: one.ClearField("raw_data")), "not match expected"),
    "a constant of a negative size": (constant("w", lambda one: one.dims.__setitem__(0, -4)), "not a valid ONNX"),
    "a constant of a huge size": (constant("w", lambda one: one.dims.__setitem__(0, 1 << 60)), "not a valid ONNX"),
    "a constant of no type": (constant("w", lambda one: setattr(one, "data_type", 0)), "not a valid ONNX"),
    "a constant of a strange type": (constant("w", lambda one: setattr(one, "data_type", 99)), "not a valid ONNX"),
    "a function that uses itself": (functions(("f", ["f"])), "uses itself"),
    "functions in a circle": (functions(("f", ["g"]), ("g", ["h"]), ("h", ["f"])), "uses itself"),
    "a billion laughs": (laughs(9, 10), "its functions make 1000000"),
    "more laughs than numbers": (laughs(60, 10), r"its functions make more than 2\^63"),
    "a class of a huge number": (names("{0: 'a', 2000000000: 'b'}"), "class of the number 2000000000"),
    "a class of a negative number": (names("{0: 'a', -3: 'b'}"), "class names|classes"),
    "a name without an end": (names(f"{{0: '{'a' * 5000}', 1: 'b', 2: 'c', 3: 'd'}}"), "one has 5000 letters"),
    "an input of a huge size": (sized(1, 3, 1 << 20, 1 << 20), "is not 1 to 32768"),
    "an input of a negative size": (sized(1, 3, -5, -5), ""),
    "an operator of no name": (lambda model: setattr(node(model, "active"), "op_type", ""), ""),
    "a strange domain": (lambda model: setattr(node(model, "active"), "domain", "evil"), "outside the ONNX standard"),
    "no opset": (lambda model: model.ClearField("opset_import"), ""),
    "an opset from before all": (lambda model: setattr(model.opset_import[0], "version", -3), ""),
    "an opset from after all": (lambda model: setattr(model.opset_import[0], "version", 1 << 40), "supports up to"),
    "no input": (lambda model: model.graph.ClearField("input"), "which nothing computes"),
    "no output": (lambda model: model.graph.ClearField("output"), "it has no output"),
    "an attribute of another type": (
        lambda model: setattr(node(model, "logits").attribute[0], "type", onnx.AttributeProto.STRING),
        "",
    ),
    "an attribute that is missing": (lambda model: node(model, "features").ClearField("attribute"), ""),
    "strides of nothing": (lambda model: node(model, "features").attribute[0].ints.__setitem__(0, 0), ""),
    "a tensor of many axes": (ranked(100), "has 100 axes"),
    "a graph as an input": (lambda model: model.graph.input[0].type.optional_type.elem_type.SetInParent(), ""),
}  # fmt: skip


@pytest.mark.parametrize("command", ["export", "inspect"])
@pytest.mark.parametrize("case", CASES)
def test_a_graph_that_is_none_is_refused(case: str, command: str, tmp_path: Path, cli: Cli) -> None:
    change, expected = CASES[case]
    made = model()
    change(made)
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    output = ["-o", tmp_path / "a.boxcam"] if command == "export" else []
    began = time.monotonic()
    done = cli(command, tmp_path / "model.onnx", "--preprocess", "imagenet", *output, "--timeout", "20")
    assert time.monotonic() - began < 15
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    if expected:
        assert done.exit_code == 1 or command == "inspect"  # which tells what it can
        assert re.search(expected, done.stderr + done.stdout), done.output
        assert not (tmp_path / "a.boxcam").exists()
    if done.exit_code:
        assert done.stderr.count("\n") == 1, done.stderr
        assert len(done.stderr) < 1000


def test_names_that_are_no_literal(tmp_path: Path) -> None:
    for said in ("[" * 100_000, "(" * 5000 + ")" * 5000, "9" * 10_000, "{[]: 1}", "-" * 100_000, "\0"):
        made = model()
        names(said)(made)
        (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
        manifest = boxcam.export(
            tmp_path / "model.onnx", output=tmp_path / "b", preprocess="imagenet", engine="onnx", overwrite=True
        )
        assert manifest.labels == ("class 0", "class 1", "class 2", "class 3")


def test_a_constant_with_bytes_that_are_no_number_of_numbers(tmp_path: Path) -> None:
    made = model()
    made.graph.initializer[1].raw_data = made.graph.initializer[1].raw_data[:-3]
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(BoxcamError, match="does not have as many numbers"):
        boxcam.export(tmp_path / "model.onnx", output=tmp_path / "b", preprocess="imagenet")


def test_a_model_of_float16_that_lies_about_its_size(tmp_path: Path) -> None:
    made = model()
    tensor = made.graph.initializer[1]
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ones((4, 8), np.float16), "w"))
    tensor.dims[0] = 1 << 31
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(BoxcamError, match="not a valid ONNX"):
        boxcam.export(tmp_path / "model.onnx", output=tmp_path / "b", preprocess="imagenet")
