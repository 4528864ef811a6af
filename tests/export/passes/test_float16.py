"""A graph in half precision and its float32 copy, and the way back, against numpy and by running both."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from boxcam.errors import ExportError
from boxcam.export.graphs.extract import add_output
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import all_values, find_value
from boxcam.export.graphs.run import open_session, run_model, serialized
from boxcam.export.passes import float16
from tests.export.export_graphs import Net, branch
from tests.export.heads import weights

F16, F32 = TensorProto.FLOAT16, TensorProto.FLOAT
EPSILON = 2.0**-11


def halved(name: str, *shape: int) -> np.ndarray:
    return weights(name, *shape).astype(np.float16)


def tensor(array: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(array)


def x_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float16)


# What each graph is in numpy, in float32, of x [2, 3].


def dense(net: Net, x: str) -> str:
    return net.Relu(net.Add(net.MatMul(x, halved("a", 3, 4)), halved("b", 4)))


def dense_numpy(x: np.ndarray) -> np.ndarray:
    return np.maximum(x @ halved("a", 3, 4).astype(np.float32) + halved("b", 4).astype(np.float32), 0)


def casts(net: Net, x: str) -> str:
    """To float32 and back, and by way of an integer."""
    whole = net.Cast(net.Cast(net.Mul(x, np.float16(4)), to=TensorProto.INT32), to=F16)
    return net.Add(net.Cast(net.Exp(net.Cast(x, to=F32)), to=F16), whole)


def casts_numpy(x: np.ndarray) -> np.ndarray:
    return np.exp(x) + (x * 4).astype(np.int32)


def made(net: Net, x: str) -> str:
    """Constants in attributes."""
    third = net.node("Constant", [], value=tensor(np.float16([1 / 3])))[0]
    filled = net.ConstantOfShape(net.Shape(x), value=tensor(np.float16([0.1])))
    return net.Mul(net.Add(x, filled), third)


def made_numpy(x: np.ndarray) -> np.ndarray:
    return (x + np.float32(np.float16(0.1))) * np.float32(np.float16(1 / 3))


def chosen(net: Net, x: str) -> str:
    """Branches with constants of their own, that read what is outside."""
    doubled = net.Mul(x, np.float16(2))
    positive = net.Greater(net.ReduceSum(x, keepdims=0), np.float16(0))
    then = branch(lambda inner: inner.Mul(doubled, np.float16(0.3)), net, F16)
    other = branch(lambda inner: inner.Mul(inner.Neg(doubled), np.float16(0.7)), net, F16)
    return net.Add(net.If(positive, then_branch=then, else_branch=other), x)


def chosen_numpy(x: np.ndarray) -> np.ndarray:
    return x + 2 * x * (np.float32(np.float16(0.3)) if x.sum() > 0 else -np.float32(np.float16(0.7)))


GRAPHS: dict[str, tuple[Callable[[Net, str], str], Callable[[np.ndarray], np.ndarray]]] = {
    "dense": (dense, dense_numpy),
    "casts": (casts, casts_numpy),
    "made": (made, made_numpy),
    "chosen": (chosen, chosen_numpy),
}


def model_of(name: str) -> ir.Model:
    net = Net(18)
    y = net.node("Identity", [GRAPHS[name][0](net, net.input("x", (2, 3), F16))], name="y")[0]
    return net.model({y: F16})


def dtypes(model: ir.Model) -> set[ir.DataType]:
    """Of everything in a model, attributes and subgraphs included, from its file."""
    found: set[int] = set()

    def of(proto: onnx.GraphProto) -> None:
        found.update(v.type.tensor_type.elem_type for v in (*proto.input, *proto.output, *proto.value_info))
        found.update(t.data_type for t in proto.initializer)
        for node in proto.node:
            for attribute in node.attribute:
                if attribute.name in ("to", "dtype"):
                    found.add(attribute.i)
                if attribute.HasField("t"):
                    found.add(attribute.t.data_type)
                if attribute.HasField("g"):
                    of(attribute.g)

    of(ir.to_proto(model).graph)
    return {ir.DataType(number) for number in found if number}


def check(model: ir.Model) -> None:
    """That no operator gets types that it does not take."""
    onnx.shape_inference.infer_shapes(ir.to_proto(model), check_type=True, strict_mode=True)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_widened_graph_is_the_same_in_float32(name: str) -> None:
    model = model_of(name)
    before = serialized(model)
    wide = float16.widened(model)
    assert serialized(model) == before  # types are shared by copies
    assert ir.DataType.FLOAT16 in dtypes(model)
    assert ir.DataType.FLOAT16 not in dtypes(wide)
    assert [v.name for v in all_values(wide.graph)] == [v.name for v in all_values(model.graph)]
    check(wide)
    for x in (x_of(2, 3), -x_of(2, 3)):
        found = run_model(wide, {"x": x.astype(np.float32)})["y"]
        assert found.dtype == np.float32
        expected = GRAPHS[name][1](x.astype(np.float32))
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
        rounded = run_model(model, {"x": x})["y"]
        assert rounded.dtype == np.float16
        assert rounded == pytest.approx(expected, rel=8 * EPSILON, abs=8 * EPSILON)
        assert not np.array_equal(rounded, found)  # or nothing was shown


@pytest.mark.parametrize("name", GRAPHS)
def test_what_was_widened_is_narrowed_again(name: str) -> None:
    """Through the fold, with more outputs, and with operators of boxcam's behind a value."""
    model = model_of(name)
    known = float16.types(model)
    inside = next(v.name for v in model.graph.outputs[0].producer().inputs)
    work = float16.widened(model)
    add_output(work.graph, find_value(work.graph, inside))
    work = fold_model(work)
    ours = Ops(work.graph, "boxcam").Mul(find_value(work.graph, inside), np.float32(3))
    ours.name = "ours"
    work.graph.outputs.append(ours)
    float16.narrow(work, known)
    proto = ir.to_proto(work)
    check(work)
    inputs = {v.name: v.type.tensor_type.elem_type for v in proto.graph.input}
    outputs = {v.name: v.type.tensor_type.elem_type for v in proto.graph.output}
    assert inputs == {"x": F16}
    assert set(outputs) == {"y", inside, "ours"}
    x = x_of(2, 3)
    found = run_model(work, {"x": x})
    expected = GRAPHS[name][1](x.astype(np.float32))
    for output, factor in (("y", 1), (inside, 1), ("ours", 3)):
        assert found[output].dtype == np.float32
        assert found[output] == pytest.approx(factor * expected, rel=8 * EPSILON, abs=8 * EPSILON)


