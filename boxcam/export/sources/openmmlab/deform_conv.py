"""Functions with a backward pass of their own, in standard operators.

mmdeploy writes operators of its own for mmcv's deformable convolutions, which only its own plugin runs; ONNX has
DeformConv since opset 19.  It knows nothing of the geometric mean that is the score of TOOD.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

OPSET = 19


def has_deformable_convolutions(model: Any) -> bool:
    """Whether a model of mmdet has any: as modules, or called by a head that shifts its boxes (TOOD)."""
    return any("DeformConv" in type(m).__name__ or hasattr(m, "deform_sampling") for m in model.modules())


@contextlib.contextmanager
def as_standard_operators() -> Iterator[None]:
    """Within the block, mmdeploy writes standard operators."""
    import mmdeploy.mmcv.ops  # noqa: F401  (registers mmdeploy's own, which these stand in front of)
    from mmdeploy.core import SYMBOLIC_REWRITER

    records = SYMBOLIC_REWRITER._registry._rewrite_records
    ours = {
        "mmcv.ops.deform_conv.DeformConv2dFunction": _deform,
        "mmcv.ops.modulated_deform_conv.ModulatedDeformConv2dFunction": _modulated,
        "mmdet.models.utils.misc.SigmoidGeometricMean": _geometric_mean,
    }
    before = {name: list(records.get(name, [])) for name in ours}
    for name, symbolic in ours.items():
        register: Any = SYMBOLIC_REWRITER.register_symbolic(name, backend="onnxruntime")
        register(symbolic)
    try:
        yield
    finally:
        records.update(before)


def _deform(
    g: Any,
    image: Any,
    offset: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    deform_groups: int,
    bias: Any = False,
    im2col_step: int = 32,
) -> Any:
    attributes = _attributes(stride, padding, dilation, groups, deform_groups)
    return g.op("DeformConv", image, weight, offset, **attributes).setType(image.type().with_sizes([None] * 4))


def _modulated(
    g: Any,
    image: Any,
    offset: Any,
    mask: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    deform_groups: int,
) -> Any:
    import torch

    if bias is None:
        bias = g.op("Constant", value_t=torch.zeros(weight.type().sizes()[0]))
    attributes = _attributes(stride, padding, dilation, groups, deform_groups)
    out = g.op("DeformConv", image, weight, offset, bias, mask, **attributes)
    return out.setType(image.type().with_sizes([None] * 4))


def _geometric_mean(g: Any, first: Any, second: Any) -> Any:
    return g.op("Sqrt", g.op("Mul", g.op("Sigmoid", first), g.op("Sigmoid", second)))


def _attributes(stride: Any, padding: Any, dilation: Any, groups: int, deform_groups: int) -> dict[str, Any]:
    return {
        "strides_i": _pair(stride),
        "pads_i": _pair(padding) * 2,
        "dilations_i": _pair(dilation),
        "group_i": groups,
        "offset_group_i": deform_groups,
    }


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else [int(v) for v in value]
