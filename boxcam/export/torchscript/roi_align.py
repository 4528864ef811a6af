"""RoIAlign in plain torch operators, so that a gradient module needs no torchvision.

Average RoIAlign is separable: each output cell is the mean over a grid of sample points of a bilinear interpolation,
which is a product of one weight along y and one along x.  With the weights as matrices, ``pooled = Wy · X · Wxᵀ``, and
autograd's backward pass is ``Wyᵀ · dP · Wx``.
"""

from __future__ import annotations

import torch


@torch.jit.script
def _axis_weights(start: torch.Tensor, length: torch.Tensor, bins: int, size: int, sampling: int) -> torch.Tensor:
    """Interpolation weights along one axis.

    Args:
        start, length: [K], where each proposal begins and how long it is, in cells.
        bins: number of output cells.
        size: number of input cells.
        sampling: sample points per output cell; 0 for as many as the proposal has input cells per output cell.

    Returns:
        [K, bins, size], each row the mean of the hat functions of its sample points.
    """
    each = torch.full_like(start, float(sampling)) if sampling > 0 else torch.ceil(length / bins)
    most = max(int(each.max()), 1) if each.numel() > 0 else 1
    sample = torch.arange(most, dtype=start.dtype, device=start.device)
    cell = torch.arange(bins, dtype=start.dtype, device=start.device)
    step = (length / bins)[:, None]
    inside = (sample[None] + 0.5) * step / each[:, None].clamp(min=1.0)  # [K, most]; rounded as ONNX Runtime does
    position = start[:, None, None] + cell[None, :, None] * step[:, :, None] + inside[:, None]
    used = (sample[None] < each[:, None])[:, None] & (position >= -1.0) & (position <= float(size))
    clamped = position.clamp(0.0, float(size - 1))
    grid = torch.arange(size, dtype=start.dtype, device=start.device)
    hat = (1.0 - (clamped[:, :, :, None] - grid).abs()).clamp(min=0.0)  # [K, bins, most, size]
    weights = (hat * used[:, :, :, None].to(hat.dtype)).sum(2)
    return weights / each.clamp(min=1.0)[:, None, None]


@torch.jit.script
def roi_align(
    features: torch.Tensor,
    rois: torch.Tensor,
    height: int,
    width: int,
    scale: float,
    sampling: int,
    aligned: bool,
) -> torch.Tensor:
    """Average RoIAlign (He et al. 2017) of one image; no gradient flows to the proposals.

    Args:
        features: [1, C, H, W].
        rois: [K, 4], x1 y1 x2 y2.
        height, width: of the output.
        scale: feature cells per unit of the proposals.
        sampling: sample points per output cell and axis; 0 adapts to the proposal's size.
        aligned: shift by half a cell ("half_pixel"); otherwise proposals are at least one cell long.

    Returns:
        [K, C, height, width].
    """
    shift = 0.5 if aligned else 0.0
    box = rois.detach() * scale - shift
    lengths = box[:, 2:] - box[:, :2]
    if not aligned:
        lengths = lengths.clamp(min=1.0)
    rows = _axis_weights(box[:, 1], lengths[:, 1], height, features.size(2), sampling)
    columns = _axis_weights(box[:, 0], lengths[:, 0], width, features.size(3), sampling)
    count, channels = rois.size(0), features.size(1)
    partial = torch.matmul(rows.reshape(1, count * height, features.size(2)), features[0])
    partial = partial.reshape(channels, count, height, features.size(3)).permute(1, 0, 2, 3)
    return torch.matmul(partial, columns.transpose(1, 2)[:, None])
