"""Held values: no gradient passes them, in the gradient graph, the score graph, the torch module, and a replay."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torchvision.ops import roi_align

from boxcam.errors import ExportError
from boxcam.export.autodiff import gradient
from boxcam.export.graphs.dependency import differentiable_inputs
from boxcam.export.graphs.extract import add_output, clone_model
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, record_ranks, run_model, serialized
from boxcam.export.passes.stop_gradient import hold, is_stop
from boxcam.export.trace.stages import proposals
from boxcam.export.verify.replay import Replay
from boxcam.runtime.engines import OnnxEngine
from boxcam.runtime.tensors import Tensors
from tests.export.export_graphs import Arrays, Net
from tests.export.heads import LayerGradient, assert_gradient_graph, embedded, finished, weights

CHANNELS, HEIGHT, WIDTH, ROIS, POOL = 3, 6, 8, 3, 2
ANCHORS = np.float32([[0.6, 0.7, 4.1, 3.9], [2.2, 1.4, 6.3, 4.8], [1.1, 0.3, 5.2, 4.4]])
CELLS = np.array([9, 20, 34])  # where the proposals are predicted
STAGES = ("first", "second")


def written(outputs: tuple[str, ...] = ("classes", "sides"), mask: bool = False) -> ir.Model:
    """A cascade: proposals by a convolution, then two stages, each of which refines the boxes of the one before."""
    net = Net()
    f = net.node("Mul", [net.input("x", (1, CHANNELS, HEIGHT, WIDTH)), np.float32(1.5)], name="f")[0]
    deltas = net.Conv(f, weights("rpn", 4, CHANNELS, 1, 1), weights("rpn.bias", 4))
    rows = net.Reshape(net.Transpose(deltas, perm=[0, 2, 3, 1]), np.array([-1, 4]))
    boxes = net.node("Add", [net.Gather(rows, CELLS), ANCHORS], name="proposals")[0]
    for stage in STAGES:
        rois = net.Concat(np.zeros((ROIS, 1)), boxes, axis=1)
        corners = net.Slice(rois, np.array([1]), np.array([5]), np.array([1]))
        pooled = net.RoiAlign(
            f,
            corners,
            np.zeros(ROIS, np.int64),
            output_height=POOL,
            output_width=POOL,
            sampling_ratio=2,
            spatial_scale=1.0,
            coordinate_transformation_mode="half_pixel",
        )
        flat = net.Relu(linear(net, net.Flatten(pooled), f"{stage}.a", 8, CHANNELS * POOL**2))
        classes = linear(net, flat, f"{stage}.class", 2, 8, name="classes" if stage == "second" else None)
        moved = net.Mul(linear(net, flat, f"{stage}.box", 4, 8), np.float32(0.3))
        boxes = net.node("Add", [boxes, moved], name="sides" if stage == "second" else "refined")[0]
    if mask:
        of_mask = net.RoiAlign(f, boxes, np.zeros(ROIS, np.int64), output_height=2, output_width=2)
        net.node("Sigmoid", [of_mask], name="mask")
    return fold_model(net.model([*outputs, *(["mask"] if mask else [])])) if classes else net.model([])


def linear(net: Net, x: str, key: str, out: int, width: int, name: str | None = None) -> str:
    return net.node("Gemm", [x, weights(key, out, width), weights(f"{key}.bias", out)], name=name, transB=1)[0]


X = np.random.default_rng(1).standard_normal((1, CHANNELS, HEIGHT, WIDTH)).astype(np.float32)


def by_torch(
    f: torch.Tensor, given: list[torch.Tensor] | None
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """The same detector, the proposals of each stage detached or given: classes, sides, these proposals."""

    def of(key: str, *shape: int) -> torch.Tensor:
        return torch.from_numpy(weights(key, *shape)).double()

    rows = torch.nn.functional.conv2d(f, of("rpn", 4, CHANNELS, 1, 1), of("rpn.bias", 4))
    boxes = rows.permute(0, 2, 3, 1).reshape(-1, 4)[torch.from_numpy(CELLS)] + torch.from_numpy(ANCHORS).double()
    held = []
    for number, stage in enumerate(STAGES):
        boxes = boxes.detach() if given is None else given[number]
        held.append(boxes)
        pooled = roi_align(f, [boxes], (POOL, POOL), 1.0, 2, aligned=True).flatten(1)
        flat = torch.relu(pooled @ of(f"{stage}.a", 8, CHANNELS * POOL**2).T + of(f"{stage}.a.bias", 8))
        classes = flat @ of(f"{stage}.class", 2, 8).T + of(f"{stage}.class.bias", 2)
        boxes = boxes + float(np.float32(0.3)) * (flat @ of(f"{stage}.box", 4, 8).T + of(f"{stage}.box.bias", 4))
    return classes, boxes, held


def held() -> LayerGradient:
    model = written()
    record_ranks(model, {"x": X})
    names = proposals(model.graph)
    hold(model, names)
    add_output(model.graph, next(v for v in all_values(model.graph) if v.name == "f"))
    return finished(model, {"x": X}, ["f"], ["classes", "sides"])


def truth() -> list[np.ndarray]:
    """The gradient by f of every class logit and side, by autograd in float64; differences confirm it."""
    f = (torch.from_numpy(X).double() * 1.5).requires_grad_(True)
    classes, sides, given = by_torch(f, None)
    found = [torch.autograd.grad(v, f, retain_graph=True)[0] for v in (*classes.flatten(), *sides.flatten())]
    direction = torch.from_numpy(np.random.default_rng(2).standard_normal(f.shape))
    with torch.no_grad():
        ends = [torch.cat([v.flatten() for v in by_torch(f + s * direction, given)[:2]]) for s in (1e-6, -1e-6)]
    slopes = (ends[0] - ends[1]) / 2e-6
    np.testing.assert_allclose(slopes, [(g * direction).sum().item() for g in found], rtol=1e-6, atol=1e-8)
    return [g.numpy() for g in found]


def test_the_proposals_of_each_stage_are_found() -> None:
    assert sorted(proposals(written().graph)) == ["proposals", "refined"]


def test_a_mask_that_reads_the_detections_does_not_count() -> None:
    model = written(mask=True)
    assert sorted(proposals(model.graph)) == ["proposals", "refined", "sides"]
    assert sorted(proposals(model.graph, ["classes", "sides"])) == ["proposals", "refined"]


def test_a_detector_without_proposals_has_none() -> None:
    net = Net()
    net.node("Relu", [net.input("x", (1, 2))], name="y")
    assert proposals(net.model(["y"]).graph) == []


def test_sides_and_classes_are_differentiated_through_the_pooled_features_alone() -> None:
    made, expected = held(), truth()
    assert_gradient_graph(made, made.positions(), [[g] for g in expected], ["f"])
    assert min(float(np.abs(g).max()) for g in expected) > 1e-3


def test_the_torch_module_holds_the_same() -> None:
    made, expected = held(), truth()
    origin = made.positions()
    module = made.module(origin).double()
    features, context = made.inputs(torch.float64)
    with torch.jit.optimized_execution(False):
        patches, places, _ = module(features, context, torch.from_numpy(origin))
    for patch, place, gradient_ in zip(patches, places.tolist(), expected, strict=True):
        whole, _ = embedded(patch.numpy(), place, gradient_.shape)
        np.testing.assert_allclose(whole, gradient_, atol=1e-6, rtol=0)


def test_a_replay_holds_the_same() -> None:
    """Sides with the features moved, the proposals of both stages as they were."""
    made = held()
    moved = made.found["f"] + np.random.default_rng(3).normal(0, 0.3, made.found["f"].shape).astype(np.float32)
    found = Replay(made.model, ["f"], ["classes", "sides"], {"x": X})({"f": moved})
    f = torch.from_numpy(made.found["f"]).double()
    given = by_torch(f, None)[2]
    for name, expected in zip(("classes", "sides"), by_torch(torch.from_numpy(moved).double(), given), strict=False):
        np.testing.assert_allclose(found[name], expected, atol=1e-5)


def test_without_stops_the_proposals_move_along() -> None:
    """The test above could not fail if nothing were held: the way by the first proposals matters."""
    model = written()
    record_ranks(model, {"x": X})
    add_output(model.graph, next(v for v in all_values(model.graph) if v.name == "f"))
    made = finished(model, {"x": X}, ["f"], ["classes", "sides"])
    with pytest.raises(AssertionError):
        assert_gradient_graph(made, made.positions(), [[g] for g in truth()], ["f"], (False,))


# Worked out by hand -----------------------------------------------------------------------------------------------


def test_what_is_held_counts_as_given() -> None:
    """y = p² + p·f with p = 3f: of a held p, dy/df = p = 6 at f = 2; otherwise 2·9f + 6f = 48."""
    net = Net()
    f = net.node("Mul", [net.input("x", (1, 1, 1, 1)), np.float32(2)], name="f")[0]
    p = net.node("Mul", [f, np.float32(3)], name="p")[0]
    net.node("Add", [net.Mul(p, p), net.Mul(p, f)], name="y")
    model, feeds = net.model(["y", "f"]), {"x": np.ones((1, 1, 1, 1), np.float32)}
    assert slope(model, feeds) == 48
    hold(model, ["p"])
    assert slope(model, feeds) == 6


def slope(model: ir.Model, feeds: Arrays) -> float:
    graph = gradient.build(clone_model(model), ["y"], ["f"])
    values = {str(value.name): value for value in all_values(model.graph)}
    read = list(dict.fromkeys([*graph.inputs, "f"]))
    found = dict(zip(read, observe_values(model, [values[n] for n in read], feeds), strict=True))
    origin = np.array([[0, 0, 0, 0, 0]])
    ((patch,),) = OnnxEngine(serialized(graph.model)).patches(Tensors(found), ["f"], (), origin)
    return float(patch.gradient.sum()) + (0.0 if patch.uniform is None else float(patch.uniform.sum()))


def test_holding_leaves_the_numbers_and_the_outputs_as_they_are() -> None:
    model = written()
    before = run_model(model, {"x": X})
    hold(model, ["proposals", "refined", "sides", "proposals"])
    hold(model, ["refined"])
    after = run_model(model, {"x": X})
    assert list(after) == list(before)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])
    held_nodes = [node for node in model.graph if is_stop(node)]
    assert [node.inputs[0].name for node in held_nodes if node.inputs[0] is not None] == ["proposals", "refined"]
    assert all(differentiable_inputs(node) == [] for node in held_nodes)
    value = next(v for v in all_values(model.graph) if v.name == "proposals")
    assert [use.node for use in value.uses()] == held_nodes[:1]


def test_an_unknown_value_cannot_be_held() -> None:
    with pytest.raises(ExportError, match="no tensor 'rpn' at which"):
        hold(written(), ["rpn"])


def test_a_map_of_features_is_not_held_where_proposals_are_a_part_of_it() -> None:
    """Boxes straight out of a convolution that others read too: the part is held, and not the map."""
    net = Net()
    f = net.node("Mul", [net.input("x", (1, 2, 4, 4)), np.float32(1)], name="f")[0]
    raw = net.node("Conv", [f, weights("a", 4, 2, 1, 1)], name="raw")[0]
    rows = net.node("Reshape", [raw, np.array([4, 16])], name="rows")[0]
    boxes = net.Transpose(rows, perm=[1, 0])
    pooled = net.RoiAlign(f, boxes, np.zeros(16, np.int64), output_height=1, output_width=1)
    net.node("Relu", [pooled], name="pooled")
    net.node("Relu", [raw], name="classes")
    assert proposals(net.model(["pooled", "classes"]).graph) == ["rows"]


def test_scores_beside_the_proposals_are_not_held() -> None:
    """mmdet's proposals carry their scores in a fifth column until they are pooled."""
    net = Net()
    f = net.node("Mul", [net.input("x", (1, 2, 4, 4)), np.float32(1)], name="f")[0]
    rows = net.Transpose(net.Reshape(f, np.array([2, 16])), perm=[1, 0])
    boxes = net.node("Add", [net.Concat(rows, rows, axis=1), np.float32([0, 0, 2, 2])], name="boxes")[0]
    scores = net.node("Sigmoid", [net.Slice(rows, np.array([0]), np.array([1]), np.array([1]))], name="scores")[0]
    joined = net.Gather(net.Concat(boxes, scores, axis=1), np.array([3, 1]), axis=0)
    corners = net.Slice(joined, np.array([0]), np.array([4]), np.array([1]))
    net.node("RoiAlign", [f, corners, np.zeros(2, np.int64)], name="pooled", output_height=1, output_width=1)
    model = net.model(["pooled"])
    assert proposals(model.graph) == ["boxes"]
    open_rank = next(v for v in all_values(model.graph) if v.name == joined)
    open_rank.shape = None
    assert sorted(proposals(model.graph)) == ["boxes", "scores"]  # more than needed, where ranks are not known
