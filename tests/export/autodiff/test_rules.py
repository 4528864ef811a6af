"""Every gradient rule against finite differences; kinks and ties as PyTorch has them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.export.autodiff.differences import LIMIT, Case, errors

_rng = np.random.default_rng(0)
CASES = [Case("Add", (_rng.random((2, 3)), _rng.random((1, 3)))), Case("Mul", (_rng.random((2, 3)), _rng.random(3)))]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_gives_the_gradient(case: Case) -> None:
    assert errors(case) < LIMIT
