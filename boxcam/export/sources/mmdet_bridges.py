"""Bridges that let OpenMMLab's packages run on a current torch without a compiler.

mmdet 3.3.0, mmengine 0.10.7, mmdeploy 1.3.1 and mmyolo 0.6.0 are no longer maintained.  Four things stand between
them and a current torch, and this file is the only place that knows of them:

1. ``mmcv-lite`` ships no compiled operators.  A stand-in for ``mmcv._ext`` computes ``nms`` and ``roi_align`` with
   torchvision; every other operator raises `MissingOperatorError` with its name when it is called.  A compiled mmcv
   wins: then there is no stand-in.
2. mmdeploy's rewriters need the TorchScript exporter: ``torch.onnx.export`` gets ``dynamo=False`` as its default.
3. mmdeploy's RoIAlign symbolic calls ``torch.onnx.symbolic_opset9._cast_Long``, which newer torch dropped.
4. torch >= 2.6 refuses to unpickle what mmengine writes beside the weights: see `load_checkpoint`.

(mmdeploy also pins an old protobuf; that is a matter of installation, see the README.)
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import os
import pickle
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from boxcam.errors import MissingOperatorError, SourceError

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
    import torch

    if not os.path.isfile(path):
        raise SourceError(f"checkpoint {path} does not exist.")
    if not _begins_like_a_checkpoint(path):
        raise SourceError(f"{path} is no PyTorch checkpoint. Give the .pth file that training wrote.")
    try:
        with torch.serialization.safe_globals(_checkpoint_types()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are damaged, which ends in an error anyway
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the unpickler stumble anywhere
        refused = re.search(r"GLOBAL (\S+)|it asks for (.+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise SourceError(
                f"checkpoint {path} is refused: it holds {refused[1] or refused[2]}, and unpickling that could run code"
                " that came with the file. Save the 'state_dict' alone and export that."
            ) from error
        raise SourceError(
            f"checkpoint {path} cannot be read: it is damaged or cut off ({_first_words(error)}). Copy it again."
        ) from error
    if not isinstance(checkpoint, dict):
        raise SourceError(f"checkpoint {path} holds a {type(checkpoint).__name__}, not a dictionary of weights.")
    if "state_dict" not in checkpoint:
        checkpoint = {"state_dict": checkpoint}
    weights = checkpoint["state_dict"]
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise SourceError(f"checkpoint {path} has no 'state_dict' of tensors. Is it a trained model?")
    return checkpoint


def _require(*names: str) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SourceError(
            f"an mmdet model cannot be exported here: {', '.join(missing)} not installed."
            " Install boxcam's 'mmdet' extra as the README shows (explaining a bundle does not need it)."
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
            raise MissingOperatorError("roi_align in 'max' mode needs a compiled mmcv; mmcv-lite has only 'avg'.")
        size = (aligned_height, aligned_width)
        output.copy_(torchvision.ops.roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned))

    class StandIn(types.ModuleType):
        def __getattr__(self, name: str) -> Callable[..., Any]:
            if name.startswith("__"):
                raise AttributeError(name)

            def missing(*args: object, **kwargs: object) -> Any:
                raise MissingOperatorError(
                    f"the model calls mmcv's operator {name!r}, which mmcv-lite does not have."
                    " Install a compiled mmcv (>=2.0.0rc4,<2.2.0) in this environment and export again."
                )

            return missing

    extension = StandIn(_EXTENSION)
    extension.__spec__ = importlib.machinery.ModuleSpec(_EXTENSION, None)
    extension.nms = nms  # type: ignore[attr-defined]
    extension.roi_align_forward = roi_align_forward  # type: ignore[attr-defined]
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


def _begins_like_a_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins as a zip archive or as a pickle, which are torch's two formats."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        raise SourceError(f"checkpoint {path} cannot be read: {error.strerror}.") from error
    return start == b"PK\x03\x04" or start[:1] == b"\x80"


def _first_words(error: BaseException) -> str:
    """What an error of torch says, without the advice and the stack that it adds."""
    said = str(error).split("WeightsUnpickler error:")[-1].split("This is an internal miniz error")[0]
    line = next((line.strip() for line in said.splitlines() if line.strip()), type(error).__name__)
    return line.rstrip(".?!")[:160]
