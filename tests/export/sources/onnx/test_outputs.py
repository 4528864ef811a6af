"""Outputs that are stated wrongly, are maps or sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from boxcam.errors import BoxcamWarning, SourceError
from boxcam.export.sources.onnx.file import read
from tests.export.export_graphs import branch
from tests.export.sources.onnx.plain import (
    CLASSES,
    IMAGE,
    SIZE,
    Plain,
    check,
    export,
    outputs,
    tensor,
)
from tests.messages import check_message


def stale(path: Path, change: Callable[[onnx.GraphProto], None]) -> Plain:
    """A classifier whose file states shapes that are not its own."""
    net = Plain((1, 3, SIZE, SIZE))
    net.logits()
    net.save(path)
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    change(model.graph)
    onnx.save(model, str(path))
    return net


def _values(graph: onnx.GraphProto, sizes: Callable[[int], int]) -> None:
    for value in graph.value_info:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_value = sizes(dim.dim_value) if axis > 1 else dim.dim_value


def _output(graph: onnx.GraphProto, *shape: int | str) -> None:
    graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))


STALE: dict[str, Callable[[onnx.GraphProto], None]] = {
    "of another size of the image": lambda graph: _values(graph, lambda size: size * 2 if size > 1 else size),
    "of the output": lambda graph: _output(graph, 1, 80),
    "of the output's rank": lambda graph: _output(graph, 1, 1, CLASSES),
    "of another batch": lambda graph: _output(graph, 16, CLASSES),
    "of both": lambda graph: (_values(graph, lambda size: size + 1), _output(graph, 7, CLASSES))[0],
}


@pytest.mark.parametrize("case", STALE)
def test_stale_shapes_are_forgotten(case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = stale(tmp_path / "m.onnx", STALE[case])
    outputs(tmp_path / "m.onnx", image=tensor(IMAGE))  # ONNX Runtime runs it
    capfd.readouterr()
    check(export(tmp_path / "m.onnx"), tensor(IMAGE), net, IMAGE)
    assert capfd.readouterr().err == ""


def zipmap(path: Path, **labels: Any) -> Plain:
    """A classifier as tools for scikit-learn and Azure's Custom Vision end it: the best class, and a map of all."""
    net = Plain((1, 3, SIZE, SIZE))
    net.node("Softmax", [net.logits()], name="probabilities", axis=1)
    net.node("ArgMax", ["probabilities"], name="label", axis=1, keepdims=0)
    net.nodes.append(helper.make_node("ZipMap", ["probabilities"], ["loss"], domain="ai.onnx.ml", **labels))
    graph = net.graph({"label": TensorProto.INT64})
    kind = TensorProto.INT64 if "classlabels_int64s" in labels else TensorProto.STRING
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    loss = helper.make_sequence_type_proto(helper.make_map_type_proto(kind, value))
    graph.output.append(helper.make_value_info("loss", loss))
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), str(path))
    return net


def test_behind_a_zipmap_are_the_probabilities_and_their_names(tmp_path: Path) -> None:
    names = ["cat", "dog", "bird", "fish"]
    net = zipmap(tmp_path / "m.onnx", classlabels_strings=names)
    model = export(tmp_path / "m.onnx")
    assert model.names == tuple(names)
    check(model, tensor(IMAGE), net, IMAGE)


def test_numbers_of_a_zipmap_are_names_if_they_do_not_count(tmp_path: Path) -> None:
    net = zipmap(tmp_path / "m.onnx", classlabels_int64s=[3, 5, 7, 9])
    model = export(tmp_path / "m.onnx")
    assert model.names == ("class 3", "class 5", "class 7", "class 9")
    check(model, tensor(IMAGE), net, IMAGE)


def test_sequences_are_left_out(tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE))
    logits = net.logits()
    net.node("SplitToSequence", [logits], name="pieces", axis=1)
    net.node("SequenceConstruct", [net.node("Neg", [logits], name="turned")[0]], name="list")
    graph = net.graph({"logits": TensorProto.FLOAT})
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    graph.output.append(helper.make_value_info("pieces", kind))
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(tmp_path / "m.onnx")
    )
    with pytest.warns(BoxcamWarning, match="the output pieces is a sequence, not a tensor, and is left out"):
        model = export(tmp_path / "m.onnx")
    check(model, tensor(IMAGE), net, IMAGE)


def test_a_file_without_any_tensor_is_refused(tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE))
    net.node("SplitToSequence", [net.logits()], name="pieces", axis=1)
    graph = net.graph({})
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    graph.output.append(helper.make_value_info("pieces", kind))
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(tmp_path / "m.onnx")
    )
    with pytest.raises(
        SourceError, match=r"outputs no tensor of numbers: 'pieces' is a sequence\. Export it with"
    ) as caught:
        export(tmp_path / "m.onnx")
    check_message(str(caught.value))
    assert "truncated" not in str(caught.value)  # it is a valid file


def _chosen(net: Plain, logits: str) -> str:
    """By a branch."""
    some = net.Greater(net.ReduceMax(logits, keepdims=0), np.float32(-1e9))
    there = branch(lambda inner: inner.Identity(logits), net)
    other = branch(lambda inner: inner.Identity(np.zeros((1, CLASSES), np.float32)), net)
    return net.node("If", [some], name="chosen", then_branch=there, else_branch=other)[0]


def _optional(net: Plain, logits: str) -> str:
    return net.node("OptionalGetElement", [logits], name="chosen")[0]


def _repeated(net: Plain, logits: str) -> str:
    """By a loop of one turn."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["carried"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, [1, CLASSES]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, CLASSES]),
        ],
    )
    return net.node("Loop", [np.array(1), np.array(True), logits], name="chosen", body=body)[0]


@pytest.mark.parametrize("build", [_chosen, _optional, _repeated])
@pytest.mark.parametrize("copied", [False, True], ids=["itself", "a copy"])
def test_a_tensor_of_an_operator_that_can_give_sequences_is_a_tensor(
    build: Callable[[Plain, str], str], copied: bool, tmp_path: Path
) -> None:
    net = Plain((1, 3, SIZE, SIZE))
    name = build(net, net.logits())
    if copied:
        net.node("Identity", [name], name="scores")
    path = net.save(tmp_path / "m.onnx", ["scores" if copied else name])
    (found,) = outputs(path, image=tensor(IMAGE))
    assert [one.name for one in read(str(path)).graph.outputs] == ["scores" if copied else name]
    assert found.shape == (1, CLASSES)
