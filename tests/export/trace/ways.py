"""Ways from logits to reported scores, and the check that a trace leads back: where a score came from is found again by
its value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from boxcam.bundle import Outputs
from boxcam.export.graphs.extract import add_output
from boxcam.export.graphs.run import record_ranks, run_model
from boxcam.export.trace.trace import trace
from tests.export.export_graphs import Arrays, Net, Shape

SCORES = "scores"
Build = Callable[..., str]


@dataclass(frozen=True)
class Case:
    """A way from class scores (one tensor per level) to the reported scores."""

    build: Build
    shapes: tuple[tuple[int, ...], ...]
    activation: str = "Sigmoid"
    error: float = 1e-6  # of the scores
    axis: int = -1
    dynamic: bool = False
    column: int | None = None
    feeds: tuple[Arrays, ...] = ({},)


@dataclass
class Cases:
    all: dict[str, Case] = field(default_factory=dict)

    def __call__(self, *shapes: tuple[int, ...], **options: object) -> Callable[[Build], Build]:
        def put(build: Build) -> Build:
            assert build.__name__ not in self.all
            self.all[build.__name__] = Case(build, shapes, **options)  # type: ignore[arg-type]
            return build

        return put


def distinct(shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray]:
    """Logits of which no two are equal, in [-3, 3]."""
    count = sum(int(np.prod(shape)) for shape in shapes)
    values = np.random.default_rng(count).permutation(np.linspace(-3, 3, count)).astype(np.float32)
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(values, ends[:-1]), shapes, strict=True)]


def level(net: Net, number: int, shape: Shape, activation: str, axis: int) -> str:
    """An input, the logits made of it, their activation."""
    logits = net.node("Add", [net.input(f"x{number}", shape), np.float32(0.25)], name=f"logits{number}")[0]
    if activation == "Identity":
        return logits
    return net.Sigmoid(logits) if activation == "Sigmoid" else net.Softmax(logits, axis=axis)


def activated(logits: np.ndarray, activation: str, axis: int) -> np.ndarray:
    exact = logits.astype(np.float64)
    if activation == "Sigmoid":
        return 1 / (1 + np.exp(-exact))
    if activation == "Softmax":
        return np.exp(exact) / np.exp(exact).sum(axis, keepdims=True)
    return exact


def built(case: Case) -> ir.Model:
    net = Net()
    shapes = [tuple(f"d{n}_{a}" for a in range(len(s))) if case.dynamic else s for n, s in enumerate(case.shapes)]
    scores = [level(net, n, shape, case.activation, case.axis) for n, shape in enumerate(shapes)]
    net.node("Identity", [case.build(net, *scores)], name=SCORES)
    return net.model([SCORES])


def run_traced(model: ir.Model, feeds: Arrays, column: int | None = None) -> tuple[Arrays, tuple[str, ...]]:
    """Outputs of the traced graph, the logits among them; names of the logits as origin numbers them."""
    record_ranks(model, feeds)
    before = run_model(model, feeds)
    found = trace(model.graph, Outputs("boxes", SCORES, "labels", score_column=column))
    for value in found.logits:
        add_output(model.graph, value)
    results = run_model(model, feeds)
    np.testing.assert_array_equal(results[SCORES], before[SCORES])
    return results, tuple(str(value.name) for value in found.logits)


def reported(results: Arrays, column: int | None) -> np.ndarray:
    scores = results[SCORES]
    return (scores if column is None else scores[..., column]).reshape(-1)


def check(case: Case, feeds: Arrays) -> None:
    logits = distinct(case.shapes)
    inputs = {f"x{n}": values - np.float32(0.25) for n, values in enumerate(logits)}
    results, names = run_traced(built(case), {**inputs, **feeds}, case.column)
    scores = reported(results, case.column)
    origin, logit = results["origin"], results["logit"]
    assert origin.shape == (len(scores), 1 + max(results[name].ndim for name in names))
    assert logit.shape == scores.shape
    levels = [int(name.removeprefix("logits")) for name in names]  # the number in origin → the level
    for score, row, value in zip(scores, origin, logit, strict=True):
        if score == 0:  # no activation gives it: a filler
            assert (row[0], value) == (-1, 0)
            continue
        # Where is a score nearest to this one? Nothing but values is used.
        candidates = [
            (abs(float(s) - float(score)), n, position)
            for n, values in enumerate(logits)
            for position, s in np.ndenumerate(activated(values, case.activation, case.axis))
        ]
        (error, n, position), (next_error, *_) = sorted(candidates, key=lambda c: c[0])[:2]
        assert error < case.error < next_error, "the case does not tell its logits apart"
        assert levels[row[0]] == n
        assert tuple(row[1 : 1 + len(position)]) == position
        assert not row[1 + len(position) :].any()
        assert value == results[names[row[0]]][position]
