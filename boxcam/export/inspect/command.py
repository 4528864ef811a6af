"""The `boxcam export` line that exports a file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePath

from boxcam.export.inspect.facts import LayerFacts
from boxcam.export.source import Request

PRESET, SAMPLE = "PRESET", "--sample"
"""What stands where a preset has to be filled in, and the flag of a sample."""


def export_line(
    request: Request, sample: str | None, preprocess: Sequence[str], layer: str, accept: Sequence[str] = ()
) -> str:
    """The line to run; what has to be filled in is in capitals.

    Args:
        request: the file, and what the user says of it.
        sample: the file of the user's picture.
        preprocess: what to say of the preprocessing where the user says nothing.
        layer: the layer to name; empty if the default will do.
        accept: names of criteria of plausibility that the user overrules.
    """
    words = ["boxcam", "export", request.arguments[0]]
    given = [request.preprocess] if isinstance(request.preprocess, str) else list(request.preprocess)
    for spec in given or preprocess:
        words += ["--preprocess", spec]
    if request.shape is not None:
        words += ["--shape", f"{request.shape[0]}x{request.shape[1]}"]
    for option in request.options:
        value = getattr(request, option)
        if option not in ("preprocess", "tokens") and isinstance(value, str):
            words += [f"--{option.replace('_', '-')}", value]
    if request.score_threshold is not None:
        words += ["--score-threshold", f"{request.score_threshold:g}"]
    if request.nms_threshold is not None:
        words += ["--nms", f"{request.nms_threshold:g}"]
    if layer:
        words += ["--layer", layer]
    for name in accept:
        words += ["--accept", name]
    if sample is not None:
        words += [SAMPLE, sample]
    return shlex.join([*words, "-o", f"{PurePath(request.arguments[0]).stem}.boxcam"])


def layer_to_name(layers: Sequence[LayerFacts]) -> str:
    """Which of the layers that can be explained to name where no default is clear: the last that shows something."""
    good = [layer for layer in layers if not layer.problem]
    wide = [layer for layer in good if layer.receptive_field != 1]  # the others show a single active cell
    return (wide or good)[-1].name if good else "TENSOR"
