"""What every way in delivers: a detector's graph and what is known about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from boxcam.bundle import Outputs, Preprocess
from boxcam.registry import Registry

Progress = Callable[[str], None]


@dataclass(frozen=True)
class LayerTensors:
    """A layer as a source names it.

    Attributes:
        tensors: names of values in the graph.
        kind: ``map`` for maps of the whole image, ``roi`` for one small map per proposal.
        rois: name of the value with the proposals, [R, 4] x1 y1 x2 y2 on the canvas, or [R, 5] with the image first.
    """

    tensors: tuple[str, ...]
    kind: Literal["map", "roi"] = "map"
    rois: str | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """A detector on its way into a bundle.

    Attributes:
        model: the graph, one image [1, 3, height, width] in, detections out.
        input: name of the graph's image input.
        outputs: which outputs hold the detections.
        preprocess: how an image becomes the input.
        labels: class names by index.
        layers: layers that the source knows by name.
        default_layers: those that are exported when none is asked for.
        description: for people: family, files, versions.
    """

    model: ir.Model
    input: str
    outputs: Outputs
    preprocess: Preprocess
    labels: tuple[str, ...]
    layers: Mapping[str, LayerTensors]
    default_layers: tuple[str, ...]
    description: Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """What the user asks of a source.

    Attributes:
        arguments: the command's arguments: files or names.
        shape: height and width of the model's input, or None for the source's own.
        score_threshold: lowest score of a box, or None for the source's own.
        nms_threshold: IoU above which the weaker of two boxes is dropped, or None for the source's own.
    """

    arguments: tuple[str, ...]
    shape: tuple[int, int] | None = None
    score_threshold: float | None = None
    nms_threshold: float | None = None


@dataclass(frozen=True)
class Way:
    """A way in.

    Attributes:
        usage: what the arguments are, for ``--help``.
        recognises: whether the arguments look like this kind of source; reads no more than it must.
        load: makes a source of a request; reports its steps.
    """

    usage: str
    recognises: Callable[[tuple[str, ...]], bool]
    load: Callable[[Request, Progress], Source]


SOURCES: Registry[Way] = Registry("source")
