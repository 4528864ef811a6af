"""Files of old opsets, which are converted when they are read: whether they give the same numbers afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from boxcam.errors import SourceError
from boxcam.export.graphs.fold import EMITTED_FROM_OPSET
from boxcam.export.graphs.query import Array
from boxcam.export.graphs.run import open_session, run_model
from boxcam.export.sources.onnx.file import OPSET

_RTOL, _ATOL = 1e-3, 1e-5


def prove_conversion(path: str, model: ir.Model, example: Callable[[], Mapping[str, Array]]) -> None:
    """Run a file of an old opset and what was made of it, and compare those outputs that both have.

    What runs not by itself is not compared: a file with a plugin, or with further inputs, which are constants by now.

    Args:
        path: the file.
        model: the graph that was made of it, of one image.
        example: gives one image as its input.

    Raises:
        SourceError: they differ.
    """
    opset = model.meta.get(OPSET, EMITTED_FROM_OPSET)
    if opset >= EMITTED_FROM_OPSET:
        return
    try:
        session = open_session(path)
    except Exception:  # noqa: BLE001  (onnxruntime's own errors share no public root; what it cannot load has no numbers)
        return
    given = session.get_inputs()
    feeds = example()
    (image,) = feeds.values()
    shape = given[0].shape
    if len(given) != 1 or len(shape) != image.ndim:
        return
    many = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 1
    found = run_model(model, feeds)
    names = [one.name for one in session.get_outputs() if one.name in found]
    before = session.run(names, {given[0].name: np.repeat(image, many, axis=0)})
    for name, old in zip(names, before, strict=True):
        new = found[name]
        rows = old[: len(new)] if new.ndim and old.ndim else old
        if rows.shape != new.shape or not np.allclose(rows, new, _RTOL, _ATOL * (1 + np.abs(rows).max(initial=0))):
            raise SourceError(
                f"{path} has opset {opset}, and its output {name} has other numbers once it is converted to opset"
                f" {EMITTED_FROM_OPSET}. Export it with opset {EMITTED_FROM_OPSET} or newer."
            )
