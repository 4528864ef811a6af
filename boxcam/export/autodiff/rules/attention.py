"""Attention as one operator (opset 23): ``Y = softmax(scale · Q · Kᵀ + mask) · V``, head by head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, rule
from boxcam.export.autodiff.rules.axes import arrived, real_type


@rule("Attention", note="no past keys and values, no softcap, as many key heads as query heads")
def _attention(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """With P the softmax and S its argument: ``dV = Pᵀ·g``, ``dP = g·Vᵀ``, ``dS = P ⊙ (dP - Σ dP ⊙ P)``,
    ``dQ = scale · dS · K``, ``dK = scale · dSᵀ · Q`` (Vaswani et al. 2017, equation 1, differentiated).
    """
    if gs[0] is None:
        site.unsupported("returns more than its result, and a gradient is computed from its result only")
    if site.has(4) or site.has(5) or site.attribute("softcap", 0.0):
        site.unsupported("has past keys or a softcap, which are not supported")
    if site.wanted & {3}:
        site.unsupported(
            "has a mask that depends on the layer, and a gradient is computed to queries, keys and values only"
        )
    op = site.op
    heads = site.attribute("q_num_heads") if site.rank() == 3 else site.shape()[1]
    others = site.attribute("kv_num_heads") if site.rank() == 3 else site.shape(1)[1]
    if heads is None or heads != others:
        site.unsupported("shares key heads among queries (grouped-query attention), which is not supported")
    query, key, value = (_by_head(site, site.x(i), i, int(heads)) for i in range(3))
    size = site.shape()[-1] // (int(heads) if site.rank() == 3 else 1)
    scale = float(site.attribute("scale") or 1 / np.sqrt(size))
    scores = op.Mul(op.MatMul(query, _turned(site, key)), scale)
    chances = op.Softmax(_masked(site, scores), axis=-1)  # [B, heads, queries, keys]
    g = arrived(gs)
    if site.rank() == 3:
        width = site.shape(2)[-1] // int(heads)
        apart = op.Reshape(g, [0, 0, 0, int(heads), width])
        g = op.Transpose(apart, perm=[0, 1, 3, 2, 4])
    by_chance = op.MatMul(g, _turned(site, value))
    even = op.ReduceSum(op.Mul(by_chance, chances), [-1], keepdims=1)
    by_score = op.Mul(op.Mul(chances, op.Sub(by_chance, even)), scale)
    return [
        lambda: _together(site, op.MatMul(by_score, key), 0),
        lambda: _together(site, op.MatMul(op.Transpose(by_score, perm=[0, 1, 2, 4, 3]), query), 1),
        lambda: _together(site, op.MatMul(_turned(site, chances), g), 2),
    ]


def _by_head(site: Site, value: ir.Value, index: int, heads: int) -> ir.Value:
    """[B, heads, length, size]."""
    if site.rank(index) == 4:
        return value
    batch, length, width = site.shape(index)
    return site.op.Transpose(site.op.Reshape(value, [batch, length, heads, width // heads]), perm=[0, 2, 1, 3])


def _together(site: Site, gradient: ir.Value, index: int) -> ir.Value:
    """A gradient by head, [M, B, heads, length, size], in the shape of the input."""
    if site.rank(index) == 4:
        return gradient
    turned = site.op.Transpose(gradient, perm=[0, 1, 3, 2, 4])
    return site.op.Reshape(turned, [0, 0, 0, site.shape(index)[-1]])


def _turned(site: Site, value: ir.Value) -> ir.Value:
    return site.op.Transpose(value, perm=[0, 1, 3, 2])


def _masked(site: Site, scores: ir.Value) -> ir.Value:
    op = site.op
    if site.has(3):
        mask = site.x(3)
        boolean = site.node.inputs[3] is not None and site.node.inputs[3].dtype is ir.DataType.BOOL
        scores = op.Where(mask, scores, float("-inf")) if boolean else op.Add(scores, op.Cast(mask, to=real_type(op)))
    if site.attribute("is_causal", 0):
        queries, keys = site.shape()[-2], site.shape(1)[-2]
        scores = op.Where(np.tril(np.ones((queries, keys), bool)), scores, float("-inf"))
    return scores
