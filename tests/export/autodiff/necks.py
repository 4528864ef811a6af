"""Heads on feature maps whose gradients move between maps of different sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.export.heads import Head

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
