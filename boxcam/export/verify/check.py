"""A check of an export: what is checked, where, and a figure with its limit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from boxcam.errors import VerificationError
from boxcam.export.graphs.query import Array


@dataclass(frozen=True, eq=False)
class Run:
    """One pass of the forward graph.

    Attributes:
        found: its outputs, and the tensors that targets are taken from.
        feeds: its input.
    """

    found: Mapping[str, Array]
    feeds: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Probe:
    """Where a gradient is checked.

    Attributes:
        run: a pass of the forward graph.
        origin: int64 [K, D], the elements of the tensors that the target is taken from, see `boxcam.types.ORIGIN`.
    """

    run: Run
    origin: Array

    @property
    def found(self) -> Mapping[str, Array]:
        """The values of the run."""
        return self.run.found

    def first(self, most: int) -> Probe:
        """The same run, at no more than so many elements."""
        return Probe(self.run, self.origin[:most])


@dataclass(frozen=True, eq=False)
class Derivative:
    """What a gradient is of, and by what.

    Attributes:
        name: what its checks are called.
        model: the detector, folded, in which both are.
        ends: names of the tensors that the target is taken from.
        features: names of the layer's tensors.
    """

    name: str
    model: ir.Model
    ends: Sequence[str]
    features: Sequence[str]


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        name: what is compared.
        error: what was measured.
        limit: the largest that passes.
        detail: what differs, for people.
        advice: what to do if it does not pass, where more is known than that another image may help.
    """

    name: str
    error: float
    limit: float
    detail: str = ""
    advice: str = ""

    @property
    def passed(self) -> bool:
        """Whether the error is a number, and no larger than it may be."""
        return self.error <= self.limit


def require(checks: Sequence[Check]) -> dict[str, float]:
    """The figures by name.

    Raises:
        VerificationError: one is above its limit, or no number.
    """
    bad = [one for one in checks if not one.passed]
    if bad:
        figures = "; ".join(_figure(one) for one in bad)
        own = next((one.advice for one in bad if one.advice), "")
        advice = own or "Try another image with sample=. If it persists, please report it with the model."
        if any(math.isnan(one.error) for one in bad):
            advice = f"NaN stems from numbers that float32 cannot hold: is the checkpoint complete? {advice}"
        raise VerificationError(
            f"the exported files do not agree with the model ({figures}), so no bundle was written. {advice}"
        )
    return {one.name: float(f"{one.error:.3g}") for one in checks}


def _figure(failed: Check) -> str:
    detail = f" ({failed.detail})" if failed.detail else ""
    return f"{failed.name}: {failed.error:.2e}, at most {failed.limit:.0e} passes{detail}"


FAINT = 1e-6
"""Features that vary less have no kinks that finite differences, with steps of 1e-9, could stay on one side of."""
