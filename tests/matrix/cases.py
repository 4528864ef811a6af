"""The registry as parameters of tests; what is heavy is marked so."""

from __future__ import annotations

import pytest
from _pytest.mark import ParameterSet

import tests.matrix.families  # noqa: F401  (registers them)
from tests.matrix.registry import FAMILIES, REFUSED, Key


def marked(name: str, *more: Key) -> ParameterSet:
    """A family, and the gradient that a test is of, as a test's parameters."""
    heavy = FAMILIES[name].heavy if name in FAMILIES else REFUSED[name].heavy
    return pytest.param(
        name,
        *more,
        marks=[pytest.mark.heavy] if heavy else [],
        id="-".join([name, *(word for key in more for word in key if word != "plain")]),
    )


NAMES = [marked(name) for name in FAMILIES]
CASES = [marked(name, cell.key) for name in FAMILIES for cell in FAMILIES[name].cells()]
REFUSALS = [marked(name) for name in REFUSED]
