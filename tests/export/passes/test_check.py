"""Graphs that no gradient can be had of: each is refused in a line that says what is wrong, where, and what to do."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import onnx as reference
import onnx_ir as ir
import pytest
from onnx import TensorProto

from boxcam.bundle import Preprocess
from boxcam.errors import ExportError, UnsupportedOperatorError
from boxcam.export.autodiff import gradient
from boxcam.export.autodiff.vjp import vjp
from boxcam.export.graphs.query import all_values
from boxcam.export.passes.check import check_input, check_operators, check_path, check_precision
from tests.export.export_graphs import Net, branch
from tests.export.heads import weights

Build = Callable[[Net, str], str]
_QUANTIZED = (
    "the model is quantized in QOperator format ({}), and integers have no gradient. Export its float form, or its QDQ"
    " form (QuantizeLinear and DequantizeLinear around float operators)."
)


def path(build: Build, opset: int = 18) -> ir.Model:
    """A graph with something between ``feature`` and ``logits``."""
    net = Net(opset)
    feature = net.node("Mul", [net.input("x", (1, 2, 6, 6)), np.float32(1.5)], name="feature")[0]
    logits = net.node("Conv", [build(net, feature), weights("a", 2, 2, 3, 3)], pads=[1] * 4, name="logits")[0]
    proto = net.proto([feature, logits])
    proto.opset_import.append(reference.helper.make_opsetid("com.microsoft", 1))
    model = ir.from_proto(reference.shape_inference.infer_shapes(proto, data_prop=True))
    for value in all_values(model.graph):
        value.shape = value.shape or ir.Shape([1, 2, 6, 6])
    return model


def message(model: ir.Model) -> str:
    """What the export says of it."""
    try:
        check_precision(model, "x")
        check_path(model, ["logits"], ["feature"])
        gradient.build(model, ["logits"], ["feature"])
    except UnsupportedOperatorError as error:
        return str(error)
    return ""


def conditional(net: Net, x: str) -> str:
    yes = net.input("yes", (), TensorProto.BOOL)
    then, other = branch(lambda inner: inner.Neg(x), net), branch(lambda inner: inner.Identity(x), net)
    return net.node("If", [yes], then_branch=then, else_branch=other, name="chosen")[0]


def looped(net: Net, x: str) -> str:
    body = reference.helper.make_graph(
        [
            reference.helper.make_node("Identity", ["go"], ["on"]),
            reference.helper.make_node("Neg", ["carried"], ["next"]),
        ],
        "body",
        [
            reference.helper.make_tensor_value_info("n", TensorProto.INT64, []),
            reference.helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            reference.helper.make_tensor_value_info("carried", TensorProto.FLOAT, [1, 2, 6, 6]),
        ],
        [
            reference.helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            reference.helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, 2, 6, 6]),
        ],
    )
    return net.node("Loop", [np.array(3), None, x], body=body, name="again")[0]


def integer_convolution(net: Net, x: str) -> str:
    scale, zero = np.float32(0.1), np.uint8(7)
    weight = np.ones((2, 2, 1, 1), np.uint8)
    quantized = net.QuantizeLinear(x, scale, zero)
    integers = net.node("QLinearConv", [quantized, scale, zero, weight, scale, zero, scale, zero], name="whole")[0]
    return net.DequantizeLinear(integers, scale, zero)


def dynamically_quantized(net: Net, x: str) -> str:
    quantized, scale, zero = net.node("DynamicQuantizeLinear", [x], 3, name="small")
    found = net.node("ConvInteger", [quantized, np.ones((2, 2, 1, 1), np.uint8), zero], name="whole")[0]
    return net.Mul(net.Cast(found, to=TensorProto.FLOAT), scale)


def half(net: Net, x: str) -> str:
    smaller = net.node("Cast", [x], to=TensorProto.BFLOAT16, name="smaller")[0]
    return net.Cast(net.Relu(smaller), to=TensorProto.FLOAT)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            lambda net, x: net.node(
                "ReverseSequence",
                [
                    x,
                    np.array([1, 2]),
                ],
                name="odd",
                batch_axis=1,
                time_axis=0,
            )[0],
            "ReverseSequence (node_odd), opset 18, lies between the layer and the scores, and has no gradient rule."
            " Choose a layer after it with layers=.",
        ),
        (
            lambda net, x: net.node("FusedThing", [x], domain="com.microsoft", name="odd")[0],
            "com.microsoft::FusedThing (node_odd), opset 18, lies between the layer and the scores, and has no"
            " gradient, as it is not a standard operator but one of com.microsoft. Choose a layer after it with"
            " layers=.",
        ),
        (
            conditional,
            "If (node_chosen), opset 18, lies between the layer and the scores, and runs a subgraph, which no"
            " gradient passes through. Choose a layer after it with layers=.",
        ),
        (
            looped,
            "Loop (node_again), opset 18, lies between the layer and the scores, and runs a subgraph, which no"
            " gradient passes through. Choose a layer after it with layers=.",
        ),
        (
            lambda net, x: net.Dropout(x, np.float32(0.5), np.array(True), name="random"),
            "Dropout (node_random), opset 18, lies between the layer and the scores, and it has training_mode set,"
            ' which makes it random. Choose a layer after it with layers=, or try engine="torchscript".',
        ),
        (
            integer_convolution,
            _QUANTIZED.format("QLinearConv (node_whole)"),
        ),
        (
            dynamically_quantized,
            _QUANTIZED.format("DynamicQuantizeLinear (node_small)"),
        ),
        (
            half,
            "the model computes in bfloat16 (Cast (node_smaller)), which ONNX Runtime does not run on every machine."
            " Export it in float32 or float16.",
        ),
    ],
)
def test_what_lies_on_the_path_is_refused(build: Build, expected: str) -> None:
    assert message(path(build)) == expected


def test_weights_in_half_precision_are_no_computation_in_it() -> None:
    net = Net()
    weight = net.Cast(weights("a", 2).astype(np.float16), to=TensorProto.FLOAT)
    check_precision(net.model([net.Mul(net.input("x", (1, 2)), weight)]), "x")


def test_what_lies_beside_the_path_does_not_matter() -> None:
    def build(net: Net, x: str) -> str:
        rounded = net.DequantizeLinear(
            net.node("DynamicQuantizeLinear", [net.input("other", (6,))], 3)[0], np.float32(0.1), np.uint8(0)
        )
        halved = net.Cast(net.Cast(rounded, to=TensorProto.BFLOAT16), to=TensorProto.FLOAT)
        return net.Add(x, halved)

    model = path(build)
    check_precision(model, "x")
    check_path(model, ["logits"], ["feature"])
    assert gradient.build(model, ["logits"], ["feature"]).form == "windows"


@pytest.mark.parametrize(
    ("operators", "expected"),
    [
        (["QLinearAdd"], r"quantized in QOperator format \(com.microsoft::QLinearAdd \(n0\)\).*float form, or its QDQ"),
        (
            ["Gelu", "FusedConv", "BiasAdd", "Rotary"],
            r"outside the ONNX standard: mmdeploy::BiasAdd \(n2\), mmdeploy::FusedConv \(n1\),"
            r" mmdeploy::Gelu \(n0\) and 1 more. Export it without them, or use the file from before an optimizer"
            " inserted them",
        ),
    ],
)
def test_operators_of_others_are_refused(operators: list[str], expected: str) -> None:
    domain = "com.microsoft" if operators == ["QLinearAdd"] else "mmdeploy"
    nodes = [ir.Node(domain, name, [], num_outputs=1, name=f"n{i}") for i, name in enumerate(operators)]
    model = ir.Model(ir.Graph([], [], nodes=nodes, opset_imports={"": 18, domain: 1}), ir_version=9)
    with pytest.raises(UnsupportedOperatorError, match=expected):
        check_operators(model)


_FITS = Preprocess(64, 64, 64, 64, "stretch", "top-left", (0, 0, 0), True, (0, 0, 0), (1, 1, 1), "RGB")


@pytest.mark.parametrize(
    ("shape", "dtype", "changes", "expected"),
    [
        ((1, 3, "h", "w"), "FLOAT", {}, "image [1, 3, ?, ?] has no fixed height and width. Fix them with shape="),
        ((1, 3, 64, "w"), "FLOAT", {}, "image [1, 3, 64, ?] has no fixed height and width. Fix them with shape="),
        ((1, 64, "w", 3), "FLOAT", {"layout": "NHWC"}, "image [1, 64, ?, 3] has no fixed height and width"),
        (
            (1, 3, 64, 64),
            "FLOAT16",
            {},
            "input image is float16, but an image is prepared as float32. Export the model with",
        ),
        ((1, 3, 64, 64), "UINT8", {}, "input image is uint8, but an image is prepared as float32"),
        ((1, 3, 64, 64), "DOUBLE", {}, "input image is double, but an image is prepared as float32"),
        ((1, 3, 64, 64), "BFLOAT16", {}, "computes in bfloat16 (its input image), which ONNX Runtime does not run"),
        ((1, 3, 32, 64), "FLOAT", {}, "image [1, 3, 32, 64] cannot take an image, which is prepared as [1, 3, 64, 64]"),
        ((1, 3, 64, 64), "FLOAT", {"layout": "NHWC"}, "cannot take an image, which is prepared as [1, 64, 64, 3]"),
        ((4, 3, 64, 64), "FLOAT", {}, "image [4, 3, 64, 64] cannot take an image"),
        ((3, 64, 64), "FLOAT", {}, "image [3, 64, 64] cannot take an image"),
        (("n", 3, 64, 64), "FLOAT", {}, None),
        ((1, 3, 64, 64), "FLOAT16", {"dtype": "float16"}, None),
        ((1, 64, 64, 3), "UINT8", {"dtype": "uint8", "layout": "NHWC"}, None),
    ],
)
def test_an_input_is_an_image_as_it_is_prepared(
    shape: tuple[int | str, ...], dtype: str, changes: dict[str, str], expected: str | None
) -> None:
    net, kind = Net(), TensorProto.DataType.Value(dtype)
    model = net.model({net.Identity(net.input("image", shape, kind)): kind})
    spec = dataclasses.replace(_FITS, **changes)
    if expected is None:
        check_input(model, "image", spec)
        return
    with pytest.raises(ExportError, match=re.escape(expected)):
        check_input(model, "image", spec)


# Sizes that are known only when the model runs, in the middle of the path


def cropped(net: Net, x: str) -> str:
    """To a width that is computed."""
    return net.node("Slice", [x, np.array([0]), net.input("end", (1,), TensorProto.INT64), np.array([3])], name="part")[
        0
    ]


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (
            lambda net, x: net.AveragePool(x, kernel_shape=[2, 2]),
            r"AveragePool \(node_\w+\), opset 18, .* the size of its maps, part \[1, 2, 6, \?\], is not known before",
        ),
        (
            lambda net, x: net.Resize(x, None, np.float32([1, 1, 2, 2]), mode="linear"),
            r"Resize \(node_\w+\), opset 18, .* the size of its maps, part \[1, 2, 6, \?\], is not known before",
        ),
    ],
)
def test_a_size_that_is_not_known_is_refused_by_name(behind: Build, expected: str) -> None:
    net = Net()
    feature = net.node("Mul", [net.input("x", (1, 2, 6, 6)), np.float32(1.5)], name="feature")[0]
    logits = net.node("Neg", [behind(net, cropped(net, feature))], name="logits")[0]
    model = net.model([feature, logits])
    values = {value.name: value for value in all_values(model.graph)}
    values["part"].shape = ir.Shape([1, 2, 6, None])
    for value in values.values():
        value.shape = value.shape or ir.Shape([1, 2, None, None])
    with pytest.raises(UnsupportedOperatorError, match=expected):
        gradient.build(model, ["logits"], ["feature"])


def test_an_unknown_rank_is_refused_in_words() -> None:
    net = Net()
    x = net.input("x", (1, 2, 6, 6))
    y = net.node("Reshape", [x, net.input("shape", ("n",), TensorProto.INT64)], name="y")[0]
    z = net.node("Neg", [y], name="z")[0]
    model = net.model([z])
    with pytest.raises(
        UnsupportedOperatorError, match=r"the rank of z is not known\. Export the model with the shapes of its values"
    ):
        vjp(model, "z", ["x"])
    values = {value.name: value for value in all_values(model.graph)}
    values["z"].shape = ir.Shape([1, 72])
    with pytest.raises(
        UnsupportedOperatorError, match=r"the rank of y is not known before the model runs\. Choose a layer"
    ):
        vjp(model, "z", ["x"])
