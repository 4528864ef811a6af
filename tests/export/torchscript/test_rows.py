"""Heads that score each proposal by its own row, against torch on all rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from tests.export.export_graphs import Net
from tests.export.heads import Head, OnnxSide, assert_exact, built, weights

CLASSES = 3
ROWS = (5, 2, 4, 3)


def two_layers(s: Any, x: Any) -> list[Any]:
    return [s.gemm(s.relu(s.gemm(s.flat(x), "a", (6, 24))), "b", (CLASSES, 6))]


def weights_not_transposed(s: Any, x: Any) -> list[Any]:
    hidden = s.relu(s.gemm(s.flat(x), "a", (6, 24), transposed=False))
    return [s.gemm(hidden, "b", (CLASSES, 6), transposed=False)]


def activation_behind_the_last_layer(s: Any, x: Any) -> list[Any]:
    return [s.silu(s.gemm(s.flat(x), "a", (CLASSES, 24)))]


def convolutions_and_mean(s: Any, x: Any) -> list[Any]:
    y = s.relu(s.conv(x, "a", (4, 2, 3, 3), stride=2))
    return [s.gemm(s.mean(s.relu(s.normal(y, 4))), "b", (CLASSES, 4))]


def residual(s: Any, x: Any) -> list[Any]:
    y = s.relu(s.add(s.conv(x, "a", (4, 2, 1, 1)), s.conv(s.relu(s.conv(x, "b", (4, 2, 3, 3))), "c", (4, 4, 3, 3))))
    return [s.gemm(s.mean(y), "d", (CLASSES, 4))]


def gathered_channels(s: Any, x: Any) -> list[Any]:
    y = s.cat(s.scaled(x, "a", 2), x)
    return [s.gemm(s.flat(y), "b", (CLASSES, 48))]


@pytest.mark.parametrize(
    "head",
    [
        two_layers,
        weights_not_transposed,
        activation_behind_the_last_layer,
        convolutions_and_mean,
        residual,
        gathered_channels,
    ],
)
def test_each_row_gives_its_own_logit_and_gradient(head: Head) -> None:
    made = built(head, [ROWS])
    assert made.score.form == "rows"
    assert made.score.reason == ""
    places = assert_exact(head, made, [made.feeds["x0"] * np.float32(1.5)], (0,))
    assert places == [[0, row, 0, 0] for row in made.positions()[:, 1].tolist()]


def rows_put_together(s: Any, x: Any) -> list[Any]:
    """Concat, Slice and Gather of rows move them; each logit is of the row that it was."""
    order = np.array([3, -1, 0])
    if isinstance(s, OnnxSide):
        tail = s.net.Slice(x, np.array([-3]), np.array([5]), np.array([0]))
        moved = s.net.Concat(tail, s.net.Gather(x, order, axis=0), axis=0)
    else:
        moved = torch.cat([x[-3:], x[order]])
    return [s.gemm(s.flat(moved), "a", (CLASSES, 24))]


def test_rows_are_followed_to_where_they_came_from() -> None:
    made = built(rows_put_together, [ROWS])
    assert made.score.reason == "a change of rows between the layer and the logits"
    places = assert_exact(rows_put_together, made, [made.feeds["x0"] * np.float32(1.5)], (0,))
    came_from = [2, 3, 4, 3, 4, 0]
    assert places == [[0, came_from[row], 0, 0] for row in made.positions()[:, 1].tolist()]


def mixed(s: Any, x: Any) -> list[Any]:
    """Subtracts the mean over all rows: no row is scored by itself."""
    y = s.flat(x)
    mean = s.net.ReduceMean(y, np.array([-2]), keepdims=1) if isinstance(s, OnnxSide) else y.mean(-2, keepdim=True)
    z = s.net.Sub(y, mean) if isinstance(s, OnnxSide) else y - mean
    return [s.gemm(z, "a", (CLASSES, 24))]


def test_a_head_that_mixes_rows_is_not_taken_apart() -> None:
    made = built(mixed, [ROWS])
    assert made.score.form == "whole"
    assert made.score.reason.startswith("Gemm ")


# Through RoIAlign -------------------------------------------------------------------------------------------------

PROPOSALS = np.array(
    [
        [0, 1, 2, 9, 8],
        [0, 4, 0, 38, 20],
        [0, -6, -5, 12, 9],
        [0, 20, 10, 70, 50],
        [0, 3, 3, 3.5, 3.5],
        [0, 0, 0, 48, 32],
    ],
    np.float32,
)
LEVEL = np.array([0, 1, 0, 1, 0, 1])  # which are larger than 20 x 20
SIZES = ((1, 2, 8, 12), (1, 2, 4, 6))


def align(level: int, ratio: int = 2) -> dict[str, Any]:
    return {"output_height": 4, "output_width": 3, "sampling_ratio": ratio, "spatial_scale": (1 / 4, 1 / 8)[level]}


def pooled_by_level(s: Any, *maps: Any) -> Any:
    """Level assembly as mmdeploy writes it: for each level the rows of its proposals are put into zeros."""
    if not isinstance(s, OnnxSide):
        rois = torch.from_numpy(PROPOSALS).double()
        both = [
            torchvision.ops.roi_align(x, rois, (4, 3), align(n)["spatial_scale"], 2, aligned=True)
            for n, x in enumerate(maps)
        ]
        return torch.where(torch.from_numpy(LEVEL == 0)[:, None, None, None], *both)
    net: Net = s.net
    column = [net.Slice("rois", np.array([c]), np.array([c + 1]), np.array([1])) for c in range(5)]
    area = net.Squeeze(net.Mul(net.Sub(column[3], column[1]), net.Sub(column[4], column[2])), np.array([1]))
    large = net.Cast(net.Greater(area, np.float32(400)), to=7)
    count = net.Slice(net.Shape("rois"), np.array([0]), np.array([1]))
    rows = net.Expand(np.float32(0), net.Concat(count, np.array([2, 4, 3]), axis=0))
    for number, x in enumerate(maps):
        mine = net.NonZero(net.Equal(large, np.array(number)))
        index = net.Squeeze(mine, np.array([0]))
        rois = net.Gather("rois", index, axis=0)
        boxes = net.Slice(rois, np.array([1]), np.array([5]), np.array([1]))
        batch = net.Cast(net.Squeeze(net.Slice(rois, np.array([0]), np.array([1]), np.array([1])), np.array([1])), to=7)
        found = net.RoiAlign(x, boxes, batch, coordinate_transformation_mode="half_pixel", **align(number))
        rows = net.ScatterND(rows, net.Transpose(mine, perm=[1, 0]), found)
    return rows


def two_stage(s: Any, *maps: Any) -> list[Any]:
    return [s.gemm(s.relu(s.gemm(s.flat(pooled_by_level(s, *maps)), "a", (6, 24))), "b", (CLASSES, 6))]


def test_proposals_of_two_levels_get_exact_gradients_on_the_level_they_were_assigned_to() -> None:
    made = built(two_stage, SIZES, more={"rois": PROPOSALS})
    assert made.score.form == "whole"
    assert made.score.reason == "RoiAlign between the layer and the logits"
    maps = [made.feeds[f"x{n}"] * np.float32(1.5) for n in range(2)]
    places = assert_exact(two_stage, made, maps, (0, 1), open_sizes=True)
    assert [place[0] for place in places] == [int(LEVEL[row]) for row in made.positions()[:, 1]]
    assert all(place[1] == 0 for place in places)


def convolved(s: Any, *maps: Any) -> list[Any]:
    return two_stage(s, *(s.silu(s.conv(x, "neck", (2, 2, 3, 3))) for x in maps))


def test_a_convolution_in_front_of_roi_align_is_differentiated_too() -> None:
    made = built(convolved, SIZES, more={"rois": PROPOSALS})
    places = assert_exact(
        convolved, made, [made.feeds[f"x{n}"] * np.float32(1.5) for n in range(2)], (0, 1), open_sizes=True
    )
    assert [place[0] for place in places] == [int(LEVEL[row]) for row in made.positions()[:, 1]]


def test_a_level_that_no_proposal_was_assigned_to_does_no_harm() -> None:
    small = PROPOSALS[LEVEL == 0]
    made = built(two_stage, SIZES, more={"rois": small})

    def reference(s: Any, *maps: Any) -> list[Any]:
        rois = torch.from_numpy(small).double()
        pooled = torchvision.ops.roi_align(maps[0], rois, (4, 3), 1 / 4, 2, aligned=True)
        return [s.gemm(s.relu(s.gemm(s.flat(pooled), "a", (6, 24))), "b", (CLASSES, 6))]

    maps = [made.feeds[f"x{n}"] * np.float32(1.5) for n in range(2)]
    places = assert_exact(reference, made, maps, (0, 1), open_sizes=True)
    assert {place[0] for place in places} == {0}


def test_the_gradient_does_not_flow_through_the_proposals() -> None:
    """Proposals computed from the layer are context: taken as they are."""

    def head(s: Any, x: Any) -> list[Any]:
        if isinstance(s, OnnxSide):
            corner = s.net.Reshape(s.net.ReduceMax(x, np.array([1, 2, 3]), keepdims=0), np.array([1, 1]))
            rois = s.net.Add(s.net.Mul(corner, np.float32([[0, 1, 1, 1]])), np.float32([[1, 0, 6, 5]]))
            pooled = s.net.RoiAlign(x, rois, np.array([0]), output_height=4, output_width=3, sampling_ratio=2)
        else:
            corner = x.detach().max().float()
            rois = torch.stack([corner * 0, corner * 0 + 1, corner, corner + 6, corner + 5])[None].double()
            pooled = torchvision.ops.roi_align(x, rois, (4, 3), 1.0, 2, aligned=True)
        return [s.gemm(s.flat(pooled), "a", (CLASSES, 24))]

    made = built(head, [(1, 2, 8, 9)])
    assert len(made.score.context) == 1
    assert_exact(head, made, [made.feeds["x0"] * np.float32(1.5)], (0,))


def test_the_weights_of_the_last_layer_are_gathered_by_class() -> None:
    """The part computes one column of the logits, not all: its graph multiplies no [R, classes] matrix."""
    made = built(two_layers, [ROWS])
    (part,) = made.score.parts
    assert [node.op_type for node in part.model.graph].count("Gemm") == 1
    shapes = {tuple(value.shape or ()) for value in part.model.graph.initializers.values()}
    assert weights("b", CLASSES, 6).shape in shapes
