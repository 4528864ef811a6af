"""The matrix finds what is wrong: planted errors, on a tiny detector whose network is known."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import boxcam
from boxcam.types import Patch
from tests.export.sources.onnx import deployed as tiny
from tests.matrix.counterpart import Watch, same, same_or_part
from tests.matrix.deployed import whole
from tests.matrix.detections import differences
from tests.matrix.finite import cut
from tests.matrix.guided import Guided
from tests.matrix.measure import LIMIT, Case
from tests.matrix.registry import Family, Found, Subject

FINE = "/body/fine/fine.1/Relu_output_0"
COARSE = "/body/coarse/coarse.1/Relu_output_0"


def _make(folder: Path, live: bool) -> Case:
    case = tiny.CASES["torchvision"]
    module = tiny.export(case, folder / "tiny.onnx").requires_grad_(False)
    options = {"preprocess": case.preprocess}
    layers, targets = [FINE, COARSE, "image"], ["logit", "score", "x2"]
    boxcam.export(folder / "tiny.onnx", output=folder / "tiny.boxcam", layers=layers, targets=targets, **options)
    subject = Subject(
        arguments=[folder / "tiny.onnx"],
        options=options,
        detect=lambda image: Found(*module(image)),
        model=module if live else None,
        layers={FINE: module.body.fine, COARSE: module.body.coarse},
        run=module,
    )
    return Case("tiny", Family({}, lambda _: subject), subject, folder / "tiny.boxcam")


@pytest.fixture(scope="module", params=["autograd", "differences"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return _make(tmp_path_factory.mktemp("tiny"), request.param == "autograd")


@pytest.mark.parametrize(
    ("layer", "target", "engine"),
    [
        *itertools.product([FINE, COARSE, "image"], ["logit", "score", "x2"], ["onnx"]),
        *itertools.product([FINE, COARSE], ["logit"], ["torchscript"]),
    ],
)
def test_what_is_right_agrees(case: Case, layer: str, target: str, engine: str) -> None:
    found = case.compare(layer, engine, target)
    assert found.boxes >= (2 if layer == COARSE else 20)  # of the others both gradients are zero
    assert found.tensors == 1
    assert found.error < LIMIT / 5


def test_guided_backpropagation_agrees_and_the_plain_gradient_does_not(tmp_path: Path) -> None:
    case = _make(tmp_path, live=True)
    found = case.compare("image", "onnx", "logit", "guided")
    assert found.boxes >= 20
    assert found.error < LIMIT / 5
    right = case.deployed.explain
    case.deployed.explain = lambda *given: right(*given[:-1], "plain")  # type: ignore[method-assign]
    assert case.compare("image", "onnx", "logit", "guided").error > 0.1


def test_the_guided_reference_by_hand() -> None:
    x = torch.tensor([[-1.0, 2.0, 3.0]], requires_grad=True)
    weights = torch.tensor([[5.0, -7.0, 11.0]])
    with Guided():
        y = (torch.relu(x) * weights).sum()
        z = (torch.nn.ReLU(inplace=True)(x * 1.0) * weights).sum()
        silu = (torch.nn.functional.silu(x) * weights).sum()
        gate = (torch.sigmoid(x) * weights).sum()
    for value in (y, z):  # the first input is negative, and what arrives at the second one is
        assert torch.autograd.grad(value, x, retain_graph=True)[0].tolist() == [[0, 0, 11]]
    s = torch.sigmoid(torch.tensor(3.0))
    torch.testing.assert_close(torch.autograd.grad(silu, x)[0], torch.tensor([[0, 0, 11 * (s + 3 * s * (1 - s))]]))
    assert (torch.autograd.grad(gate, x)[0] != 0).all()
    assert torch.autograd.grad((torch.relu(x) * weights).sum(), x)[0].tolist() == [[0, -7, 11]]


def _scaled(patch: Patch) -> Patch:
    return dataclasses.replace(patch, gradient=patch.gradient * np.float32(1.001))


def _with_channels_mixed_up(patch: Patch) -> Patch:
    return dataclasses.replace(patch, gradient=np.roll(patch.gradient, 1, 0))


def _without_a_cell(patch: Patch) -> Patch:
    gradient = patch.gradient.copy()
    y, x = np.unravel_index(np.abs(gradient).sum(0).argmax(), gradient.shape[1:])
    gradient[:, y, x] = 0
    return dataclasses.replace(patch, gradient=gradient)


def _with_one_more(patch: Patch) -> Patch:
    return dataclasses.replace(patch, uniform=np.full(len(patch.gradient), 0.01, np.float32))


@pytest.mark.parametrize("wrong", [_scaled, _with_channels_mixed_up, _without_a_cell, _with_one_more])
def test_a_wrong_gradient_is_found(
    case: Case, wrong: Callable[[Patch], Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    case.compare(FINE, "onnx")
    right = case.deployed.explain

    def explain(*arguments: Any) -> Any:
        found = right(*arguments)
        found.boxes[-1][0][0] = wrong(found.boxes[-1][0][0])
        return found

    monkeypatch.setattr(case.deployed, "explain", explain)
    assert case.compare(FINE, "onnx").error > LIMIT


def test_a_gradient_that_is_missing_is_found(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    right = case.deployed.explain

    def explain(*arguments: Any) -> Any:
        found = right(*arguments)
        found.boxes[0][0].clear()
        return found

    monkeypatch.setattr(case.deployed, "explain", explain)
    assert case.compare(FINE, "onnx").error > 0.1


def test_detections_agree_and_a_moved_box_is_found(case: Case) -> None:
    count, sides, scores = differences(case)
    assert count >= 20
    assert sides < 1e-3
    assert scores < 1e-5
    right = case.subject.detect

    def moved(image: torch.Tensor) -> Found:
        found = right(image)
        return Found(found.boxes + torch.tensor([0.0, 0.0, 1.0, 0.0]), found.scores, found.labels)

    wrong = dataclasses.replace(case.subject, detect=moved)
    with pytest.raises(AssertionError, match="no counterpart"):
        differences(Case("tiny", case.family, wrong, case.deployed.path))


def test_numbers_are_found_in_any_layout() -> None:
    rng = np.random.default_rng(0)
    mine = rng.standard_normal((1, 6, 4, 5)).astype(np.float32)
    flat = mine.transpose(0, 2, 3, 1).reshape(1, 60, 2)
    for theirs in (mine, mine[0], flat, mine.reshape(2, 3, 20).transpose(2, 0, 1)):
        index = same(mine, theirs)
        assert index is not None
        np.testing.assert_array_equal(theirs.ravel()[index], mine)
        back = same(theirs, mine)
        assert back is not None
        np.testing.assert_array_equal(mine.ravel()[back], theirs)
    assert same(mine, mine[:, ::-1]) is None
    assert same(mine, mine[:, :5]) is None


def test_tokens_that_are_no_cells_are_left_out() -> None:
    tokens = np.random.default_rng(0).standard_normal((1, 1 + 20, 6)).astype(np.float32)
    index = same_or_part(tokens[:, 1:].transpose(0, 2, 1).reshape(1, 6, 4, 5), tokens)
    assert index is not None
    assert index[0, 2, 1, 3] == (1 + 1 * 5 + 3) * 6 + 2
    assert same_or_part(tokens[:, :-1].transpose(0, 2, 1).reshape(1, 6, 4, 5), tokens) is None


def test_numbers_are_taken_before_they_are_written_over() -> None:
    leaf = torch.arange(6.0, requires_grad=True)
    with Watch([np.arange(6, dtype=np.float32) * 2], [np.array([1, 4])]) as watch:
        double = leaf * 2
        double.sigmoid_()
    assert watch.taken[0].tolist() == [2, 8]
    (gradient,) = torch.autograd.grad(watch.taken[0][1], leaf)
    assert gradient.tolist() == [0, 0, 0, 0, 2, 0]


def test_pieces_are_added_and_what_overhangs_must_be_zero() -> None:
    ones = np.ones((1, 2, 2), np.float32)
    pieces = [
        Patch(0, 3, (0, 0), ones),
        Patch(0, 3, (1, 1), ones),
        Patch(0, 5, (2, 2), np.zeros((1, 2, 2), np.float32)),
    ]
    assert whole(pieces, (2, 1, 3, 3), [3, 5])[:, 0].tolist() == [[[1, 1, 0], [1, 2, 1], [0, 1, 1]], [[0] * 3] * 3]
    with pytest.raises(AssertionError, match="beside the map"):
        whole([Patch(0, 0, (2, 2), ones)], (1, 1, 3, 3))


def test_a_graph_is_cut_at_given_values() -> None:
    nodes = [
        onnx.helper.make_node("Exp", ["x"], ["a"]),
        onnx.helper.make_node("Neg", ["a"], ["b"]),
        onnx.helper.make_node("Mul", ["b", "x"], ["c"]),
    ]
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2]) for n in ("x", "c")]
    graph = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", info[:1], info[1:]))
    part = cut(graph, {"a": np.zeros(2, np.float32), "x": np.zeros(2, np.float32)}, ["c"])
    assert [node.op_type for node in part.graph.node] == ["Neg", "Mul"]
