"""ONNX gradients through necks of many kinds: in blocks and on whole maps, each against float64 autograd.

`heads.assert_gradient_graph` holds all heads of the other tests against the same truth; here are those whose gradients
move between maps of different sizes, and what the form of a gradient is said to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from boxcam.export.autodiff import gradient
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, serialized
from boxcam.runtime.engines import OnnxEngine
from boxcam.runtime.tensors import Tensors
from tests.export.export_graphs import Net
from tests.export.heads import (
    Head,
    LayerGradient,
    OnnxSide,
    assert_gradient_graph,
    built,
    finished,
    whole_map_gradients,
)

CLASSES = 2


@dataclass(frozen=True)
class Case:
    """A head on feature maps, which of them are the layer, and the form that its gradient has to have."""

    head: Head
    shapes: tuple[tuple[int, ...], ...]
    layer: tuple[int, ...] | None = None
    form: str = "windows"


@dataclass
class Cases:
    all: dict[str, Case] = field(default_factory=dict)

    def __call__(self, *shapes: tuple[int, int, int, int], **options: Any) -> Callable[[Head], Head]:
        def put(head: Head) -> Head:
            assert head.__name__ not in self.all
            self.all[head.__name__] = Case(head, shapes, **options)
            return head

        return put


case = Cases()
FINE, MIDDLE, COARSE = (1, 2, 12, 16), (1, 3, 6, 8), (1, 4, 3, 4)


def head_of(s: Any, x: Any, key: str = "head") -> Any:
    return s.conv(s.relu(s.conv(x, f"{key}.a", (3, 3, 3, 3))), f"{key}.b", (CLASSES, 3, 3, 3))


@case((1, 2, 9, 11))
def strided(s: Any, x: Any) -> list[Any]:
    return [s.conv(s.relu(s.conv(x, "a", (3, 2, 3, 3), stride=2)), "b", (CLASSES, 3, 3, 3))]


@case((1, 2, 12, 14))
def strided_twice(s: Any, x: Any) -> list[Any]:
    x = s.silu(s.conv(x, "a", (3, 2, 3, 3), stride=2))
    return [s.conv(s.conv(x, "b", (3, 3, 1, 1), stride=2), "c", (CLASSES, 3, 3, 3))]


@case((1, 4, 9, 9))
def strided_in_groups(s: Any, x: Any) -> list[Any]:
    x = s.relu(s.conv(x, "a", (4, 1, 3, 3), stride=2, group=4))
    return [s.conv(x, "b", (CLASSES, 4, 3, 3))]


def top_down(s: Any, fine: Any, middle: Any, coarse: Any) -> list[Any]:
    low = s.conv(coarse, "l3", (3, 4, 1, 1))
    mid = s.add(s.conv(middle, "l2", (3, 3, 1, 1)), s.up(low, (6, 8)))
    high = s.add(s.conv(fine, "l1", (3, 2, 1, 1)), s.up(mid, (12, 16)))
    return [s.conv(x, f"smooth{n}", (3, 3, 3, 3)) for n, x in enumerate((high, mid, low))]


@case(FINE, MIDDLE, COARSE, layer=(2,))
def pyramid_by_its_coarsest_stage(s: Any, *stages: Any) -> list[Any]:
    levels = top_down(s, *stages)
    more = s.conv(levels[-1], "p6", (3, 3, 3, 3), stride=2)
    return [head_of(s, x) for x in (*levels, more)]


@case(FINE, MIDDLE, COARSE, layer=(1,))
def pyramid_by_a_stage_in_the_middle(s: Any, *stages: Any) -> list[Any]:
    return [head_of(s, x) for x in top_down(s, *stages)[:2]]


@case(FINE, MIDDLE, COARSE)
def pyramid_by_all_stages(s: Any, *stages: Any) -> list[Any]:
    return [head_of(s, x) for x in top_down(s, *stages)]


@case(FINE, MIDDLE, COARSE, layer=(2,))
def path_aggregation(s: Any, *stages: Any) -> list[Any]:
    """Down and up again: a value has readers at several sizes, whose windows begin at unrelated cells."""
    high, mid, low = (s.silu(x) for x in top_down(s, *stages))
    mid = s.conv(s.cat(mid, s.conv(high, "d1", (2, 3, 3, 3), stride=2)), "c1", (3, 5, 1, 1))
    low = s.conv(s.cat(low, s.conv(mid, "d2", (2, 3, 3, 3), stride=2)), "c2", (3, 5, 3, 3))
    return [head_of(s, x) for x in (high, mid, low)]


@case((1, 2, 12, 16), (1, 3, 5, 7), layer=(1,))
def enlarged_linearly(s: Any, fine: Any, coarse: Any) -> list[Any]:
    joined = s.cat(fine, s.zoom(s.relu(s.conv(coarse, "a", (3, 3, 3, 3))), (12, 16)))
    return [head_of(s, s.conv(joined, "b", (3, 5, 1, 1)))]


@case((1, 2, 12, 16))
def made_smaller_linearly(s: Any, x: Any) -> list[Any]:
    return [head_of(s, s.zoom(s.relu(s.conv(x, "a", (3, 2, 3, 3))), (5, 7)))]


@case((1, 4, 10, 9))
def maxima(s: Any, x: Any) -> list[Any]:
    """A spatial pyramid pooling as in YOLO."""
    x = s.silu(s.conv(x, "a", (3, 4, 1, 1)))
    first = s.maxpool(x, 3, 1)
    return [s.conv(s.cat(x, first, s.maxpool(first, 3, 1)), "b", (CLASSES, 9, 3, 3))]


@case((1, 3, 11, 9))
def maxima_with_a_stride(s: Any, x: Any) -> list[Any]:
    return [head_of(s, s.maxpool(x, 3, 2))]


@case((1, 4, 10, 9))
def split_channels(s: Any, x: Any) -> list[Any]:
    """A cross-stage partial block."""
    left, right = s.halves(s.silu(s.conv(x, "a", (6, 4, 1, 1))), 3)
    right = s.add(right, s.silu(s.conv(right, "b", (3, 3, 3, 3))))
    return [s.conv(s.cat(left, right), "c", (CLASSES, 6, 1, 1))]


@case((1, 3, 8, 9))
def squeeze_and_excitation_of_the_layer(s: Any, x: Any) -> list[Any]:
    weight = s.silu(s.conv(s.pooled(x), "w", (3, 3, 1, 1)))
    return [head_of(s, s.times(x, weight))]


@case((1, 3, 8, 9))
def squeeze_and_excitation_with_a_residual(s: Any, x: Any) -> list[Any]:
    return [head_of(s, s.add(s.times(x, s.conv(s.pooled(x), "w", (3, 3, 1, 1))), x))]


@case((1, 2, 8, 9), form="whole")
def squeeze_and_excitation_behind_the_layer(s: Any, x: Any) -> list[Any]:
    """The mean is of a value that the layer reaches through a mask, so the even term is no longer even."""
    x = s.relu(s.conv(x, "a", (3, 2, 3, 3)))
    return [head_of(s, s.times(x, s.conv(s.pooled(x), "w", (3, 3, 1, 1))))]


@case((1, 3, 6, 7), form="whole")
def normalised(s: Any, x: Any) -> list[Any]:
    return [s.conv(s.relu(s.normal(s.conv(x, "a", (3, 3, 3, 3)), 3)), "b", (CLASSES, 3, 3, 3))]


@case((1, 2, 6, 7))
def logits_in_one_row(s: Any, x: Any) -> list[Any]:
    """The position in a row is the position on the map, found again."""
    logits = s.conv(s.relu(s.conv(x, "a", (3, 2, 3, 3))), "b", (CLASSES, 3, 3, 3))
    return [s.sigmoid_of_row(logits, CLASSES * 6 * 7)]


@case((1, 4, 6, 7), (1, 4, 3, 4), form="whole")
def normalised_in_groups(s: Any, *maps: Any) -> list[Any]:
    """The head of FCOS: each level is normalised as a whole, and no other one is touched."""
    sizes = [(1, 4, 6, 7), (1, 4, 3, 4)]
    inner = [s.group_normal(s.conv(x, "a", (4, 4, 3, 3)), 2, size) for x, size in zip(maps, sizes, strict=True)]
    return [s.conv(s.relu(x), "b", (CLASSES, 4, 3, 3)) for x in inner]


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
