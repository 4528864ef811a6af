"""What `boxcam inspect MODEL.onnx` prints."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from boxcam.export.inspect.command import PRESET
from boxcam.export.inspect.facts import ROLES, LayerFacts, Survey
from boxcam.export.preprocessing.presets import PRESETS


def lines(found: Survey) -> Iterator[str]:
    """What `boxcam inspect MODEL.onnx` prints."""
    yield f"{found.file}  (opset {found.opset}, {found.producer}, {found.parameters / 1e6:.1f} M parameters)"
    yield ""
    yield f"input           {found.input}"
    if found.preprocessing:
        yield f"preprocessing   {' '.join(found.preprocessing)}"
    elif found.guessed is not None:
        specs = " ".join(found.guessed.specs)
        yield f"preprocessing   the file does not say it; guessed, as {found.guessed.why}: {specs}"
        yield f"{'':<16}(check it: others are {', '.join(PRESETS)}, and key=value)"
    else:
        yield f"preprocessing   the file does not say it: --preprocess {', '.join(PRESETS)}, or key=value"
    for number, output in enumerate(found.outputs):
        yield f"{'outputs' if not number else '':<16}{output}"
    yield ""
    if found.problem:
        yield f"detections      not found: {found.problem}"
    for number, (part, what) in enumerate(found.detections.items()):
        yield f"{'detections' if not number else '  ' + part:<16}{what}"
    names, count = found.classes
    if count:
        yield f"{'  classes':<16}{', '.join(names)}{f', … ({count} in all)' if count > len(names) else ''}"
    yield ""
    if not found.explainable:
        yield "There is nothing to export: boxcam explains boxes and classes, and this model gives neither."
        return
    yield from _table(found)
    yield ""
    if found.default is not None:
        name, tensors = found.default
        yield f"Without --layer, the layer {name!r} is exported: {', '.join(tensors)}."
        if any(layer.role == ROLES["late"] for layer in found.layers):
            yield "(What the heads read themselves would show one lit cell for each box: an earlier map shows more.)"
    if found.command:
        words = shlex.split(found.command)
        fill = "with PRESET filled in, " if PRESET in words else ""
        add = "" if "--sample" in words else "best with --sample PICTURE, in which it finds something, "
        yield f"Run, {fill}{add}".rstrip(", ") + ":"
        yield f"  {found.command}"
    else:
        yield "Inspect it again with what is missing; then the line to run is printed here."


def _table(found: Survey) -> Iterator[str]:
    if not found.layers:
        yield "layers          none: there is no map between the image and the scores"
        return
    yield "layers          (the image itself is one too: --layer image)"
    rows = [("tensor", "channels", "cells", "stride", "made by", "read by", "what it is", "a score depends on")]
    for layer in found.layers:
        stride = "" if layer.stride is None else "x".join(f"{s:g}" for s in dict.fromkeys(layer.stride))
        readers = ", ".join(layer.readers[:2]) + (" …" if len(layer.readers) > 2 else "")
        cells = f"{layer.height}x{layer.width}"
        gradient = f"not possible: {layer.problem}" if layer.problem else _gradient(layer)
        rows.append((layer.name, str(layer.channels), cells, stride, layer.maker, readers, layer.role, gradient))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        yield (
            "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        )
    if found.left_out:
        yield f"  … and {found.left_out} more: --all"


def _gradient(layer: LayerFacts) -> str:
    if layer.form == "windows" and layer.receptive_field is not None:
        return f"a window of {layer.receptive_field}x{layer.receptive_field} cells"
    words = {"windows": "some cells", "rows": "the proposal's own cells", "whole": "the whole map (slower)", "": "?"}
    return words[layer.form]
