"""ONNX gradients through necks of many kinds: in blocks and on whole maps, each against float64 autograd.

`heads.assert_gradient_graph` holds all heads of the other tests against the same truth; here are those whose gradients
move between maps of different sizes, and what the form of a gradient is said to be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from boxcam.export.autodiff import gradient
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, serialized
from boxcam.runtime.engines import OnnxEngine
from boxcam.runtime.tensors import Tensors
from tests.export.autodiff.necks import CLASSES, case, head_of, strided
from tests.export.export_graphs import Net
from tests.export.heads import LayerGradient, OnnxSide, assert_gradient_graph, built, finished, whole_map_gradients


@pytest.mark.parametrize("name", case.all)
def test_the_gradient_is_that_of_the_whole_map(name: str) -> None:
    this = case.all[name]
    made = built(this.head, this.shapes, this.layer)
    layer = tuple(range(len(this.shapes))) if this.layer is None else this.layer
    maps = [made.feeds[f"x{n}"] * np.float32(1.5) for n in range(len(this.shapes))]
    positions = made.positions()
    corners = np.concatenate([np.flatnonzero(positions[:, 0] == n)[[0, -1]] for n in range(len(made.logits))])
    drawn = np.random.default_rng(0).permutation(len(positions))[:24]
    origin = positions[np.unique(np.concatenate([corners, drawn]))]
    gradients = whole_map_gradients(this.head, maps, layer, origin)[1]
    assert_gradient_graph(made, origin, gradients, [f"f{n}" for n in layer])
    graph = gradient.build(made.model, made.logits, made.score.features)
    assert graph.form == this.form
    assert bool(graph.reason) == (this.form == "whole")
    assert gradient.build(made.model, made.logits, made.score.features, local=False).form == "whole"


def running(name: str, layer: tuple[int, ...] | None = None) -> tuple[LayerGradient, OnnxEngine, Tensors]:
    """A case, an engine of its gradient, and the values that it reads."""
    this = case.all[name]
    made = built(this.head, this.shapes, layer)
    graph = gradient.build(made.model, made.logits, made.score.features)
    by_name = {str(value.name): value for value in all_values(made.model.graph)}
    names = list(dict.fromkeys([*graph.inputs, *made.score.features]))
    values = observe_values(made.model, [by_name[n] for n in names], made.feeds)
    return made, OnnxEngine(serialized(graph.model)), Tensors(dict(zip(names, values, strict=True)))


def test_windows_are_as_large_as_what_a_logit_sees_and_no_larger() -> None:
    """Worked out by hand: the head and the convolution behind the sum see 7 cells, which touch 4 of half the size and
    these 3 of a quarter.
    """

    def head(s: Any, fine: Any, middle: Any, coarse: Any) -> list[Any]:
        mid = s.add(s.conv(middle, "l2", (3, 3, 1, 1)), s.up(s.conv(coarse, "l3", (3, 4, 1, 1)), (24, 32)))
        high = s.add(s.conv(fine, "l1", (3, 2, 1, 1)), s.up(mid, (48, 64)))
        return [head_of(s, s.conv(x, "smooth", (3, 3, 3, 3))) for x in (high, mid)]

    made = built(head, [(1, 2, 48, 64), (1, 3, 24, 32), (1, 4, 12, 16)], (2,))
    graph = gradient.build(made.model, made.logits, made.score.features)
    by_name = {str(value.name): value for value in all_values(made.model.graph)}
    names = list(dict.fromkeys([*graph.inputs, *made.score.features]))
    values = Tensors(dict(zip(names, observe_values(made.model, [by_name[n] for n in names], made.feeds), strict=True)))
    origin = np.array([[0, 0, 1, 20, 31], [1, 0, 0, 11, 9]], np.int64)
    found = OnnxEngine(serialized(graph.model)).patches(values, made.score.features, (), origin)
    assert [patch.gradient.shape for (patch,) in found] == [(4, 3, 3), (4, 4, 4)]
    assert graph.field == 4
    strided_once = built(strided, [(1, 2, 40, 40)])  # 3 cells, 2 apart, each of which sees 3
    assert gradient.build(strided_once.model, strided_once.logits, ["f0"]).field == 7


def test_no_box_and_boxes_of_one_level_only() -> None:
    made, engine, values = running("pyramid_by_all_stages")
    origin = made.positions()
    assert engine.patches(values, made.score.features, (), origin[:0]) == []
    every = engine.patches(values, made.score.features, (), origin)
    for number in range(3):
        mine = np.flatnonzero(origin[:, 0] == number)[:5]
        for of, box in zip(engine.patches(values, made.score.features, (), origin[mine]), mine, strict=True):
            assert len(of) == len(every[box]) == 3 - number  # what it depends on
            for patch, same in zip(of, every[box], strict=True):
                assert (patch.tensor, patch.corner) == (same.tensor, same.corner)
                np.testing.assert_allclose(patch.gradient, same.gradient, atol=1e-6)


def test_a_box_that_does_not_depend_on_the_layer_has_no_patch() -> None:
    """The coarsest level's logits do not depend on the finest stage."""
    made, engine, values = running("pyramid_by_all_stages", (0,))
    origin = made.positions()[::9]
    for of, row in zip(engine.patches(values, made.score.features, (), origin), origin, strict=True):
        assert len(of) == (row[0] == 0)


def test_saved_tensors_are_what_masks_need_and_no_more() -> None:
    """Of a head with two rectified convolutions the two activations; a gated one is computed anew from its input."""
    net = Net()
    side = OnnxSide(net)
    feature = net.node("Mul", [net.input("x", (1, 2, 6, 7)), np.float32(1.5)], name="f0")[0]
    first = net.node("Relu", [side.conv(feature, "a", (3, 2, 3, 3))], name="mask")[0]
    inner = side.conv(first, "b", (3, 3, 3, 3), name="inner")
    logits = side.conv(side.silu(inner), "c", (CLASSES, 3, 3, 3), name="logits")
    feed = {"x": np.random.default_rng(1).standard_normal((1, 2, 6, 7)).astype(np.float32)}
    made = finished(fold_model(net.model([feature, logits])), feed, ["f0"], ["logits"])
    assert set(gradient.build(made.model, ["logits"], ["f0"]).inputs) == {"mask", "inner"}


@pytest.mark.parametrize("simpler", [True, False])
def test_whole_maps_from_the_beginning_where_blocks_take_many_nodes(
    simpler: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = case.all["normalised_in_groups"]
    made = built(this.head, this.shapes)
    whole = gradient.build(made.model, made.logits, made.score.features, local=False)
    blocks = gradient.build(made.model, made.logits, made.score.features)
    monkeypatch.setattr(gradient, "_MANY_NODES", 1)
    monkeypatch.setattr(gradient, "_FEW_TIMES", 0 if simpler else 1000)
    graph = gradient.build(made.model, made.logits, made.score.features)
    chosen = whole if simpler else blocks
    assert [node.op_type for node in graph.model.graph] == [node.op_type for node in chosen.model.graph]
    assert (graph.form, graph.reason) == ("whole", blocks.reason)
