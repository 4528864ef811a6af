"""What the values of a manifest can be: one that was written by an export is within these bounds.

A manifest is read by other programs than the one that wrote it, and decides how much memory is taken and where numbers
are looked for: an impossible value is refused before anything is done by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from boxcam.bundle.manifest import (
    Candidates,
    ClassAxis,
    Gradient,
    Head,
    Layer,
    Manifest,
    Rows,
    Tensor,
    TracedTarget,
)
from boxcam.bundle.preprocess import Preprocess
from boxcam.targets import LOGIT, TARGETS

MAX_MANIFEST = 64 << 20
"""Bytes of a manifest."""
MAX_TEXT = 1000
"""Letters of a class name and of any other text but a reason."""
MAX_LABELS = 200_000
"""Class names; ImageNet-21k has 21,841."""
MAX_SIDE, MAX_AREA = 1 << 15, 1 << 28
"""Pixels of the model's input, along a side and in all."""
MAX_MULTIPLE = 4096
"""Pixels that a side of the model's input is a multiple of."""
MAX_CHANNELS = 1 << 20
MAX_AT_ONCE = 1 << 20
MAX_COLUMN = 1 << 16
MAX_SIZE = 1 << 40
"""Of an axis of a tensor."""
_ENGINES = {"onnx": ".onnx", "torchscript": ".pt"}
"""Engines, and how their files end."""
_FEW = 10_000
"""Layers, tensors, targets and the like."""


@dataclass(frozen=True)
class Bound:
    """What a number has to be.

    Attributes:
        words: it, after "is not".
        holds: whether a number is so.
    """

    words: str
    holds: Callable[[float], bool]


def _between(low: float, high: float) -> Bound:
    return Bound(f"{low:g} to {high:g}", lambda value: low <= value <= high)


STD, MEAN = _between(1e-6, 1e6), _between(-1e6, 1e6)
"""Of pixels: what is divided by is not 0 in float32 either, and nothing comes out that float32 does not hold."""
MOST_OF_HALF = 65504
"""The largest number of float16."""
STRIDE, PLACE = _between(1e-3, 1e6), _between(-1e6, 1e6)
FINITE = Bound("a finite number", math.isfinite)


def check(manifest: Manifest) -> None:
    """Refuse a manifest with a value that cannot be.

    Raises:
        ValueError: there is one; the message names it.
    """
    for what in _problems(manifest):
        raise ValueError(what)


def check_preprocess(spec: Preprocess) -> None:
    """Refuse sizes that nobody means.

    Raises:
        ValueError: there is one; the message names it.
    """
    for what in _preprocess(spec):
        raise ValueError(what)


def _problems(manifest: Manifest) -> Iterator[str]:
    yield from _count("labels", manifest.labels, MAX_LABELS)
    yield from _texts("labels", manifest.labels)
    yield from _texts("input", [manifest.input])
    yield from _texts("source", [text for pair in manifest.source.items() for text in pair], 100 * MAX_TEXT)
    yield from _outside("verification", manifest.verification.values(), FINITE)
    yield from _preprocess(manifest.preprocess)
    yield from _outputs(manifest)
    yield from _count("targets", manifest.targets, _FEW, least=1)
    yield from _repeated("targets", [target.name for target in manifest.targets])
    for target in manifest.targets:
        yield from _target(target, manifest)
    yield from _count("layers", manifest.layers, _FEW, least=1)
    yield from _repeated("layers", [layer.name for layer in manifest.layers])
    for layer in manifest.layers:
        yield from _layer(layer, manifest.targets)
    yield from _repeated("heads: files", [head.file for layer in manifest.layers for head in layer.heads])
    if manifest.candidates is not None:
        yield from _candidates(manifest.candidates, manifest)
    yield from _texts("without_candidates", [manifest.without_candidates or "-"])
    for name in manifest.files:
        yield from _file(name)


