"""What operators do stands in one table: nobody else keeps a list of them, and a new one is a row and a rule."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch.nn.functional as F
from onnx import defs

from boxcam.export.autodiff.rule import RULES, Site, elementwise
from boxcam.export.autodiff.vjp import vjp
from boxcam.export.graphs.dependency import differentiable_inputs
from boxcam.export.graphs.dimensions import known
from boxcam.export.graphs.operators import OPERATORS, Mixes, Operator
from boxcam.export.graphs.query import all_values
from tests.export.autodiff.differences import LIMIT, Case, errors
from tests.export.export_graphs import Net
from tests.export.heads import Head, OnnxSide, assert_exact, built

EXPORT = Path(__file__).parents[2] / "boxcam/export"
STANDARD = {schema.name for schema in defs.get_all_schemas_with_history() if schema.domain == ""}
MOST = 2  # names in one place that are no list yet

REGISTRATIONS = {
    "graphs/dimensions.py",  # how each operation of arithmetic is done on sizes
    "graphs/operators.py",  # the table
    "passes/open_selection.py",  # how each operator that selects is opened
    "torchscript/ops/elementwise.py",  # operators in torch that are a function of torch
    "trace/amounts.py",  # how each operator moves integers
}
"""Files with a dict from operators to what is done with each; a list without that is none of theirs either."""


OTHERWISE = {
    "graphs/head.py",  # after what a row is another box when features are others, those of plug-ins too
    "graphs/moved_integers.py",  # of those that move numbers, which change their type, or fill up with 0
    "heads/evidence/columns.py",  # how a table of detections is masked: multiplied or divided by, or chosen
    "heads/evidence/features.py",  # what features end in and scores of classes do not: a habit of networks
    "heads/evidence/integers.py",  # the arithmetic of class numbers: counted from 1, masked, chosen
    "heads/evidence/makers.py",  # what chooses rows by their numbers, control flow too; what a norm is written out with
    "layers/candidates.py",  # what a normalisation written out ends with, in this order, is a pattern
    "passes/single_image.py",  # operators that are told sizes by an input, which the table does not say
    "steps/candidates.py",  # those that lay out all numbers of a tensor, and leave none out
    "verify/replay.py",  # those whose products are counted, each in its own way, before a check in float64 is begun
    "verify/plausible/decoded.py",  # operators that count places
    "verify/plausible/normalisation.py",  # the few that normalise an image and can be undone: a chain, not a nature
}
"""Files with a list that is not of a trait of the table."""


def lists(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Places in a file with more names of operators than `MOST`: line, names; dicts of functions aside."""
    registers = path.relative_to(EXPORT).as_posix() in REGISTRATIONS if path.is_relative_to(EXPORT) else False
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        parts: list[Any] = []
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            parts = node.elts
        elif isinstance(node, ast.Dict):
            parts = [] if registers else node.keys
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.split()
            parts = [ast.Constant(word) for word in words] if set(words) <= STANDARD else []
        names = [part.value for part in parts if isinstance(part, ast.Constant) and part.value in STANDARD]
        if len(names) > MOST:
            yield node.lineno, names


def test_nobody_else_keeps_a_list_of_operators() -> None:
    found = {
        f"{path.relative_to(EXPORT)}:{line}": names
        for path in sorted(EXPORT.rglob("*.py"))
        for line, names in lists(path)
        if path.relative_to(EXPORT).as_posix() not in OTHERWISE
    }
    assert found == {}, "ask graphs/operators.py for a trait instead"


@pytest.mark.parametrize(
    "text",
    [
        'A = ("Relu", "Tanh", "Exp")',
        'A = {"Relu": 1, "Tanh": 2, "Exp": 3}',
        'if kind in {"Relu", "Tanh", "Exp", "Other"}: pass',
        'A = "Relu Tanh Exp".split()',
    ],
)
def test_a_list_is_seen(text: str, tmp_path: Path) -> None:
    path = tmp_path / "late.py"
    path.write_text(text, encoding="utf-8")
    assert [line for line, _ in lists(path)] == [1]


# -- a new element-wise operator: Softplus, which is taken away, and put back as one row and one rule


@pytest.fixture
def without_softplus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delitem(OPERATORS, "Softplus")  # type: ignore[arg-type]
    monkeypatch.delitem(RULES._things, "Softplus")
    return monkeypatch


def add(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row, and the rule."""
    monkeypatch.setitem(OPERATORS, "Softplus", Operator(Mixes.NONE))  # type: ignore[arg-type]
    monkeypatch.setitem(RULES._things, "Softplus", None)  # taken back when the test ends
    del RULES._things["Softplus"]

    @elementwise("Softplus")
    def rule(site: Site, gs: Any) -> Any:
        return [site.op.Mul(gs[0], site.op.Sigmoid(site.x()))]


def _softplus(s: Any, x: Any) -> Any:
    return s.net.Softplus(x) if isinstance(s, OnnxSide) else F.softplus(x)


def by_window(s: Any, x: Any) -> list[Any]:
    return [s.conv(_softplus(s, s.conv(x, "a", (3, 2, 3, 3))), "b", (2, 3, 3, 3))]


def by_row(s: Any, x: Any) -> list[Any]:
    return [s.gemm(_softplus(s, s.gemm(s.flat(x), "a", (6, 24))), "b", (3, 6))]


@pytest.mark.parametrize(
    ("head", "shape", "form"), [(by_window, (1, 2, 6, 7), "windows"), (by_row, (5, 2, 4, 3), "rows")]
)
def test_a_new_elementwise_operator_is_followed_by_its_row_alone(
    head: Head, shape: tuple[int, ...], form: str, without_softplus: pytest.MonkeyPatch
) -> None:
    assert built(head, [shape]).score.form == "whole"
    add(without_softplus)
    made = built(head, [shape])
    assert made.score.form == form
    assert_exact(head, made, [made.feeds["x0"] * np.float32(1.5)], (0,))


def test_a_new_elementwise_operator_has_a_gradient_and_sizes(without_softplus: pytest.MonkeyPatch) -> None:
    case = Case("Softplus", (np.random.default_rng(0).standard_normal((2, 3)),))
    net = Net()
    net.node("Softplus", [net.input("x", (2, 3))], name="y")
    model = net.model(["y"])
    y = next(value for value in all_values(model.graph) if value.name == "y")
    y.shape = ir.Shape([None, None])
    assert known(y, 1) is None
    with pytest.raises(Exception, match="has no gradient rule"):
        vjp(model, "y", ["x"])
    add(without_softplus)
    assert known(y, 1) == 3
    node = y.producer()
    assert node is not None
    assert [value.name for value in differentiable_inputs(node)] == ["x"]
    assert errors(case) < LIMIT
