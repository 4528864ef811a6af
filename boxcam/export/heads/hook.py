"""A head of one's own: a function that writes the operators from a model's outputs to boxes and scores.

The function is called once, at export, with `op`, which writes ONNX operators, and the model's outputs by name.  What
it writes becomes part of the bundle, which works without it.  For a head that gives ``regression`` [1, 896, 16],
offsets from anchors in pixels, and ``classification`` [1, 896, 1]::

    import numpy as np

    ANCHORS = np.load("anchors.npy").astype(np.float32)  # [896, 4]: cx, cy, w, h in pixels

    def decode(op, outputs):
        raw = op.Slice(outputs["regression"], [0], [4], [2])  # Slice(data, starts, ends, axes): the first four columns
        centre = op.Add(op.Slice(raw, [0], [2], [2]), ANCHORS[None, :, :2])
        half = op.Mul(op.Slice(raw, [2], [4], [2]), 0.5)
        boxes = op.Concat(op.Sub(centre, half), op.Add(centre, half), axis=2)
        return boxes, op.Sigmoid(outputs["classification"])

and ``boxcam export face.onnx --decode face.py:decode --nms 0.3 …``.  Numbers and numpy arrays become constants.
``op.emit("TopK", [scores, [5]], {"axis": 1}, outputs=2)`` writes an operator with several outputs.  Which operators can
stand between a score and its logit: those that move numbers about, a sigmoid or softmax, and products of such scores.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from boxcam.errors import SourceError
from boxcam.export.graphs.ops import Ops

Decode = Callable[[Ops, Mapping[str, ir.Value]], tuple[ir.Value, ir.Value]]
"""``decode(op, outputs) -> (boxes, scores)``: boxes float32 [1, N, 4], x1 y1 x2 y2 in pixels of the model input;
scores float32 [1, N, C], probabilities."""


def find(given: str | Callable[..., Any]) -> Decode:
    """The function that was given, itself or as ``FILE.py:function``.

    Raises:
        SourceError: there is no such file or function, or the file fails.
    """
    if callable(given):
        return given
    path, colon, name = given.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise SourceError(
            f"decode={given!r} is not of the form FILE.py:FUNCTION. Pass the file and the name of a function in it."
        )
    if not os.path.isfile(path):
        raise SourceError(f"{path}, the file of decode=, does not exist. Check the path.")
    spec = importlib.util.spec_from_file_location("boxcam_decode", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's own code
        raise SourceError(f"{path}, the file of decode=, fails with {_said(error)}. Correct it there.") from error
    finally:
        sys.path.pop(0)
    function = getattr(module, name, None)
    if not callable(function):
        raise SourceError(f"{path}, the file of decode=, has no function {name!r}. Pass the name of one that it has.")
    return function  # type: ignore[no-any-return]


def call(decode: Decode, op: Ops, outputs: Mapping[str, ir.Value]) -> tuple[ir.Value, ir.Value]:
    """Boxes and scores as the function writes them.

    Raises:
        SourceError: it fails, or returns something else.
    """
    try:
        result = decode(op, outputs)
    except (Exception, SystemExit) as error:  # the user's own code
        said = _said(error)
        raise SourceError(
            f"the function of decode= fails with {said}. Correct it; the outputs are: {', '.join(outputs)}."
        ) from error
    values = tuple(result) if isinstance(result, (tuple, list)) else ()
    if len(values) != 2 or not all(isinstance(value, ir.Value) for value in values):
        raise SourceError(
            "the function of decode= does not return two values of the graph. Return (boxes, scores), as op.Add(…)"
            " and the like return them."
        )
    return values[0], values[1]


def _said(error: BaseException) -> str:
    """An error of foreign code in a few words."""
    words = " ".join(str(error).split())[:300].rstrip(".")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