def _preprocess(spec: Preprocess) -> Iterator[str]:
    sides = (spec.height, spec.width, spec.fit_height, spec.fit_width)
    yield from _outside("preprocess: a side", sides, _between(1, MAX_SIDE))
    yield from _outside("preprocess: height times width", [spec.height * spec.width], _between(1, MAX_AREA))
    yield from _outside("preprocess: fit", [spec.fit_height * spec.fit_width], _between(1, MAX_AREA))
    yield from _outside("preprocess: multiple", [spec.multiple], _between(0, MAX_MULTIPLE))
    yield from _outside("preprocess: mean and pad_value", (*spec.mean, *spec.pad_value), MEAN)
    yield from _outside("preprocess: std", spec.std, STD)
    if spec.dtype == "float16":
        yield from _too_large_for_half(spec)


def _too_large_for_half(spec: Preprocess) -> Iterator[str]:
    for mean, std, fill in zip(spec.mean, spec.std, spec.pad_value, strict=True):
        padding = (fill - mean) / std if spec.pad_before_normalize else fill
        most = max(abs(-mean / std), abs((255 - mean) / std), abs(padding))
        if most > MOST_OF_HALF:
            yield f"preprocess: normalised pixels are up to {most:g}, and float16 holds {MOST_OF_HALF} at most"


def _outputs(manifest: Manifest) -> Iterator[str]:
    outputs = manifest.outputs
    yield from _texts("outputs", [outputs.boxes, outputs.scores, outputs.labels, outputs.origin, outputs.logits])
    columns = outputs.box_columns
    if columns is not None and not (columns[0] >= 0 and columns[1] == columns[0] + 4 <= MAX_COLUMN):
        yield f"outputs: box_columns {list(columns)} are not four columns"
    if outputs.score_column is not None:
        yield from _outside("outputs: score_column", [outputs.score_column], _between(0, MAX_COLUMN))
    if outputs.boxes == outputs.scores and (columns is None or outputs.score_column is None):
        yield "outputs: boxes and scores are one tensor, and box_columns or score_column are missing"
    elif outputs.boxes == outputs.scores and columns is not None and outputs.score_column in range(*columns):
        yield f"outputs: score_column {outputs.score_column} is one of the box_columns {list(columns)}"


def _target(target: TracedTarget, manifest: Manifest) -> Iterator[str]:
    where = f"target {target.name!r}"
    if target.name not in TARGETS:
        yield f"{where} is none of: {', '.join(TARGETS)}"
    yield from _texts(where, [target.origin, target.value])
    yield from _count(f"{where}: ends", target.ends, _FEW, least=1)
    for end in target.ends:
        yield from _texts(f"{where}: ends", [end.name, end.activation])
        yield from _count(f"{where}: shape of {end.name}", end.shape, 32)
        sizes = [size for size in end.shape if size is not None]
        yield from _outside(f"{where}: shape of {end.name}", sizes, _between(0, MAX_SIZE))
        if end.classes is not None:
            yield from _classes(f"{where}: classes of {end.name}", end.classes, end.shape, len(manifest.labels))
            if target.name != LOGIT.name or manifest.outputs.whole_image:
                yield f"{where}: classes of {end.name}: only logits of boxes have other classes"


def _classes(where: str, classes: ClassAxis, shape: Sequence[int | None], count: int) -> Iterator[str]:
    """Whether all classes of a box can lie along an axis of a tensor of logits."""
    if count < 2:
        yield f"{where}: there are no other classes, as {count} have a name"
    if not 0 <= classes.axis < len(shape):
        yield f"{where}: axis {classes.axis} is none of {len(shape)}"
        return
    yield from _outside(f"{where}: step", [classes.step], _between(1, MAX_SIZE))
    size = shape[classes.axis]
    if size is not None and (count - 1) * classes.step >= size:
        yield f"{where}: {count} of them do not fit into {size} places at a step of {classes.step}"


