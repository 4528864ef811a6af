"""The proposals of pooled features, row by row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.errors import SourceError
from boxcam.export.graphs.extract import add_output
from boxcam.export.graphs.query import find_value
from boxcam.export.graphs.run import record_ranks, run_model
from boxcam.export.trace import proposals
from tests.export.export_graphs import Net

LEVELS = ((0, 4), (1, 4))  # number of the map, and stride; the maps are as large as each other
ROIS = np.float32([[0, 0, 8, 8], [8, 8, 16, 12], [1, 2, 3, 4], [4, 0, 12, 16], [2, 6, 10, 9]])
LEVEL = np.array([1, 0, 0, 1, 1])


def pooled(net: Net, level: int, rois: str) -> str:
    """The features of some proposals on one level."""
    count = net.Shape(rois, start=0, end=1)
    batch = net.Expand(np.int64([0]), count)
    image = net.Mul("image", np.float32(level + 1))
    return net.RoiAlign(image, rois, batch, output_height=2, output_width=2, spatial_scale=0.25)


def by_gather(net: Net, rois: str, level: str) -> str:
    """All levels one after another, then in the order of the proposals, as PaddleDetection does it."""
    rows = [net.Reshape(net.NonZero(net.Equal(level, np.int64(number))), np.int64([-1])) for number, _ in LEVELS]
    parts = [pooled(net, number, net.Gather(rois, row)) for (number, _), row in zip(LEVELS, rows, strict=True)]
    joined = net.Concat(*rows, axis=0)
    count = net.Shape(joined)
    _, order = net.node("TopK", [joined, count], outputs=2, largest=0)
    return net.Gather(net.Concat(*parts, axis=0), order)


def by_scatter(net: Net, rois: str, level: str) -> str:
    """Each level's rows written into the features of all proposals, as mmdeploy and torchvision do it."""
    shape = net.Concat(net.Shape(rois, start=0, end=1), np.int64([3, 2, 2]), axis=0)
    result = net.ConstantOfShape(shape)
    for number, _ in LEVELS:
        rows = net.Transpose(net.NonZero(net.Equal(level, np.int64(number))), perm=[1, 0])
        chosen = net.GatherND(rois, rows)
        result = net.ScatterND(result, rows, pooled(net, number, chosen))
    return result


def by_where(net: Net, rois: str, level: str) -> str:
    """Every level pools every proposal, and each row is taken from its own level."""
    mask = net.Unsqueeze(net.Equal(level, np.int64(0)), np.int64([1, 2, 3]))
    moved = net.Add(rois, np.float32(1))  # so that it matters which
    return net.Where(mask, pooled(net, 0, rois), pooled(net, 1, moved))


def then_computed(net: Net, rois: str, level: str) -> str:
    """A convolution behind the assembly, as in the stage that an R-CNN without a pyramid has there."""
    weight = np.ones((3, 3, 1, 1), np.float32)
    return net.Relu(net.Conv(by_gather(net, rois, level), weight))


def plain(net: Net, rois: str, level: str) -> str:
    return pooled(net, 0, rois)


def shuffled(net: Net, rois: str, level: str) -> str:
    return net.Gather(pooled(net, 0, rois), np.int64([4, 2, 0]))


def before(net: Net, rois: str, level: str, other: str | np.ndarray) -> str:
    """Another factor, which the operator reads first."""
    return net.Mul(other, by_gather(net, rois, level))


def times_a_constant(net: Net, rois: str, level: str) -> str:
    return before(net, rois, level, np.ones((5, 3, 2, 2), np.float32))


def times_a_number_of_the_image(net: Net, rois: str, level: str) -> str:
    return before(net, rois, level, net.ReduceSum("image", keepdims=0))


def times_channels_of_the_image(net: Net, rois: str, level: str) -> str:
    return before(net, rois, level, net.ReduceMax("image", np.int64([2, 3])))


def means(net: Net, rois: str, level: str) -> str:
    """One number for each proposal, put together of those of both levels."""
    ways = [net.ReduceMean(pooled(net, number, rois), np.int64([1, 2, 3]), keepdims=0) for number, _ in LEVELS]
    return net.Where(net.Equal(level, np.int64(0)), *ways)


def means_in_a_column(net: Net, rois: str, level: str) -> str:
    """The same with a channel of one cell, of which the position is lost on the way, and the rows the other way round.

    Where they are followed, the only element of a row is one of all.
    """
    column = net.ReduceMean(pooled(net, 0, rois), np.int64([1, 2, 3]), keepdims=1)
    return net.Reshape(net.Gather(net.Reshape(column, np.int64([-1])), np.int64([4, 3, 2, 1, 0])), np.int64([-1, 1]))