def types_of(model: ir.Model) -> dict[str, str]:
    """The type that each node reads first, by operator and its output, as ONNX infers it."""
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(model), strict_mode=True)
    values = (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)
    infos = {v.name: v.type.tensor_type.elem_type for v in values}
    infos |= {v.name: v.data_type for v in proto.graph.initializer}
    return {node.op_type: TensorProto.DataType.Name(infos[node.input[0]]) for node in proto.graph.node}


def test_what_computed_in_float16_does_so_again() -> None:
    """The input was float32, the scores were made so before TopK; the weights are stored in float16."""
    net = Net(18)
    image = net.input("image", (1, 3, 4, 4))
    cast = net.Cast(image, to=F16)
    feature = net.node("Conv", [cast, halved("w", 2, 3, 1, 1)], name="feature")[0]
    scores = net.Cast(net.Sigmoid(net.Reshape(feature, np.array([-1]))), to=F32)
    best, index = net.node("TopK", [scores, np.array([3])], 2, name="best")
    kept = net.node("Greater", [feature, np.float16(0.3)], name="kept")[0]
    model = net.model({best: F32, index: TensorProto.INT64, kept: TensorProto.BOOL})
    work = float16.widened(model)
    add_output(work.graph, find_value(work.graph, "feature"))
    work = fold_model(work)
    assert "FLOAT16" not in types_of(work).values()
    float16.narrow(work, float16.types(model))
    found = types_of(work)
    assert {kind: found[kind] for kind in ("Conv", "Reshape", "Sigmoid", "TopK", "Greater")} == {
        "Conv": "FLOAT16",
        "Reshape": "FLOAT16",
        "Sigmoid": "FLOAT16",
        "Greater": "FLOAT16",
        "TopK": "FLOAT",
    }
    constants = {str(v.dtype) for v in work.graph.initializers.values()}
    assert constants == {"FLOAT16", "INT64"}
    x = np.random.default_rng(1).normal(size=(1, 3, 4, 4)).astype(np.float32)
    ours, theirs = run_model(work, {"image": x}), run_model(model, {"image": x})
    assert ours["feature"].dtype == np.float32
    exact = np.einsum("oc,nchw->nohw", halved("w", 2, 3, 1, 1)[:, :, 0, 0].astype(np.float32), x)
    assert ours["feature"] == pytest.approx(exact, rel=4 * EPSILON, abs=4 * EPSILON)
    assert np.array_equal(ours[index], theirs[index])
    assert np.array_equal(ours["kept"], theirs["kept"])
    assert ours["best"] == pytest.approx(theirs["best"], abs=EPSILON)


