"""Windows against whole maps, at every cell: a head is built in ONNX, and again in torch as the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from boxcam.export.graphs.query import all_values
from boxcam.export.torchscript import windows
from tests.export.export_graphs import Net
from tests.export.heads import Head, OnnxSide, assert_exact, built

CLASSES = 2


@dataclass(frozen=True)
class Case:
    head: Head
    shapes: tuple[tuple[int, ...], ...]
    reach: tuple[int, int]
    layer: tuple[int, ...] | None = None
    parts: int = 1
    positive: bool = False


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


@case((1, 3, 6, 7), reach=(0, 0))
def one_by_one(s: Any, x: Any) -> list[Any]:
    return [s.conv(x, "a", (CLASSES, 3, 1, 1))]


@case((1, 3, 6, 7), reach=(1, 1))
def one_convolution(s: Any, x: Any) -> list[Any]:
    return [s.conv(x, "a", (CLASSES, 3, 3, 3), bias=False)]


@case((1, 3, 6, 7), reach=(4, 4))
def four_convolutions_on_a_map_smaller_than_the_window(s: Any, x: Any) -> list[Any]:
    for key in "abc":
        x = s.relu(s.conv(x, key, (3, 3, 3, 3)))
    return [s.conv(x, "last", (CLASSES, 3, 3, 3))]


@case((1, 2, 1, 1), reach=(2, 2))
def a_map_of_one_cell(s: Any, x: Any) -> list[Any]:
    return [s.conv(s.relu(s.conv(x, "a", (3, 2, 3, 3))), "b", (CLASSES, 3, 3, 3))]


@case((1, 2, 2, 9), reach=(3, 3))
def five_by_five_after_three_by_three(s: Any, x: Any) -> list[Any]:
    return [s.conv(s.silu(s.conv(x, "a", (3, 2, 3, 3))), "b", (CLASSES, 3, 5, 5))]


@case((1, 2, 6, 7), reach=(1, 2))
def kernels_that_are_not_square(s: Any, x: Any) -> list[Any]:
    x = s.leaky(s.conv(x, "a", (3, 2, 1, 3)))
    x = s.relu6(s.conv(x, "b", (3, 3, 3, 1)))
    return [s.conv(x, "c", (CLASSES, 3, 1, 3))]


@case((1, 2, 6, 7), reach=(3, 3))
def dilations(s: Any, x: Any) -> list[Any]:
    x = s.relu(s.conv(x, "a", (3, 2, 3, 3)))
    return [s.conv(x, "b", (CLASSES, 3, 3, 3), dilation=2)]


@case((1, 2, 6, 7), reach=(3, 3))
def dilations_within(s: Any, x: Any) -> list[Any]:
    x = s.relu(s.conv(x, "a", (3, 2, 3, 3), dilation=2))
    return [s.conv(x, "b", (CLASSES, 3, 3, 3), auto=True)]


@case((1, 4, 6, 7), reach=(2, 2))
def groups(s: Any, x: Any) -> list[Any]:
    x = s.relu(s.conv(x, "a", (4, 1, 3, 3), group=4))
    return [s.conv(x, "b", (4, 2, 3, 3), group=2)]


@case((1, 3, 6, 7), reach=(3, 3))
def residuals_and_joined_channels(s: Any, x: Any) -> list[Any]:
    y = s.add(x, s.relu(s.conv(x, "a", (3, 3, 3, 3))))
    z = s.cat(y, s.silu(s.conv(y, "b", (2, 3, 3, 3))), x)
    return [s.conv(z, "c", (CLASSES, 8, 3, 3))]


@case((1, 3, 6, 7), reach=(2, 2))
def constants_per_channel(s: Any, x: Any) -> list[Any]:
    x = s.shifted(s.conv(x, "a", (3, 3, 3, 3)), "b", 3)  # not zero outside of the map, if it were not cleared
    x = s.scaled(s.relu(x), "c", 3)
    return [s.conv(x, "d", (CLASSES, 3, 3, 3))]


@case((1, 3, 5, 4), reach=(2, 2))
def elementwise_after_the_last_convolution(s: Any, x: Any) -> list[Any]:
    x = s.silu(s.conv(s.relu(s.conv(x, "a", (3, 3, 3, 3))), "b", (CLASSES, 3, 3, 3)))
    return [s.shifted(s.scaled(x, "c", CLASSES), "d", CLASSES)]


@case((1, 2, 6, 7), (1, 2, 3, 4), (1, 2, 1, 2), reach=(2, 2))
def levels_that_share_weights(s: Any, *maps: Any) -> list[Any]:
    return [s.conv(s.relu(s.conv(x, "a", (3, 2, 3, 3))), "b", (CLASSES, 3, 3, 3)) for x in maps]


@case((1, 2, 6, 5), (1, 2, 3, 4), reach=(1, 1), parts=2)
def levels_that_do_not(s: Any, *maps: Any) -> list[Any]:
    return [s.conv(x, f"a{n}", (CLASSES, 2, 3, 3)) for n, x in enumerate(maps)]


@case((1, 2, 5, 5), (1, 2, 3, 4), (1, 2, 2, 2), reach=(1, 1), parts=2)
def levels_of_which_some_share(s: Any, *maps: Any) -> list[Any]:
    return [s.conv(x, key, (CLASSES, 2, 3, 3)) for x, key in zip(maps, ("a", "b", "a"), strict=True)]


@case((1, 2, 5, 6), (1, 2, 5, 6), reach=(2, 2), layer=(0,))
def a_branch_around_the_layer(s: Any, x: Any, around: Any) -> list[Any]:
    y = s.add(s.relu(s.conv(x, "a", (2, 2, 3, 3))), around)
    return [s.conv(y, "b", (CLASSES, 2, 3, 3))]


@case((1, 2, 6, 5), reach=(2, 2), positive=True)
def a_logarithm_of_the_layer(s: Any, x: Any) -> list[Any]:
    """Outside of the map it would be the logarithm of zero."""
    y = s.conv(s.logarithm(x), "a", (3, 2, 3, 3))
    return [s.conv(y, "b", (CLASSES, 3, 3, 3))]


@case((1, 2, 6, 5), reach=(1, 1), positive=True)
def a_quotient_of_two_branches(s: Any, x: Any) -> list[Any]:
    return [s.conv(s.divide(s.root(x), x), "a", (CLASSES, 2, 3, 3))]


@pytest.mark.parametrize("name", case.all)
def test_logit_and_gradient_are_those_of_the_whole_map_at_every_cell(name: str) -> None:
    this = case.all[name]
    made = built(this.head, this.shapes, this.layer, this.positive)
    layer = tuple(range(len(this.shapes))) if this.layer is None else this.layer
    assert made.score.form == "windows"
    assert made.score.reason == ""
    assert {part.reach for part in made.score.parts} == {this.reach}
    assert len(made.score.parts) == this.parts
    maps = [made.feeds[f"x{n}"] * np.float32(1.5) for n in range(len(this.shapes))]
    places = assert_exact(this.head, made, maps, layer)
    for (number, _, _, y, x), place in zip(made.positions().tolist(), places, strict=True):
        assert place == [number, 0, y - this.reach[0], x - this.reach[1]]


# What is not local ------------------------------------------------------------------------------------------------


def strided(s: Any, x: Any) -> list[Any]:
    return [s.conv(s.relu(s.conv(x, "a", (3, 2, 3, 3), stride=2)), "b", (CLASSES, 3, 3, 3))]


def weighed_by_the_mean(s: Any, x: Any) -> list[Any]:
    y = s.times(x, s.conv(s.pooled(x), "a", (2, 2, 1, 1)))
    return [s.conv(y, "b", (CLASSES, 2, 3, 3))]


def normalised(s: Any, x: Any) -> list[Any]:
    return [s.conv(s.relu(s.normal(s.conv(x, "a", (3, 2, 3, 3)), 3)), "b", (CLASSES, 3, 3, 3))]


def joined_with_coordinates(s: Any, x: Any) -> list[Any]:
    y = s.cat(x, s.constant_map("grid", 1, 2, 6, 7))
    return [s.conv(y, "b", (CLASSES, 4, 3, 3))]


def the_last_one_strided(s: Any, x: Any) -> list[Any]:
    return [s.conv(x, "a", (CLASSES, 2, 3, 3), stride=2)]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (strided, "Conv "),
        (weighed_by_the_mean, "Mul "),
        (normalised, "InstanceNormalization "),
        (joined_with_coordinates, "Concat "),
        (the_last_one_strided, "Conv "),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_not_local_is_computed_on_whole_maps_and_says_why(head: Head, reason: str) -> None:
    made = built(head, [(1, 2, 6, 7)])
    assert made.score.form == "whole"
    assert made.score.reason.startswith(reason)
    assert made.score.reason.endswith("between the layer and the logits")
    origin = made.positions()
    origin = origin[np.random.default_rng(0).permutation(len(origin))[:8]]
    assert_exact(head, made, [made.feeds["x0"] * np.float32(1.5)], (0,), origin)


def wrong_sizes(side: OnnxSide, x: str, kind: str) -> str:
    net: Net = side.net
    full, row = np.ones((1, 2, 6, 7)), np.ones((1, 1, 1, 7))
    nodes: dict[str, Callable[[], str]] = {
        "even kernel": lambda: net.Conv(x, np.ones((2, 2, 2, 2)), pads=[1, 1, 0, 0]),
        "unequal padding": lambda: net.Conv(x, np.ones((2, 2, 3, 3)), pads=[2, 1, 0, 1]),
        "no padding": lambda: net.Conv(x, np.ones((2, 2, 3, 3))),
        "constant per cell": lambda: net.Add(x, full + 1),
        "constant per column": lambda: net.Mul(x, row * 2),
    }
    return nodes[kind]()


@pytest.mark.parametrize(
    "kind", ["even kernel", "unequal padding", "no padding", "constant per cell", "constant per column"]
)
def test_an_operator_that_differs_from_cell_to_cell_ends_the_chain(kind: str) -> None:
    net = Net()
    side = OnnxSide(net)
    feature = net.node("Relu", [net.input("x", (1, 2, 6, 7))], name="f")[0]
    odd = wrong_sizes(side, feature, kind)
    net.node("Conv", [odd, np.ones((2, 2, 1, 1))], name="logits")
    model = net.model(["f", "logits"])
    values = {str(value.name): value for value in all_values(model.graph)}
    found = windows.chain(values["logits"], {values[n] for n in ("f", odd, "logits")}, [values["f"]])
    assert found is not None
    assert [node.op_type for node in found.nodes] == ["Conv"]
    assert [value.name for value in found.maps] == [odd]
    assert len(found.barrier) == 1


def test_chains_of_equal_weights_have_equal_signatures_and_others_do_not() -> None:
    def head(s: Any, *maps: Any) -> list[Any]:
        keys = ("a", "a", "b", "a", "a")
        kinds = (s.relu, s.relu, s.relu, s.leaky, s.relu)
        dilations = (1, 1, 1, 1, 2)
        return [
            s.conv(kind(x), key, (CLASSES, 2, 3, 3), dilation=d)
            for x, key, kind, d in zip(maps, keys, kinds, dilations, strict=True)
        ]

    made = built(head, [(1, 2, 6, 7), (1, 2, 3, 3), (1, 2, 3, 3), (1, 2, 3, 3), (1, 2, 3, 3)])
    assert sorted(part.leaves for part in made.score.parts) == [(0, 1), (2,), (3,), (4,)]
