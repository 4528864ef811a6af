"""Bridges that let OpenMMLab's packages run on a current torch without a compiler.

mmdet 3.3.0, mmengine 0.10.7, mmdeploy 1.3.1 and mmyolo 0.6.0 are no longer maintained.  Four things stand between
them and a current torch, and this file is the only place that knows of them:

1. ``mmcv-lite`` ships no compiled operators.  A stand-in for ``mmcv._ext`` computes ``nms``, ``roi_align`` and
   deformable convolutions with torchvision; every other operator raises `MissingOperatorError` with its name when it is
   called.  A compiled mmcv wins: then there is no stand-in.
2. mmdeploy's rewriters need the TorchScript exporter: ``torch.onnx.export`` gets ``dynamo=False`` as its default.
3. mmdeploy's RoIAlign symbolic calls ``torch.onnx.symbolic_opset9._cast_Long``, which newer torch dropped.
4. torch >= 2.6 refuses to unpickle what mmengine writes beside the weights: see `load_checkpoint`.

(mmdeploy also pins an old protobuf; that is a matter of installation, see docs/install.md.)
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import os
import pickle
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from boxcam.errors import MissingOperatorError, SourceError
from boxcam.export.source import how_to_install
from boxcam.export.sources.openmmlab.install import WAY
from boxcam.export.sources.pytorch import checkpoint

_EXTENSION = "mmcv._ext"


@contextlib.contextmanager
def bridged() -> Iterator[None]:
    """Run a block with the bridges in place, and take them down afterwards.

    Raises:
        SourceError: mmcv, mmdet, mmengine, mmdeploy or torchvision is not installed.
    """
    _require("torch", "torchvision", "mmengine", "mmcv", "mmdet", "mmdeploy", "onnxscript")
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(_stand_in_operators())
        stack.enter_context(_torchscript_exporter())
        stack.enter_context(_cast_long())
        yield


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read an mmengine checkpoint without unpickling anything that is not on an explicit list.

    Args:
        path: the ``.pth`` file.

    Returns:
        The checkpoint: ``state_dict`` and, where the file has it, ``meta``.

    Raises:
        SourceError: the file is missing, is no checkpoint, or holds types that are not on the list.
    """
    found = checkpoint.read(path, _checkpoint_types())
    weights = checkpoint.state_dict(found, path, ("state_dict",))
    return {**found, "state_dict": weights} if "state_dict" in found else {"state_dict": weights}


def _require(*names: str) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SourceError(
            f"an mmdet model cannot be exported here: {', '.join(missing)} not installed."
            f" {how_to_install('mmdet', WAY)} Explaining a bundle does not need it."
        )


@contextlib.contextmanager
def _stand_in_operators() -> Iterator[None]:
    if _EXTENSION in sys.modules or importlib.util.find_spec(_EXTENSION) is not None:
        yield  # a compiled mmcv, or an outer block that has already set the bridge
        return
    sys.modules[_EXTENSION] = _stand_in()
    try:
        yield
    finally:
        del sys.modules[_EXTENSION]


