"""Sums, products and what else takes several operands element by element."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, elementwise


@elementwise("Add", "Sum")
def _add(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    return [gs[0]] * len(site.node.inputs)


@elementwise("Mul")
def _mul(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    op, g = site.op, gs[0]
    return [lambda: op.Mul(g, site.x(1)), lambda: op.Mul(g, site.x(0))]
