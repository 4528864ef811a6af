"""A scripted module as a file of a bundle, its weights in the file that all graphs share."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import torch

from boxcam.bundle import PLACES
from boxcam.export.graphs.weights import SMALL, WeightsFile


def save(module: torch.jit.ScriptModule, file: Path, weights: WeightsFile) -> None:
    """Write a module; its large constants are empty afterwards, `boxcam.runtime.engines.load_module` reads them back.

    Args:
        module: whose constants are buffers.
        file: next to the weights.
        weights: the bundle's.
    """
    places: dict[str, dict[str, object]] = {}
    for name, buffer in module.named_buffers():
        if buffer.nbytes >= SMALL:
            place = weights.place(buffer.contiguous().numpy())
            kind = str(buffer.dtype).removeprefix("torch.")
            places[name] = {"offset": place.offset, "shape": list(buffer.shape), "type": kind, "narrow": place.narrow}
            buffer.set_(torch.empty(0, dtype=buffer.dtype))  # type: ignore[call-overload]  # not in PyTorch's stubs
    weights.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated as a whole, and works
        stream = io.BytesIO()  # Python tells of a full disk, PyTorch does not
        torch.jit.save(module, stream, _extra_files={PLACES: json.dumps(places)})
    file.write_bytes(stream.getbuffer())
