"""What `boxcam inspect MODEL.onnx` prints."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from boxcam.export.inspect.command import PRESET, SAMPLE
from boxcam.export.inspect.facts import ROLES, LayerFacts, Survey
from boxcam.export.preprocessing.presets import PRESETS
from boxcam.inspection import believed, found_line


def lines(found: Survey) -> Iterator[str]:
    """What `boxcam inspect MODEL.onnx` prints: what was recognised, the line to run, then the details."""
    yield f"{found.file}  (opset {found.opset}, {found.producer}, {found.parameters / 1e6:.1f} M parameters)"
    yield ""
    yield from _recognised(found)
    yield ""
    if found.plausibility:
        yield from believed(found.plausibility, None)
        yield ""
    if not found.explainable:
        yield from _outputs(found)
        yield ""
        yield "There is nothing to export: boxcam explains boxes and classes, and this model outputs neither."
        return
    yield from _next_step(found)
    yield ""
    yield from _table(found)
    if found.default is not None:
        name, tensors = found.default
        yield f"  Without layers=, the layer {name!r} is exported: {', '.join(tensors)}."
        if any(layer.role == ROLES["late"] for layer in found.layers):
            yield (
                "  (What the heads read themselves would show a single active cell per box; an earlier map shows more.)"
            )
    if found.selected:
        yield (
            f"  Queries are selected by their scores ({', '.join(found.selected)}). Where the framework detaches them,"
            " as RT-DETR, DINO and D-FINE do, its autograd holds them fixed, and this file's gradient does not. To hold"
            f" them too, pass stops={list(found.selected)!r}."
        )
    yield from _passed(found)
    yield ""
    yield from _outputs(found)


def _passed(found: Survey) -> Iterator[str]:
    """What a decoder layer gets from the one before it, which a framework may have detached."""
    if found.passed:
        yield (
            f"  Each decoder layer passes its boxes to the next ({', '.join(found.passed)}). Where the framework"
            " detaches them, as DINO and D-FINE do, its autograd holds them fixed, and this file's gradient does not."
            f" To hold them too, pass stops={[*found.selected, *found.passed]!r}."
        )
    if found.added:
        yield (
            f"  The queries of one decoder layer are added to those of the next ({', '.join(found.added)}). D-FINE"
            " detaches the earlier ones in this sum alone, and this file's gradient passes them: stops= holds a tensor"
            " wherever it is read, so it cannot hold them."
        )


def _recognised(found: Survey) -> Iterator[str]:
    """The kind of model, how it reports its detections, its classes and its input."""
    parts = dict(found.detections)
    kind = "detector" if "boxes" in parts else "classifier"
    if parts:
        yield f"model           {kind}: {parts.pop('outputs')}"
    if found.problem:
        yield f"detections      not found: {found.problem}"
    for part, what in parts.items():
        yield f"{'  ' + part:<16}{what}"
    if found.found is not None:
        yield f"{'found':<16}{found_line(found.found, whole_image=kind == 'classifier')}"
    names, count = found.classes
    if count:
        yield f"{'  classes':<16}{', '.join(names)}{f', … ({count} in all)' if count > len(names) else ''}"
    yield f"input           {found.input}"
    if found.preprocessing:
        yield f"preprocessing   {' '.join(found.preprocessing)}"
    elif found.guessed is not None:
        specs = " ".join(found.guessed.specs)
        yield f"preprocessing   not stated in the file; guessed, as {found.guessed.why}: {specs}"
        yield f"{'':<16}(check it; others are {', '.join(PRESETS)}, and key=value)"
    else:
        yield f"preprocessing   not stated in the file; pass preprocess= with {', '.join(PRESETS)}, or key=value"


def _next_step(found: Survey) -> Iterator[str]:
    if found.refused:
        yield f"An export would refuse it, as it was read: {found.refused}"
        return
    if not found.command:
        yield "Inspect it again with what is missing; the line to run is then printed here."
        return
    words = shlex.split(found.command)
    fill = "with PRESET filled in, " if PRESET in words else ""
    add = "" if SAMPLE in words else "ideally with sample=… of an image in which it finds something, "
    yield f"Run, {fill}{add}".rstrip(", ") + ":"
    yield f"  {found.command}"


def _outputs(found: Survey) -> Iterator[str]:
    for number, output in enumerate(found.outputs):
        yield f"{'outputs' if not number else '':<16}{output}"


def _table(found: Survey) -> Iterator[str]:
    if not found.layers:
        yield "layers          none: there is no map between the image and the scores"
        return
    yield 'layers          (the image itself is one too: layers="image")'
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
        yield f"  … and {found.left_out} more (everything=True)"


def _gradient(layer: LayerFacts) -> str:
    if layer.form == "windows" and layer.receptive_field is not None:
        return f"a window of {layer.receptive_field}x{layer.receptive_field} cells"
    words = {"windows": "some cells", "rows": "the proposal's own cells", "whole": "the whole map (slower)", "": "?"}
    return words[layer.form]
