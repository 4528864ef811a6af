"""TorchScript modules of a bundle: they keep their large constants in the bundle's weights, which all graphs share.

In a module's file such a constant is empty, and an extra file in it, `PLACES`, tells by its name where its numbers lie:
``{"parts.0.constant_1": {"offset": 65536, "shape": [256, 256, 3, 3], "type": "float32", "narrow": false}}``. Of one
that is ``narrow`` it is float16 numbers that are stored.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boxcam.bundle import WEIGHTS

if TYPE_CHECKING:
    import torch

PLACES = "weights.json"
_TYPES = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


def load(file: Path) -> torch.jit.ScriptModule:
    """Read a module, its weights mapped into memory from the file `WEIGHTS` next to it.

    Raises:
        RuntimeError: PyTorch cannot read one of the files.
        ValueError: what it says of its weights has no meaning.
    """
    import torch

    extra: dict[str, Any] = {PLACES: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated as a whole, and works
        module: torch.jit.ScriptModule = torch.jit.load(str(file), map_location="cpu", _extra_files=extra)
    places = json.loads(extra[PLACES] or "{}")
    if not isinstance(places, dict):
        raise ValueError(f"its {PLACES} is not an object")
    if not places:
        return module
    weights = file.with_name(WEIGHTS)
    everything = torch.from_file(str(weights), shared=False, size=weights.stat().st_size, dtype=torch.uint8)
    buffers = dict(module.named_buffers())
    for name, place in places.items():
        try:
            buffers[name].set_(_view(everything, place))  # type: ignore[call-overload]  # a tensor is taken too
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its weights {name!r} are not described as they should be: {error}") from error
    return module


def _view(everything: torch.Tensor, place: dict[str, Any]) -> torch.Tensor:
    """A tensor in the file, which is not copied unless it is to be widened."""
    import torch

    if place["type"] not in _TYPES:
        raise TypeError(f"there is no type {place['type']!r}")
    dtype = getattr(torch, place["type"])
    stored = torch.float16 if place["narrow"] else dtype
    start, length = place["offset"], math.prod(place["shape"]) * stored.itemsize
    if not 0 <= start <= start + length <= len(everything):
        raise TypeError(f"{length} bytes at {start} are not in {WEIGHTS}")
    return everything[start : start + length].view(stored).view(place["shape"]).to(dtype)
