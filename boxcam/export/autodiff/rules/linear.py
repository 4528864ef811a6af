"""Matrix products, and the normalised exponentials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from string import ascii_letters

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, rule
from boxcam.export.autodiff.rules.axes import arrived, out_dims, ranked, unbroadcast
from boxcam.export.autodiff.turned import transposed
from boxcam.export.graphs.ops import Operand


def _matmul_axes(site: Site) -> Sequence[int]:
    constant = site.constant(1)
    if site.wanted == {0} and constant is not None and constant.ndim == 2 and site.rank() > 1:
        return range(site.rank() - 1)
    same = [site.dims(i)[:-2] == out_dims(site)[:-2] for i in site.wanted]
    return range(site.out_rank() - 2) if all(same) and min(site.rank(), site.rank(1)) > 1 else ()


@rule("MatMul", independent=_matmul_axes)
def _matmul(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """``dA = g·Bᵀ``, ``dB = Aᵀ·g``, summed over batch axes that were repeated."""
    op, g = site.op, arrived(gs)
    a, b, out = site.dims(0), site.dims(1), out_dims(site)
    constant = site.constant(1)
    if constant is not None and constant.ndim == 2 and len(a) > 1:
        return [lambda: op.MatMul(g, transposed(op, constant)), lambda: _to_right(site, g)]
    if len(a) == 1:  # a row
        a, out = (1, *a), (*out[:-1], 1, *out[-1:]) if len(b) > 1 else (1, *out)
        g = op.Unsqueeze(g, [-2]) if len(b) > 1 else op.Unsqueeze(g, [-1])
    if len(b) == 1:  # a column
        b, out = (*b, 1), (*out, 1)
        g = op.Unsqueeze(g, [-1])

    def left() -> ir.Value:
        product = op.MatMul(g, _flipped(site, 1))
        found = unbroadcast(site, product, (*out[:-1], b[-2]), a)
        return op.Squeeze(found, [-2]) if site.rank(0) == 1 else found

    return [left, lambda: _to_right(site, g)]


def _to_right(site: Site, g: ir.Value) -> ir.Value:
    """The gradient of a product by its right factor; g has the axes that a single row or column lacks."""
    op = site.op
    rank = max(2, site.rank(0), site.rank(1))
    batch = out_dims(site)[: rank - 2]
    b = site.dims(1) if site.rank(1) > 1 else (*site.dims(1), 1)
    product = op.MatMul(_flipped(site, 0), g)
    found = unbroadcast(site, product, (*batch, *b[-2:]), b)
    return op.Squeeze(found, [-1]) if site.rank(1) == 1 else found


def _flipped(site: Site, index: int) -> ir.Value:
    """An operand as matrices, their two axes swapped; a vector as what it stands for: a row or a column."""
    op, value, rank = site.op, site.x(index), site.rank(index)
    if rank == 1:
        return op.Unsqueeze(value, [1 - index])
    if rank == 2:
        return op.Transpose(value, perm=[1, 0])
    rank = max(site.rank(0), site.rank(1))
    return op.Transpose(ranked(op, value, rank), perm=[*range(rank - 1), rank, rank - 1])


def _gemm_axes(site: Site) -> Sequence[int]:
    constant = site.constant(1) is not None
    return (0,) if constant and site.wanted == {0} and not site.attribute("transA", 0) else ()


@rule("Gemm", independent=_gemm_axes)
def _gemm(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """``y = α·A·B + β·C``: ``dA = α·g·Bᵀ``, ``dB = α·Aᵀ·g``, ``dC = β·g``; each transposed where its operand is."""
    op, g = site.op, arrived(gs)

    def scaled(value: ir.Value, name: str) -> ir.Value:
        factor = site.attribute(name, 1.0)
        return value if factor == 1.0 else op.Mul(value, float(factor))

    def operand(index: int, turn: bool) -> Operand:
        constant = site.constant(index)
        if constant is not None:
            return transposed(op, constant) if turn else constant
        return op.Transpose(site.x(index), perm=[1, 0]) if turn else site.x(index)

    def back(value: ir.Value, turn: bool) -> ir.Value:
        return op.Transpose(value, perm=[0, 2, 1]) if turn else value

    flip_a, flip_b = bool(site.attribute("transA", 0)), bool(site.attribute("transB", 0))
    return [
        lambda: back(op.MatMul(scaled(g, "alpha"), operand(1, not flip_b)), flip_a),
        lambda: back(op.MatMul(operand(0, not flip_a), scaled(g, "alpha")), flip_b),
        lambda: unbroadcast(site, scaled(g, "beta"), out_dims(site), site.dims(2)),
    ]


@rule("Einsum", note="no index twice in one operand, no axis repeated by broadcasting")
def _einsum(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """The gradient by one operand is the product of g and the other operands, summed to the operand's indices."""
    op, g = site.op, arrived(gs)
    terms, out = _equation(site)
    box = next(letter for letter in ascii_letters if letter not in "".join([*terms, out]))

    def by(index: int) -> Callable[[], ir.Value]:
        def write() -> ir.Value:
            others = [i for i in range(len(terms)) if i != index]
            used = [terms[i] for i in others]
            # An index of this operand alone was summed over: the gradient is the same all along it.
            alone = "".join(c for c in terms[index] if c not in out and not any(c in term for term in used))
            ones = [np.ones(site.shape(index)[terms[index].index(c)]) for c in alone]
            given = ",".join([box + out, *used, *alone])
            return op.Einsum(g, *(site.x(i) for i in others), *ones, equation=f"{given}->{box}{terms[index]}")

        return write

    return [by(index) for index in range(len(terms))]