def test_what_needs_float32_gets_it() -> None:
    """NonMaxSuppression knows nothing else; Resize has scales that are float32 beside any image."""
    net = Net(18)
    x = net.input("x", (1, 1, 2, 2), F16)
    larger = net.node("Resize", [x, None, np.float32([1, 1, 2, 2])], mode="nearest", name="larger")[0]
    boxes = net.Cast(net.Reshape(larger, np.array([1, 4, 4])), to=F32)
    scores = net.Cast(net.Reshape(x, np.array([1, 1, 4])), to=F32)
    picked = net.node("NonMaxSuppression", [boxes, scores, np.array([4]), np.float32(0.5)], name="picked")[0]
    model = net.model({larger: F16, picked: TensorProto.INT64})
    work = fold_model(float16.widened(model))
    float16.narrow(work, float16.types(model))
    check(work)
    given = np.float16([[[[0.1, 0.2], [3.3, 4.4]]]])
    ours, theirs = run_model(work, {"x": given}), run_model(model, {"x": given})
    assert np.array_equal(ours["picked"], theirs["picked"])
    assert np.array_equal(ours["larger"], theirs["larger"].astype(np.float32))
    assert types_of(work)["Resize"] == "FLOAT16"


def test_bfloat16_is_widened_too() -> None:
    weight = weights("a", 3, 4).astype(ml_dtypes.bfloat16)
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.BFLOAT16), shape=ir.Shape([2, 3]))
    w = ir.Value(name="w", const_value=ir.tensor(weight, name="w"), type=ir.TensorType(ir.DataType.BFLOAT16))
    node = ir.node("MatMul", [x, w])
    node.outputs[0].name, node.outputs[0].dtype = "y", ir.DataType.BFLOAT16
    model = ir.Model(ir.Graph([x], node.outputs, nodes=[node], initializers=[w], opset_imports={"": 18}), ir_version=9)
    given = x_of(2, 3).astype(np.float32)
    found = run_model(float16.widened(model), {"x": given})["y"]
    assert found == pytest.approx(given @ weight.astype(np.float32), rel=1e-6)


@pytest.mark.parametrize(("name", "where"), [("dense", "x"), ("casts", "x")])
def test_what_computes_in_half_precision(name: str, where: str) -> None:
    assert float16.computed_in(model_of(name), "x", ir.DataType.FLOAT16) == where
    assert float16.computed_in(float16.widened(model_of(name)), "x", ir.DataType.FLOAT16) is None


def test_stored_weights_are_no_computation() -> None:
    net = Net()
    x = net.input("x", (1, 2))
    plain = net.Mul(x, net.Cast(halved("a", 2), to=F32))
    assert float16.computed_in(net.model([plain]), "x", ir.DataType.FLOAT16) is None
    smaller = net.node("Cast", [plain], to=F16, name="smaller")[0]
    assert float16.computed_in(net.model({smaller: F16}), "x", ir.DataType.FLOAT16) == "Cast (node_smaller)"


def test_a_loops_body_reads_what_was_made_float32_for_it() -> None:
    net = Net(18)
    x = net.input("x", (2,), F16)
    doubled = net.Mul(x, np.float16(2))
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["carried", doubled], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", F16, [2]),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("next", F16, [2])],
    )
    y = net.node("Loop", [np.array(3), None, x], body=body, name="y")[0]
    z = net.node("Neg", [y], name="z")[0]
    model = net.model({z: F16})
    work = float16.widened(model)
    float16.narrow(work, float16.types(model))
    check(work)
    given = np.float16([1, -3])
    assert run_model(work, {"x": given})["z"].tolist() == [-7, 21] == run_model(model, {"x": given})["z"].tolist()


def test_what_runs_in_float32_only_is_refused() -> None:
    net = Net(18)
    boxes = net.input("boxes", (1, 4, 4), F16)
    picked = net.node("NonMaxSuppression", [boxes, net.input("scores", (1, 1, 4)), np.array([4])], name="picked")[0]
    model = ir.from_proto(net.proto({picked: TensorProto.INT64}))
    open_session(float16.widened(model))
    with pytest.raises(ExportError, match=r"cannot run the float16 model on the CPU \(.*\. Export it in float32"):
        float16.check_runs(model)
    float16.check_runs(model_of("dense"))
