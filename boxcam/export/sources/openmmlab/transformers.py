"""Detection transformers in the graph: in standard operators, with the values marked that mmdet detaches.

- mmdeploy 1.3.1 exports the sampling of deformable attention as an operator of its own, ``mmdeploy::grid_sampler``;
  since opset 16 it is a standard one, GridSample, and torch exports it so if mmdeploy lets it.
- Deformable DETR and DINO refine their reference points layer by layer, and ``detach()`` them between: training
  differentiates so, and so do we. ``detach()`` leaves no trace in ONNX, so each such value gets a mark.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from boxcam.export.sources.pytorch import marks

STOP = "stop"
"""What the marks of detached values begin with."""


@contextlib.contextmanager
def standard_grid_sample() -> Iterator[None]:
    """Within the block ``grid_sample`` is exported as GridSample."""
    import mmdeploy.pytorch.symbolics  # noqa: F401  (registers what is taken out)
    from mmdeploy.core import SYMBOLIC_REWRITER

    records = SYMBOLIC_REWRITER._registry._rewrite_records
    taken = records.pop("grid_sampler", None)
    try:
        yield
    finally:
        if taken is not None:
            records["grid_sampler"] = taken


@contextlib.contextmanager
def marked_detached(model: Any) -> Iterator[None]:
    """Mark what a detection transformer detaches between its layers: ``stop.0``, ``stop.1`` …

    What is detached elsewhere, such as logits before boxes are selected, is no business of the gradient.
    """
    forward = getattr(model, "forward_transformer", None)
    if forward is None:
        yield
        return
    detach = torch.Tensor.detach
    count = 0

    def marked(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal count
        result = detach(tensor)
        if result.is_floating_point():
            result = marks.mark(result, f"{STOP}.{count}")
            count += 1
        return result

    def inside(*args: Any, **kwargs: Any) -> Any:
        torch.Tensor.detach = marked  # type: ignore[assignment]
        try:
            return forward(*args, **kwargs)
        finally:
            torch.Tensor.detach = detach

    model.forward_transformer = inside
    try:
        yield
    finally:
        del model.forward_transformer
