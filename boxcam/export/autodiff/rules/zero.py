"""Operators whose gradient is zero wherever it exists: the table of operators says which, and why."""

from __future__ import annotations

from boxcam.export.autodiff.rule import ZERO
from boxcam.export.graphs.operators import OPERATORS

for _name, _operator in OPERATORS.items():
    if _operator.zero:
        ZERO.register(_name)(_operator.zero)
