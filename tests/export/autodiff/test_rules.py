"""Every gradient rule against finite differences, and its graph in ONNX Runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import onnx_ir as ir
import pytest

from boxcam.export.autodiff import rule as rules
from boxcam.export.autodiff import rules as _registered  # noqa: F401
from boxcam.export.autodiff.rule import RULES, ZERO, Contribution, Rule, Site
from boxcam.export.graphs.operators import OPERATORS
from tests.export.autodiff.cases import CASES
from tests.export.autodiff.differences import LIMIT, Case, errors, runtime_error

_SINGLE = 1e-4
"""How far single precision may be from double, relative to the largest value."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_gives_the_gradient(case: Case) -> None:
    assert errors(case) < LIMIT


@pytest.mark.parametrize("case", CASES, ids=str)
def test_onnx_runtime_runs_the_gradient_in_single_precision(case: Case) -> None:
    assert runtime_error(case) < _SINGLE


def test_every_rule_has_a_case() -> None:
    assert set(RULES) - {case.operator for case in CASES} == set()


def test_an_operator_has_one_verdict() -> None:
    assert set(RULES) & set(ZERO) == set()
    assert {name: rules.verdict(name) for name in ("Relu", "Floor", "Loop")} == {
        "Relu": "rule",
        "Floor": "zero",
        "Loop": "unsupported",
    }


def test_no_gradient_flows_where_it_is_zero() -> None:
    assert {name for name, operator in OPERATORS.items() if not operator.differentiable(4)} == set(ZERO)


def _wrong(right: Rule) -> Rule:
    """The rule, and a thousandth more."""

    def function(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
        return [None if c is None else _more(site, c) for c in right.function(site, gs)]

    return dataclasses.replace(right, function=function)


def _more(site: Site, contribution: Contribution) -> Contribution:
    return lambda: site.op.Mul(contribution() if callable(contribution) else contribution, 1.001)


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_rule_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES._things, name, _wrong(RULES[name]))
    (case, *_) = [case for case in CASES if case.operator == name]
    assert errors(case) > 100 * LIMIT
