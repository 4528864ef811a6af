"""The gradient module on its own: files, numbers of boxes, modes of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.graphs.query import opset_of
from boxcam.export.torchscript.module import gradient_module
from boxcam.export.torchscript.score import build
from boxcam.runtime.engines import load_module
from boxcam.types import ORIGIN
from tests.export.export_graphs import Net
from tests.export.heads import LayerGradient, built, finished

CLASSES = 2


def dense(s: Any, *maps: Any) -> list[Any]:
    """Three levels, of which two share weights: two parts of windows."""
    return [
        s.conv(s.relu(s.conv(x, key, (3, 2, 3, 3))), f"{key}2", (CLASSES, 3, 3, 3))
        for x, key in zip(maps, "aba", strict=True)
    ]


def mixed(s: Any, x: Any, y: Any) -> list[Any]:
    """One part of windows, one of whole maps."""
    local = s.conv(x, "a", (CLASSES, 2, 3, 3))
    return [local, s.conv(s.times(y, s.conv(s.pooled(y), "g", (2, 2, 1, 1))), "b", (CLASSES, 2, 3, 3))]


def rows(s: Any, x: Any) -> list[Any]:
    return [s.gemm(s.relu(s.gemm(s.flat(x), "a", (6, 24))), "b", (CLASSES, 6))]


SHAPES: dict[Any, list[tuple[int, ...]]] = {
    dense: [(1, 2, 6, 7), (1, 2, 4, 4), (1, 2, 3, 4)],
    mixed: [(1, 2, 5, 5), (1, 2, 4, 6)],
    rows: [(9, 2, 4, 3)],
}
Result = tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]


def run(
    module: torch.jit.ScriptModule, made: LayerGradient, origin: np.ndarray, dtype: torch.dtype = torch.float32
) -> Result:
    features, context = made.inputs(dtype)
    result: Result = module(features, context, torch.from_numpy(origin))
    return result


def assert_equal(found: Result, expected: Result) -> None:
    assert len(found[0]) == len(expected[0])
    for ours, theirs in zip(found[0], expected[0], strict=True):
        torch.testing.assert_close(ours, theirs)
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[2], expected[2])


@pytest.mark.parametrize("head", SHAPES)
def test_a_module_survives_its_file(head: Any, tmp_path: Path) -> None:
    made = built(head, SHAPES[head])
    origin = made.positions()[::3]
    module = made.module(origin)
    expected = run(module, made, origin)
    module.save(str(tmp_path / "module.pt"))
    assert_equal(run(load_module(tmp_path / "module.pt"), made, origin), expected)


@pytest.mark.parametrize("head", SHAPES)
def test_each_box_is_the_same_alone_and_among_any_number_of_others(head: Any) -> None:
    made = built(head, SHAPES[head])
    every = made.positions()
    module = made.module(every[:3])
    rng = np.random.default_rng(0)
    patches, places, logits = run(module, made, every)
    for count in (0, 1, 50, 0, 2):
        chosen = rng.integers(0, len(every), count)
        expected = [patches[i] for i in chosen], places[chosen], logits[chosen]
        assert_equal(run(module, made, every[chosen]), expected)


@pytest.mark.parametrize("head", SHAPES)
def test_boxes_of_a_part_that_the_example_lacks_are_served(head: Any) -> None:
    made = built(head, SHAPES[head])
    origin = made.positions()
    expected = run(made.module(origin), made, origin)
    last = origin[origin[:, 0] == origin[:, 0].max()]
    for example in (last, origin[:1], origin[:0]):
        assert_equal(run(made.module(example), made, origin), expected)


@pytest.mark.parametrize("head", SHAPES)
def test_the_caller_may_have_switched_gradients_off(head: Any) -> None:
    made = built(head, SHAPES[head])
    origin = made.positions()[:4]
    module = made.module(origin)
    expected = run(module, made, origin)
    assert torch.is_grad_enabled()
    with torch.no_grad():
        found = run(module, made, origin)
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert_equal(found, expected)
    assert not any(tensor.requires_grad for tensor in (*found[0], found[2]))


@pytest.mark.parametrize("head", SHAPES)
def test_double_computes_in_float64(head: Any) -> None:
    made = built(head, SHAPES[head])
    origin = made.positions()[:6]
    module = made.module(origin)
    single = run(module, made, origin)
    double = run(module.double(), made, origin, torch.float64)
    assert {tensor.dtype for tensor in (*double[0], double[2])} == {torch.float64}
    for ours, theirs in zip(single[0], double[0], strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-5)
    assert not torch.equal(single[2].double(), double[2])  # it did not merely widen float32
    assert_equal(run(module.float(), made, origin), single)


def test_a_box_that_does_not_depend_on_the_layer_gets_an_empty_patch() -> None:
    made = built(mixed, SHAPES[mixed], layer=(1,))
    origin = made.positions()
    module = made.module(origin)
    patches, places, logits = run(module, made, origin[[0, -1, 3]])
    assert [tuple(patch.shape) for patch in (patches[0], patches[2])] == [(2, 0, 0)] * 2
    assert patches[1].abs().sum() > 0
    assert places[[0, 2]].tolist() == [[0, 0, 0, 0]] * 2
    assert logits[[0, 2]].tolist() == [0, 0]
    assert logits[1].item() == pytest.approx(float(made.found[made.logits[1]].reshape(-1)[-1]), rel=1e-4)


def test_a_filler_gets_an_empty_patch() -> None:
    made = built(dense, SHAPES[dense])
    module = made.module(made.positions())
    filler = np.array([[-1, 0, 0, 0, 0]])
    patches, _, logits = run(module, made, np.concatenate([filler, made.positions()[5:6]]))
    assert tuple(patches[0].shape) == (2, 0, 0)
    assert patches[1].abs().sum() > 0
    assert logits[0] == 0


def test_the_inputs_are_left_alone() -> None:
    made = built(mixed, SHAPES[mixed])
    origin = made.positions()[::7]
    features, context = made.inputs()
    copies = [tensor.clone() for tensor in features]
    made.module(origin)(features, context, torch.from_numpy(origin))
    assert all(torch.equal(a, b) for a, b in zip(features, copies, strict=True))
    assert not any(tensor.requires_grad for tensor in features)


def test_an_operator_without_a_counterpart_is_refused_and_named() -> None:
    net = Net()
    feature = net.node("Relu", [net.input("x", (1, 2, 4, 4))], name="f")[0]
    net.node("Conv", [net.Celu(feature), np.ones((2, 2, 1, 1))], name="logits")
    made = finished(net.model(["f", "logits"]), {"x": np.ones((1, 2, 4, 4), np.float32)}, ["f"], ["logits"])
    with pytest.raises(UnsupportedOperatorError, match=r"Celu .* has no counterpart in PyTorch. Choose a layer after"):
        made.module(made.positions())


def test_names_of_the_example_are_the_models_own() -> None:
    """Features are given by name, so their order in the layer is of no matter."""
    made = built(dense, SHAPES[dense])
    reverse = build(made.model, made.logits, made.features[::-1], made.feeds)
    origin = made.positions()[::4]
    module = gradient_module(reverse, {**made.found, ORIGIN: origin})
    features = [torch.from_numpy(made.found[name]) for name in reverse.features]
    patches, places, logits = module(features, [], torch.from_numpy(origin))
    expected = run(made.module(origin), made, origin)
    torch.testing.assert_close(logits, expected[2])
    assert places[:, 0].tolist() == [2 - number for number in expected[1][:, 0].tolist()]
    for ours, theirs in zip(patches, expected[0], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_constants_are_buffers() -> None:
    made = built(rows, SHAPES[rows])
    module = made.module(made.positions())
    floats = [tensor for tensor in module.state_dict().values() if tensor.is_floating_point()]
    assert sum(tensor.numel() for tensor in floats) >= 6 * 24 + CLASSES * 6
    assert not list(module.parameters())
    assert opset_of(made.model) == 18