def _candidates(candidates: Candidates, manifest: Manifest) -> Iterator[str]:
    where = "candidates"
    target = next((one for one in manifest.targets if one.name == LOGIT.name), None)
    if target is None or manifest.outputs.whole_image:
        yield f"{where}: only detectors with class logits have them"
        return
    if not (candidates.opened.endswith(".onnx") and candidates.selection.endswith(".onnx")):
        yield f"{where}: the files of graphs end in .onnx"
    yield from _repeated(f"{where}: files", [candidates.opened, candidates.selection])
    yield from _texts(where, [*candidates.context, *candidates.proposals], 10 * MAX_TEXT)
    yield from _count(f"{where}: context", candidates.context, _FEW)
    yield from _repeated(f"{where}: context", candidates.context)
    yield from _count(f"{where}: proposals", candidates.proposals, _FEW)
    if len(manifest.labels) not in (0, candidates.classes):
        yield f"{where}: classes are {candidates.classes}, and {len(manifest.labels)} have a name"
    yield from _outside(f"{where}: classes", [candidates.classes], _between(1, MAX_LABELS))
    yield from _count(f"{where}: silent", candidates.silent, max(candidates.classes - 1, 0))
    yield from _outside(f"{where}: silent", candidates.silent, _between(0, candidates.classes - 1))
    yield from _outside(f"{where}: at_once", [candidates.at_once], _between(1, MAX_SIZE))
    if len(candidates.rows) != len(target.ends):
        yield f"{where}: rows has another length ({len(candidates.rows)}) than the target's ends ({len(target.ends)})"
        return
    for rows, end in zip(candidates.rows, target.ends, strict=True):
        yield from _rows(f"{where}: rows of {end.name}", rows, end.shape, max(candidates.classes, 1))


def _rows(where: str, rows: Rows, shape: Sequence[int | None], count: int) -> Iterator[str]:
    """Whether the classes of all candidates can lie along an axis of a tensor of logits."""
    if not 0 <= rows.axis < len(shape):
        yield f"{where}: axis {rows.axis} is none of {len(shape)}"
        return
    size = shape[rows.axis]
    yield from _outside(f"{where}: step", [rows.step], _between(1, MAX_SIZE))
    yield from _count(f"{where}: firsts", rows.firsts, _FEW, least=1)
    yield from _repeated(f"{where}: firsts", map(str, rows.firsts))
    if size is None:
        yield f"{where}: how many places axis {rows.axis} has is not known"
        return
    yield from _outside(f"{where}: firsts", rows.firsts, _between(0, size - 1 - (count - 1) * rows.step))
    if size % len(rows.firsts):
        yield f"{where}: {size} places cannot be shared out to {len(rows.firsts)} equally"


def _layer(layer: Layer, targets: Sequence[TracedTarget]) -> Iterator[str]:
    where = f"layer {layer.name!r}"
    yield from _texts(where, [layer.name])
    yield from _count(f"{where}: tensors", layer.tensors, _FEW, least=1)
    yield from _repeated(f"{where}: tensors", [tensor.name for tensor in layer.tensors])
    for tensor in layer.tensors:
        yield from _tensor(f"{where}: tensor {tensor.name!r}", layer, tensor)
    yield from _count(f"{where}: gradients", layer.gradients, _FEW)
    kinds = [f"{one.engine} gradient of {one.target}, {one.rules}" for one in layer.gradients]
    yield from _repeated(f"{where}: gradients", kinds)
    for gradient in layer.gradients:
        yield from _gradient(f"{where}: gradient {gradient.file!r}", gradient, [target.name for target in targets])
    yield from _count(f"{where}: heads", layer.heads, _FEW)
    yield from _repeated(f"{where}: heads", [head.end for head in layer.heads])
    for head in layer.heads:
        ends = {end.name: len(end.shape) for target in targets for end in target.ends}
        yield from _head(f"{where}: head {head.file!r}", head, ends)