def _equation(site: Site) -> tuple[list[str], str]:
    """The operands' indices and those of the output, all named: no ellipsis, no implicit output."""
    left, arrow, out = str(site.attribute("equation")).replace(" ", "").partition("->")
    terms = left.split(",")
    named = set(left)
    if not arrow:  # the indices that occur once, in alphabetical order, behind the ellipsis
        out = ("..." if "..." in left else "") + "".join(
            sorted(c for c in named & {*ascii_letters} if left.count(c) == 1)
        )
    free = [c for c in ascii_letters if c not in left + out]
    more = [site.rank(i) - len(term) + 3 if "..." in term else 0 for i, term in enumerate(terms)]
    most = max(more)
    filled = [t.replace("...", "".join(free[most - m : most])) for t, m in zip(terms, more, strict=True)]
    result = out.replace("...", "".join(free[:most]))
    sizes: dict[str, int] = {}
    for index, term in enumerate(filled):
        if len(set(term)) < len(term):
            site.unsupported(f"an index occurs twice in one operand of {site.attribute('equation')!r}")
        for letter, size in zip(term, site.dims(index), strict=True):
            if size is not None and sizes.setdefault(letter, size) != size:
                site.unsupported(f"its operands are broadcast in {site.attribute('equation')!r}")
    return filled, result


def _normalised(site: Site) -> list[int]:
    """The axes that are normalised together, counted from the end."""
    if site.opset >= 13:
        return [site.axis(site.attribute("axis", -1))]
    rank = site.rank()
    return list(range(site.attribute("axis", 1) % rank - rank, 0))


def _others(site: Site) -> Sequence[int]:
    taken = [axis + site.rank() for axis in _normalised(site)]
    return [axis for axis in range(site.rank()) if axis not in taken]


@rule("Softmax", independent=_others)
def _softmax(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """``dx = y · (g - Σ g·y)``."""
    op, g, y = site.op, arrived(gs), site.y()
    mean = op.ReduceSum(op.Mul(g, y), _normalised(site), keepdims=1)
    return [op.Mul(y, op.Sub(g, mean))]


@rule("LogSoftmax", independent=_others)
def _log_softmax(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """``dx = g - exp(y) · Σ g``."""
    op, g = site.op, arrived(gs)
    return [op.Sub(g, op.Mul(op.Exp(site.y()), op.ReduceSum(g, _normalised(site), keepdims=1)))]