def _stand_in() -> types.ModuleType:
    import torch
    import torchvision

    def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, offset: int) -> torch.Tensor:
        if offset:
            boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
        kept: torch.Tensor = torchvision.ops.nms(boxes, scores, iou_threshold)
        return kept

    def roi_align_forward(
        input: torch.Tensor,
        rois: torch.Tensor,
        output: torch.Tensor,
        argmax_y: torch.Tensor,
        argmax_x: torch.Tensor,
        aligned_height: int,
        aligned_width: int,
        spatial_scale: float,
        sampling_ratio: int,
        pool_mode: int,
        aligned: bool,
    ) -> None:
        if pool_mode != 1:
            raise MissingOperatorError(
                "roi_align in 'max' mode needs a compiled mmcv, and mmcv-lite has only 'avg'. Install"
                " mmcv>=2.0.0rc4,<2.2.0."
            )
        size = (aligned_height, aligned_width)
        output.copy_(torchvision.ops.roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned))

    def deform_conv_forward(
        input: torch.Tensor,
        weight: torch.Tensor,
        offset: torch.Tensor,
        output: torch.Tensor,
        columns: torch.Tensor,
        ones: torch.Tensor,
        kW: int,
        kH: int,
        dW: int,
        dH: int,
        padW: int,
        padH: int,
        dilationW: int,
        dilationH: int,
        group: int,
        deformable_group: int,
        im2col_step: int,
    ) -> None:
        places = (dH, dW), (padH, padW), (dilationH, dilationW)
        output.copy_(torchvision.ops.deform_conv2d(input, offset, weight, None, *places))

    def modulated_deform_conv_forward(
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        ones: torch.Tensor,
        offset: torch.Tensor,
        mask: torch.Tensor,
        output: torch.Tensor,
        columns: torch.Tensor,
        kernel_h: int,
        kernel_w: int,
        stride_h: int,
        stride_w: int,
        pad_h: int,
        pad_w: int,
        dilation_h: int,
        dilation_w: int,
        group: int,
        deformable_group: int,
        with_bias: bool,
    ) -> None:
        places = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
        output.copy_(
            torchvision.ops.deform_conv2d(input, offset, weight, bias if with_bias else None, *places, mask=mask)
        )

    class StandIn(types.ModuleType):
        def __getattr__(self, name: str) -> Callable[..., Any]:
            if name.startswith("__"):
                raise AttributeError(name)

            def missing(*args: object, **kwargs: object) -> Any:
                raise MissingOperatorError(
                    f"the model calls mmcv's operator {name!r}, which mmcv-lite does not have. Install a compiled"
                    " mmcv (>=2.0.0rc4,<2.2.0) in this environment and export again."
                )

            return missing

    extension = StandIn(_EXTENSION)
    extension.__spec__ = importlib.machinery.ModuleSpec(_EXTENSION, None)
    extension.nms = nms  # type: ignore[attr-defined]
    extension.roi_align_forward = roi_align_forward  # type: ignore[attr-defined]
    extension.deform_conv_forward = deform_conv_forward  # type: ignore[attr-defined]
    extension.modulated_deform_conv_forward = modulated_deform_conv_forward  # type: ignore[attr-defined]
    return extension


@contextlib.contextmanager
def _torchscript_exporter() -> Iterator[None]:
    import torch

    original = torch.onnx.export

    def export(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **{"dynamo": False, **kwargs})

    torch.onnx.export = export
    try:
        yield
    finally:
        torch.onnx.export = original


@contextlib.contextmanager
def _cast_long() -> Iterator[None]:
    # By its full name, as mmdeploy imports it: `torch.onnx` may give a module of torch's own that is only called so.
    opset9 = importlib.import_module("torch.onnx.symbolic_opset9")
    if hasattr(opset9, "_cast_Long"):
        yield
        return
    cast_long = lambda g, value, non_blocking: g.op("Cast", value, to_i=7)  # noqa: E731  (7: TensorProto.INT64)
    setattr(opset9, "_cast_Long", cast_long)  # noqa: B010  (its types do not know it)
    try:
        yield
    finally:
        delattr(opset9, "_cast_Long")


def _checkpoint_types() -> list[Any]:
    """What mmengine's runner writes into a checkpoint beside tensors, strings and numbers."""
    import numpy as np
    from mmengine.logging.history_buffer import HistoryBuffer

    reconstruct = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    dtypes = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "uint32", "bool")]
    # Files written with numpy 1 name the same two functions by their old module.
    old = [(reconstruct, "numpy.core.multiarray._reconstruct"), (scalar, "numpy.core.multiarray.scalar")]

    def statistic(owner: object, name: str) -> object:
        """Stands for ``builtins.getattr``, by which a HistoryBuffer pickles its statistics, and gives nothing else."""
        if owner is not HistoryBuffer or name not in ("mean", "max", "min", "current"):
            raise pickle.UnpicklingError(f"it asks for attribute {name!r} of {owner!r}")
        return getattr(HistoryBuffer, name)

    listed = [HistoryBuffer, np.ndarray, np.dtype, reconstruct, scalar, *dtypes, *old]
    return [*listed, (statistic, "builtins.getattr")]