def _tensor(where: str, layer: Layer, tensor: Tensor) -> Iterator[str]:
    yield from _texts(where, [tensor.name, tensor.rois or "-"])
    yield from _outside(f"{where}: channels", [tensor.channels], _between(1, MAX_CHANNELS))
    sides = [side for side in (tensor.height, tensor.width) if side is not None]
    yield from _outside(f"{where}: a side", sides, _between(1, MAX_SIDE))
    if (tensor.rois is not None) != (layer.kind == "roi"):
        yield f"{where} of a layer of the kind {layer.kind!r} has {'no ' if tensor.rois is None else ''}rois"
    if (tensor.stride is None) != (tensor.rois is not None):
        yield f"{where} has {'neither stride nor rois' if tensor.rois is None else 'both stride and rois'}"
    yield from _outside(f"{where}: stride", tensor.stride or (), STRIDE)
    yield from _outside(f"{where}: center", tensor.center or (), PLACE)
    if tensor.receptive_field is not None:
        yield from _outside(f"{where}: receptive_field", [tensor.receptive_field], _between(1, 1 << 31))


def _gradient(where: str, gradient: Gradient, targets: list[str]) -> Iterator[str]:
    if gradient.engine not in _ENGINES:
        yield f"{where}: engine {gradient.engine!r} is none of: {', '.join(_ENGINES)}"
    elif not all(name.endswith(_ENGINES[gradient.engine]) for name in gradient.files):
        yield f"{where}: a file of the engine {gradient.engine} ends in {_ENGINES[gradient.engine]}"
    if gradient.target not in targets:
        yield f"{where}: target {gradient.target!r} is none of: {', '.join(targets)}"
    yield from _texts(where, [*gradient.context, gradient.reason or "-"], 10 * MAX_TEXT)
    yield from _count(f"{where}: context", gradient.context, _FEW)
    yield from _repeated(f"{where}: context", gradient.context)
    yield from _outside(f"{where}: boxes_at_once", [gradient.boxes_at_once], _between(1, MAX_AT_ONCE))


def _head(where: str, head: Head, ends: Mapping[str, int]) -> Iterator[str]:
    if not head.file.endswith(".onnx"):
        yield f"{where}: the file of a head ends in .onnx"
    if head.end not in ends:
        yield f"{where}: no target is taken from {head.end!r}"
    yield from _texts(where, [*head.context, head.end], 10 * MAX_TEXT)
    yield from _count(f"{where}: context", head.context, _FEW)
    yield from _repeated(f"{where}: context", head.context)
    if not set(head.rows) <= set(head.context):
        yield f"{where}: the context does not have all that is listed as rows"
    if head.scope == "window" and (head.context or not head.batch):
        yield f"{where}: a graph that is run on windows takes a batch, and has no context"
    if head.scope == "window" and ends.get(head.end, 4) != 4:
        yield f"{where}: a graph that is run on windows gives maps, [N, C, H, W]"


def _file(name: str) -> Iterator[str]:
    path = PurePosixPath(name)
    plain = not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name
    if not plain or not path.parts or len(name) > MAX_TEXT or not name.isprintable():
        yield f"it names a file outside the bundle: {name[:80]!r}"


def _count(what: str, values: Any, most: int, least: int = 0) -> Iterator[str]:
    if not least <= len(values) <= most:
        yield f"{what}: there are {len(values)}, not {least} to {most}"


def _texts(what: str, values: Iterable[str], most: int = MAX_TEXT) -> Iterator[str]:
    for text in values:
        if len(text) > most:
            yield f"{what}: a text has {len(text)} letters, and at most {most} are allowed"
        if not text and what not in ("labels", "source"):
            yield f"{what}: a name is empty"


def _repeated(what: str, names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"{what}: {name!r} is there twice"
        seen.add(name)


def _outside(what: str, values: Iterable[float], bound: Bound) -> Iterator[str]:
    for value in values:
        if not bound.holds(value):
            yield f"{what}: {value} is not {bound.words}"
