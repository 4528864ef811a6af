"""Verification passes what is right and fails what is planted."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from boxcam.bundle import Outputs
from boxcam.errors import VerificationError
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import run_model
from boxcam.export.torchscript.module import gradient_module
from boxcam.export.trace.trace import Trace
from boxcam.export.verify import detections, torchscript_gradient
from boxcam.export.verify.check import Check, Derivative, Probe, Run, require
from boxcam.types import ORIGIN
from tests.export.export_graphs import Net
from tests.export.heads import LayerGradient, built

CLASSES = 2
NAMES = Outputs("boxes", "scores", "labels")


def dense(s: Any, x: Any) -> list[Any]:
    return [s.conv(s.silu(s.conv(x, "a", (3, 2, 3, 3))), "b", (CLASSES, 3, 3, 3))]


def pyramid(s: Any, fine: Any, coarse: Any) -> list[Any]:
    both = s.add(s.silu(s.conv(fine, "a", (3, 2, 3, 3))), s.up(s.conv(coarse, "b", (3, 3, 1, 1)), (5, 6)))
    return [s.conv(both, "c", (CLASSES, 3, 3, 3)), s.conv(s.silu(coarse), "d", (CLASSES, 3, 3, 3))]


def rows(s: Any, x: Any) -> list[Any]:
    return [s.gemm(s.silu(s.gemm(s.flat(x), "a", (6, 24))), "b", (CLASSES, 6))]


def mixed_rows(s: Any, x: Any) -> list[Any]:
    """Every logit depends on every row, which one patch cannot say."""
    flat = s.flat(x)
    mean = flat.mean(0, keepdim=True) if isinstance(flat, torch.Tensor) else s.net.ReduceMean(flat, np.array([0]))
    return [s.gemm(s.add(flat, mean), "a", (CLASSES, 24))]


SHAPES: dict[Any, list[tuple[int, ...]]] = {dense: [(1, 2, 5, 6)], pyramid: [(1, 2, 5, 6), (1, 3, 3, 3)]}
SHAPES |= {rows: [(5, 2, 4, 3)], mixed_rows: [(5, 2, 4, 3)]}


def module_of(made: LayerGradient, origin: np.ndarray) -> torch.jit.ScriptModule:
    return gradient_module(made.score, {**made.found, ORIGIN: origin})


def checks(made: LayerGradient, module: Any, origin: np.ndarray) -> dict[str, Check]:
    of = Derivative("neck", made.model, made.logits, made.features)
    found = torchscript_gradient.gradients(of, made.score, module, Probe(Run(made.found, made.feeds), origin))
    return {check.name.removeprefix("neck: TorchScript "): check for check in found}


def failed(found: dict[str, Check]) -> set[str]:
    return {name for name, check in found.items() if not check.error <= check.limit}


LOGITS, DISTURBED, DIFFERENCES = "logits", "logits, disturbed features", "gradient against finite differences"
OTHERS = "logits, other numbers of boxes"


@pytest.mark.parametrize("head", [dense, pyramid, rows])
def test_a_right_module_passes(head: Any) -> None:
    made = built(head, SHAPES[head])
    origin = made.positions()[::7]
    found = checks(made, module_of(made, origin), origin)
    assert set(found) == {LOGITS, OTHERS, DISTURBED, DIFFERENCES}
    assert failed(found) == set()
    assert max(check.error for check in found.values()) < 1e-5


@pytest.mark.parametrize("head", [dense, pyramid, rows])
def test_an_altered_weight_fails(head: Any) -> None:
    made = built(head, SHAPES[head])
    origin = made.positions()[::7]
    module = module_of(made, origin)
    with torch.no_grad():
        largest = max((t for t in module.buffers() if t.is_floating_point() and t.ndim > 1), key=torch.numel)
        largest.mul_(1.01)
    assert failed(checks(made, module, origin)) >= {LOGITS, DISTURBED}


class Spoiled:
    """A module whose results are tampered with."""

    def __init__(self, module: Any, spoil: Any) -> None:
        self.module, self.spoil = module, spoil

    def __call__(self, *inputs: Any) -> Any:
        return self.spoil(*self.module(*inputs))

    def logits(self, *inputs: Any) -> Any:
        return self(*inputs)[2]

    def double(self) -> Spoiled:
        return Spoiled(self.module.double(), self.spoil)

    def float(self) -> Spoiled:
        return Spoiled(self.module.float(), self.spoil)


SPOILS: dict[str, Any] = {
    "a little too long": lambda patches, places, logits: ([p * 1.001 for p in patches], places, logits),
    "one of them": lambda patches, places, logits: ([*patches[:-1], patches[-1] * 1.1], places, logits),
    "turned": lambda patches, places, logits: ([p.flip(2) for p in patches], places, logits),
    "moved by a cell": lambda patches, places, logits: (patches, places + torch.tensor([0, 0, 0, 1]), logits),
    "no number": lambda patches, places, logits: ([p * torch.nan for p in patches], places, logits),
    "nothing": lambda patches, places, logits: ([p * 0 for p in patches], places, logits),
}


@pytest.mark.parametrize("kind", SPOILS)
def test_a_wrong_gradient_fails_against_differences_alone(kind: str) -> None:
    made = built(dense, SHAPES[dense])
    origin = made.positions()[::7]
    module = Spoiled(module_of(made, origin), SPOILS[kind])
    assert failed(checks(made, module, origin)) == {DIFFERENCES}


def test_a_gradient_of_the_wrong_row_fails() -> None:
    made = built(rows, SHAPES[rows])
    origin = made.positions()[:6]

    def spoil(patches: Any, places: torch.Tensor, logits: Any) -> Any:
        return patches, (places + torch.tensor([0, 1, 0, 0])) % 5, logits

    assert failed(checks(made, Spoiled(module_of(made, origin), spoil), origin)) == {DIFFERENCES}


def test_a_gradient_that_one_patch_cannot_hold_fails() -> None:
    made = built(mixed_rows, SHAPES[mixed_rows])
    assert made.score.form == "whole"
    origin = made.positions()
    assert DIFFERENCES in failed(checks(made, module_of(made, origin), origin))


def test_a_wrong_logit_fails() -> None:
    made = built(dense, SHAPES[dense])
    origin = made.positions()[::7]
    module = Spoiled(module_of(made, origin), lambda patches, places, logits: (patches, places, logits + 0.01))
    assert failed(checks(made, module, origin)) == {LOGITS, DISTURBED}


# The forward graph ------------------------------------------------------------------------------------------------


def traced(*activations: str) -> Trace:
    values = tuple(ir.Value(name=f"logits{n}") for n in range(len(activations)))
    return Trace(values, activations, ir.Value(name="origin"), ir.Value(name="logit"))


LOGIT = [np.float32([[0.5, -1.0, 2.0]]), np.float32([[1.0, 0.0], [-2.0, 3.0]])]
ORIGINS = np.array([[0, 0, 2], [1, 1, 0], [-1, 0, 0]])
SIGMOID = 1 / (1 + np.exp(-2.0))
SOFTMAX = np.exp(-2.0) / (np.exp(-2.0) + np.exp(3.0))
PROBABILITIES = {1: np.array([[0.7, 0.3], [SOFTMAX, 1 - SOFTMAX]])}


def test_scores_that_follow_from_their_logits_pass() -> None:
    found = {"scores": np.float32([[SIGMOID, SOFTMAX, 0]]), "origin": ORIGINS}
    assert detections.scores(traced("Sigmoid", "Softmax"), NAMES, found, LOGIT, PROBABILITIES).error < 1e-7


def test_scores_in_a_column_are_read_from_it() -> None:
    dets = np.full((1, 3, 5), 7.0, np.float32)
    dets[0, :, 4] = [SIGMOID, SOFTMAX, 0]
    names = dataclasses.replace(NAMES, score_column=4)
    check = detections.scores(
        traced("Sigmoid", "Softmax"), names, {"scores": dets, "origin": ORIGINS}, LOGIT, PROBABILITIES
    )
    assert check.error < 1e-7


@pytest.mark.parametrize(
    ("scores", "activations"),
    [
        ([SIGMOID + 1e-5, SOFTMAX, 0], ("Sigmoid", "Softmax")),
        ([SIGMOID, SOFTMAX, 0], ("Sigmoid", "Sigmoid")),
        ([SIGMOID, SOFTMAX, 0], ("Identity", "Softmax")),
        ([SOFTMAX, SIGMOID, 0], ("Sigmoid", "Softmax")),
        ([np.nan, SOFTMAX, 0], ("Sigmoid", "Softmax")),
        ([SIGMOID, np.nan, 0], ("Sigmoid", "Softmax")),
        ([SIGMOID, SOFTMAX, 0.3], ("Sigmoid", "Softmax")),  # a detection that was taken for a filler
    ],
)
def test_a_wrong_score_fails(scores: list[float], activations: tuple[str, ...]) -> None:
    found = {"scores": np.float32([scores]), "origin": ORIGINS}
    check = detections.scores(traced(*activations), NAMES, found, LOGIT, PROBABILITIES)
    assert not check.error <= check.limit


OUTPUTS = {"boxes": np.float32([[100, 50], [3, 4]]), "labels": np.array([3, 79])}


def test_equal_outputs_pass() -> None:
    assert detections.outputs(OUTPUTS, {**OUTPUTS, "origin": ORIGINS}).error == 0


def test_an_output_that_is_infinite_in_both_passes() -> None:
    infinite = {"boxes": np.float32([np.inf, 1.0])}
    check = detections.outputs(infinite, infinite)
    assert check.error <= check.limit


@pytest.mark.parametrize(
    "altered",
    [
        {"boxes": np.float32([[100, 50.1], [3, 4]])},
        {"boxes": np.float32([[100, 50]])},
        {"boxes": np.float32([[100, np.nan], [3, 4]])},
        {"labels": np.array([3, 78])},
    ],
)
def test_an_altered_output_fails(altered: dict[str, np.ndarray]) -> None:
    check = detections.outputs(OUTPUTS, {**OUTPUTS, **altered})
    assert not check.error <= check.limit


def test_all_figures_are_returned_when_all_pass() -> None:
    assert require([Check("a", 1.23456e-7, 1e-4), Check("b", 0.0, 1e-4)]) == {"a": 1.23e-7, "b": 0.0}


@pytest.mark.parametrize("error", [2e-4, np.inf, np.nan])
def test_a_failed_check_stops_the_export_with_its_figures(error: float) -> None:
    with pytest.raises(VerificationError, match=r"\(b: .*, at most 1e-04 passes\), so no bundle was written"):
        require([Check("a", 0.0, 1e-4), Check("b", error, 1e-4)])


def test_what_is_no_number_says_that_the_weights_may_be_at_fault() -> None:
    with pytest.raises(VerificationError, match=r"nan, .*so no bundle was written.*is the checkpoint complete"):
        require([Check("a", np.nan, 1e-4)])
    with pytest.raises(VerificationError, match=r"so no bundle was written\. Try another"):
        require([Check("a", 2e-4, 1e-4)])


def test_origins_to_check_are_real_ones_and_corners() -> None:
    real = np.array([[0, 0, 1], [-1, 0, 0], [1, 0, 1]])
    chosen = detections.sample_origins({"origin": real}, LOGIT, "origin")
    assert chosen.tolist() == [[0, 0, 1], [1, 0, 1], [0, 0, 2], [1, 1, 1]]  # each once


def test_every_tensor_of_logits_has_its_turn_before_any_has_its_second() -> None:
    """Twenty boxes of one level must not crowd out the other levels."""
    real = np.array([[0, 0, n] for n in range(20)])
    tensors = [np.zeros((1, 30), np.float32)] * 5  # the highest is the first of them, the corner the last
    chosen = detections.sample_origins({"origin": real}, tensors, "origin")
    assert chosen[:10, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert len(chosen) == (20 + 1) + 2 * 4


def test_an_empty_tensor_of_logits_has_no_origin_to_check() -> None:
    empty = [LOGIT[0], np.zeros((0, 2), np.float32)]
    nothing = {"origin": np.zeros((0, 3), np.int64)}
    chosen = detections.sample_origins(nothing, empty, "origin")
    assert chosen.tolist() == [[0, 0, 2]]


def test_an_altered_score_fails_though_it_shares_its_output_with_large_boxes() -> None:
    dets = np.float32([[[10, 20, 1300, 800, 0.9], [0, 0, 1344, 800, 0.8]]])
    altered = dets.copy()
    altered[0, 0, 4] = 0.8
    check = detections.outputs({"dets": dets}, {"dets": altered})
    assert not check.error <= check.limit


def test_a_module_that_knows_one_number_of_boxes_only_fails() -> None:
    made = built(dense, SHAPES[dense])
    origin = made.positions()[::7]
    module = module_of(made, origin)

    def frozen(patches: Any, places: Any, logits: torch.Tensor) -> Any:
        return patches, places, logits if len(logits) == len(origin) else logits + 0.01

    assert failed(checks(made, Spoiled(module, frozen), origin)) >= {OTHERS}


@pytest.mark.parametrize("joined", [False, True])
def test_logits_that_share_a_softmax_are_found_behind_changes_of_layout(joined: bool) -> None:
    """As an SSD's: [1, anchors x classes, H, W] → [1, H W anchors, classes], level by level or all levels at once."""
    net = Net()
    sizes, anchors, classes = [(2, 3), (1, 2)], 2, 3
    names, flat = [], []
    for n, (h, w) in enumerate(sizes):
        image, weight = net.input(f"x{n}", (1, 1, h, w)), np.arange(1.0, 7.0).reshape(6, 1, 1, 1)
        names.append(net.node("Conv", [image, weight], name=f"z{n}")[0])
        flat.append(net.Reshape(net.Transpose(names[-1], perm=[0, 2, 3, 1]), np.array([1, -1, classes])))
    if joined:
        net.node("Softmax", [net.node("Concat", flat, name="inputs", axis=1)[0]], name="scores", axis=2)
    else:
        softmaxes = [net.Softmax(value, axis=2) for value in flat]
        net.node("Concat", softmaxes, name="scores", axis=1)
    rng = np.random.default_rng(0)
    feeds = {f"x{n}": rng.standard_normal((1, 1, *size)).astype(np.float32) for n, size in enumerate(sizes)}
    model = net.model(["scores", *names])
    found = run_model(model, feeds)
    values = {str(v.name): v for v in all_values(model.graph)}
    before = [values["inputs"]] * 2 if joined else [values[name] for name in flat]
    leaves = tuple(values[name] for name in names)
    made = Trace(leaves, ("Softmax",) * 2, ir.Value(name="origin"), ir.Value(name="logit"), tuple(before))
    result = detections.softmax(model, made, [found[name] for name in names], feeds)
    for n, name in enumerate(names):
        z = found[name].reshape(anchors, classes, *sizes[n]).astype(np.float64)
        expected = (np.exp(z) / np.exp(z).sum(1, keepdims=True)).reshape(found[name].shape)
        assert np.abs(result[n] - expected).max() < 1e-12
