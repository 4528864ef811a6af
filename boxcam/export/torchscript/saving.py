"""A scripted module as a file of a bundle, its weights in the file that all graphs share."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import torch

from boxcam.bundle import PLACES
from boxcam.export.graphs.query import Array
from boxcam.export.graphs.weights import SMALL, WeightsFile

_INTEGERS = ("int8", "uint8", "int16")
"""Those that each version of PyTorch has."""


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
            places[name] = _described(weights, buffer.contiguous().numpy())
            buffer.set_(torch.empty(0, dtype=buffer.dtype))  # type: ignore[call-overload]  # not in PyTorch's stubs
    weights.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated as a whole, and works
        stream = io.BytesIO()  # Python tells of a full disk, PyTorch does not
        torch.jit.save(module, stream, _extra_files={PLACES: json.dumps(places)})
    file.write_bytes(stream.getbuffer())


def _described(weights: WeightsFile, array: Array) -> dict[str, object]:
    """Where a constant's numbers are, or the integers, scale and zero point that it is computed of."""
    of = weights.integers(array)
    if of is None or str(of.integers.dtype) not in _INTEGERS:
        return _placed(weights, array)
    found = {**_placed(weights, of.integers), "real": list(array.shape), "scale": _placed(weights, of.scale)}
    return found if of.zero is None else {**found, "zero": _placed(weights, of.zero)}


def _placed(weights: WeightsFile, array: Array) -> dict[str, object]:
    place = weights.place(array)
    return {"offset": place.offset, "shape": list(array.shape), "type": str(array.dtype), "narrow": place.narrow}