def graph(build: Callable[[Net, str, str], str]) -> ir.Model:
    net = Net()
    net.input("image", (1, 3, 4, 4))
    rois = net.input("rois", ("R", 4))
    level = net.input("level", ("R",), 7)
    net.node("Identity", [build(net, rois, level)], name="features")
    return net.model(["features"])


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (plain, ROIS),
        (shuffled, ROIS[[4, 2, 0]]),
        (by_gather, ROIS),
        (by_scatter, ROIS),
        (then_computed, ROIS),
        (by_where, ROIS + (LEVEL == 1)[:, None]),
        (times_a_constant, ROIS),
        (times_a_number_of_the_image, ROIS),
        (times_channels_of_the_image, ROIS),
        (means, ROIS),
        (means_in_a_column, ROIS[::-1]),
    ],
)
def test_each_row_has_the_proposal_that_was_pooled(build: Callable[[Net, str, str], str], expected: np.ndarray) -> None:
    model = graph(build)
    feeds = {"image": np.ones((1, 3, 4, 4), np.float32), "rois": ROIS, "level": LEVEL}
    record_ranks(model, feeds)
    assert proposals.are_rows(find_value(model.graph, "features"))
    name = proposals.of(model.graph, "features")
    found = find_value(model.graph, name)
    assert found is not None
    if found.producer() is not None:  # which the model computes, and is not given as it is
        assert found.shape == ir.Shape([None, 4])
        assert found.dtype == ir.DataType.FLOAT
    add_output(model.graph, found)
    np.testing.assert_array_equal(run_model(model, feeds)[name], expected)


def test_a_map_of_the_image_has_no_proposals() -> None:
    net = Net()
    net.node("Relu", [net.input("image", (1, 3, 4, 4))], name="features")
    model = net.model(["features"])
    assert not proposals.are_rows(find_value(model.graph, "features"))
    for name in ("features", "no such value"):
        with pytest.raises(SourceError) as caught:
            proposals.of(model.graph, name)
        assert str(caught.value) == (
            f"layer {name!r}: the rows of this tensor are not features pooled by RoiAlign. Choose another layer with"
            " layers=."
        )
    assert not proposals.are_rows(None)


def test_rows_out_of_a_constant_are_of_no_proposal() -> None:
    net = Net()
    level = net.input("level", ("R",), 7)
    net.node("Gather", [np.ones((9, 3, 2, 2), np.float32), level], name="features")
    model = net.model(["features"])
    record_ranks(model, {"level": LEVEL})
    with pytest.raises(SourceError, match=r"'features': .* not features pooled"):
        proposals.of(model.graph, "features")


def test_what_is_read_twice_is_followed_once() -> None:
    """Of 2^60 ways."""
    net = Net()
    value = net.input("image", ("N", 3, 4, 4))
    for _ in range(60):
        value = net.Add(value, value)
    model = net.model([value])
    record_ranks(model, {"image": np.ones((1, 3, 4, 4), np.float32)})
    assert not proposals.are_rows(find_value(model.graph, value))


def test_rows_that_are_mixed_belong_to_no_proposal() -> None:
    net = Net()
    net.input("image", (1, 3, 4, 4))
    rois = net.input("rois", ("R", 4))
    rows = net.Shape(rois, start=0, end=1)
    picked = net.Reshape(net.Range(np.int64(0), net.Squeeze(rows), np.int64(1)), np.int64([-1]))
    everywhere = net.ScatterND(
        pooled(net, 0, rois), net.Unsqueeze(picked, np.int64([1])), pooled(net, 1, rois), reduction="add"
    )
    net.node("Identity", [everywhere], name="features")
    model = net.model(["features"])
    record_ranks(model, {"image": np.ones((1, 3, 4, 4), np.float32), "rois": ROIS})
    with pytest.raises(SourceError) as caught:
        proposals.of(model.graph, "features")
    said = str(caught.value)
    assert said.startswith("it is not clear which proposal the features '")
    assert ": ScatterND (" in said
    assert said.endswith(") computes each row of several. Choose another layer with layers=.")


def test_rows_of_the_image_itself_belong_to_no_proposal() -> None:
    net = Net()
    image, level = net.input("image", (9, 3, 4, 4)), net.input("level", ("R",), 7)
    net.node("Gather", [image, level], name="features")
    model = net.model(["features"])
    record_ranks(model, {"image": np.ones((9, 3, 4, 4), np.float32), "level": LEVEL})
    with pytest.raises(SourceError) as caught:
        proposals.of(model.graph, "features")
    said = str(caught.value)
    assert said.startswith("it is not clear which proposal the features 'features' belong to: the rows of 'features' r")
    assert said.endswith("the graph's input 'image' without passing a logit. Choose another layer with layers=.")
