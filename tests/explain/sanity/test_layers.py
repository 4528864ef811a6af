"""Which weights a graph has, and in which layers, on a graph made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from boxcam.bundle.graph import Graph, parse_graph, selecting_operator
from boxcam.commands.demo import DATA
from boxcam.explain.sanity.copies import find_copy, is_learned, order_of
from boxcam.explain.sanity.layers import weight_layers

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 3, 8, 8] image, bool yes) => (float[1, 9] logits, float[1, 4] boxes) {
    a = Conv (image, stem)
    b = Relu (a)
    once = Conv (b, shared)
    twice = Conv (once, shared)
    side = Conv (b, side_weight)
    joined = Add (twice, side)
    flat = Flatten (joined)
    turned = Transpose <perm = [1, 0]> (dense)
    logits = MatMul (flat, turned)
    boxes = MatMul (flat, other)
    <DECISION>
}
"""
IF = """r = If (yes) <then_branch = t () => (float[1, 9] u) { u = MatMul (flat, inner) },
                      else_branch = e () => (float[1, 9] v) { v = Identity (logits) }>"""
WEIGHTS = ("stem", "shared", "side_weight", "dense", "other")


def made(folder: Path, more: str = "", names: tuple[str, ...] = WEIGHTS, dtype: type = np.float32) -> Graph:
    model = onnx.parser.parse_model(MODEL.replace("<DECISION>", more))
    for number, name in enumerate(names):
        array = np.full((4, 3, 8 + number, 8), number, dtype)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.arange(500), "whole"))
    onnx.save(model, folder / "g.onnx", save_as_external_data=True, location="w.bin", size_threshold=1024)
    return parse_graph((folder / "g.onnx").read_bytes())


def names_of(graph: Graph, *ends: str) -> list[list[str]]:
    return [sorted(weight.name for weight in layer) for layer in weight_layers(graph, ends)]


def test_a_layer_is_what_has_no_other_one_after_it(tmp_path: Path) -> None:
    graph = made(tmp_path)
    assert names_of(graph, "logits") == [["dense"], ["shared", "side_weight"], ["stem"]]
    assert names_of(graph, "boxes") == [["other"], ["shared", "side_weight"], ["stem"]]
    assert names_of(graph, "logits", "boxes") == [["dense", "other"], ["shared", "side_weight"], ["stem"]]
    assert names_of(graph, "a") == [["stem"]]
    assert names_of(graph, "image") == []


def test_weights_are_those_that_onnx_sees(tmp_path: Path) -> None:
    graph = made(tmp_path, dtype=np.float16)
    stored = onnx.load(tmp_path / "g.onnx", load_external_data=False).graph.initializer
    for tensor in stored[:-1]:
        weight = graph.weights[tensor.name]
        place = {entry.key: entry.value for entry in tensor.external_data}
        assert (weight.shape, weight.dtype) == (tuple(tensor.dims), "float16")
        assert weight.place == (int(place["offset"]), int(place["length"]))
    assert set(graph.weights) == set(WEIGHTS)  # whole numbers are none
    nodes = onnx.load(tmp_path / "g.onnx", load_external_data=False).graph.node
    assert [(n.operator, n.inputs, n.outputs) for n in graph.nodes] == [
        (n.op_type, tuple(n.input), tuple(n.output)) for n in nodes
    ]


def test_what_lies_in_branches_is_of_the_operator_that_has_them(tmp_path: Path) -> None:
    graph = made(tmp_path, IF, (*WEIGHTS, "inner"))
    assert names_of(graph, "r") == [["dense", "inner"], ["shared", "side_weight"], ["stem"]]


def test_what_chooses_boxes_is_found_only_before_the_ends(tmp_path: Path) -> None:
    graph = made(tmp_path, "best, places = TopK (logits, k) shown = Relu (best)")
    assert selecting_operator(graph, ["logits"]) is None
    assert selecting_operator(graph, ["shown"]) == "TopK"


@pytest.mark.parametrize("damage", [lambda d: d[:-3], lambda d: d + b"\x3a\xff\x01", lambda d: d + b"\x0f"])
def test_a_damaged_graph_is_a_value_error(damage: object, tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(ValueError, match="it "):
        parse_graph(damage((tmp_path / "g.onnx").read_bytes()))  # type: ignore[operator]


def test_the_demos_layers_begin_with_its_classes() -> None:
    graph = parse_graph((DATA / "signs" / "forward.onnx").read_bytes())
    layers = names_of(graph, *(node.outputs[0] for node in graph.nodes if "retina_cls" in node.outputs[0]))
    assert layers[:2] == [["bbox_head.retina_cls.weight"], ["bbox_head.cls_convs.0.conv.weight"]]
    assert not any("reg" in name for layer in layers for name in layer)
    assert len(layers) == 22


# Copies


def test_the_order_of_a_copy_is_found() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((5, 4, 3, 3)).astype(np.float32)
    weight[0, 0, 0, 0] = weight[4, 3, 2, 2]  # two that are equal
    other = rng.standard_normal(weight.shape).astype(np.float32)
    for copy in (
        lambda w: w,
        lambda w: w.transpose(1, 0, 2, 3),
        lambda w: w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3),
        lambda w: w.transpose(2, 3, 0, 1).reshape(45, 4),
    ):
        index = order_of(copy(weight), weight)
        assert index is not None
        assert np.array_equal(other.ravel()[index], copy(other).ravel())
    groups = lambda w: w.reshape(2, 10, 9)[:, ::-1].copy()  # noqa: E731 - no order of axes
    assert order_of(groups(weight), weight) is None  # which of the equal ones is which cannot be told
    index = order_of(groups(other), other)
    assert index is not None
    assert np.array_equal(weight.ravel()[index], groups(weight).ravel())
    assert order_of(other, weight) is None
    assert order_of(weight[1:], weight) is None
    found = find_copy(other.T, [weight, other])
    assert found is not None
    assert found[0] == 1
    assert find_copy(other * 2, [weight, other]) is None


def test_grids_and_masks_were_not_learned() -> None:
    assert not is_learned(np.repeat([0.0, 1], 400))
    assert not is_learned(np.arange(400, dtype=np.float32) * 8 + 4)
    assert not is_learned(np.tile(np.linspace(0, 1, 50, dtype=np.float32), 8))
    assert is_learned(np.random.default_rng(0).standard_normal(400))
