"""What was found in an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass

from boxcam.bundle import Finding, SampleResult
from boxcam.export.preprocessing.guess import Guess

ROLES = {
    "head": "what the heads read",
    "late": "what the heads read, cell by cell: a single active cell",
    "before": "before the heads' last window",
    "roi": "pooled features of proposals",
    "stage": "the last of its stride",
    "tokens": "what the last transformer block reads",
    "": "",
}
"""What a layer can be to the model, in words for people."""


@dataclass(frozen=True)
class LayerFacts:
    """A tensor that can be a layer.

    Attributes:
        name: of the tensor.
        kind: ``map`` or ``roi``.
        layout: ``NCHW``, ``NHWC`` or ``tokens``.
        channels, height, width: of it.
        stride: pixels of the input per cell, down and across; None for RoI features.
        role: what it is to the model, for people.
        maker: the operator that makes it.
        readers: the operators that read it.
        form: of its gradient: windows, rows or whole; empty if it was not looked at.
        receptive_field: cells across that one logit depends on, of a map of the default layer as a part of it; None if
            that is all of them, or not known.
        problem: why it cannot be a layer; empty if it can, or was not looked at.
    """

    name: str
    kind: str
    layout: str
    channels: int
    height: int
    width: int
    stride: tuple[float, float] | None
    role: str
    maker: str
    readers: tuple[str, ...]
    form: str = ""
    receptive_field: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Survey:
    """What was found in a file.

    Attributes:
        file: its path.
        producer, opset, parameters: what wrote it, its opset, how many numbers it holds.
        input: its image input, for people.
        preprocessing: what ``--preprocess`` is, if the user or the file says it; otherwise empty.
        guessed: what it may be, if nobody says it, and what that is guessed from; None if no preset fits.
        outputs: its outputs, for people.
        detections: which of them hold what, by part; empty if that was not found.
        classes: names of the first classes, and how many there are in all.
        problem: why there are no detections, or why no score can be followed; empty if all is well.
        explainable: whether it may be a detector or classifier at all.
        layers: tensors that can be layers, in the order of the graph.
        left_out: how many others there are.
        default: the layer that is exported when none is asked for, and its tensors; None if that is not clear.
        command: the line to run; empty as long as there is a problem.
        selected, passed, added: tensors that the framework may have detached, see `boxcam.export.inspect.detached`:
            queries, boxes that go from one decoder layer to the next, and sums with what the layer before gives.
        plausibility: whether it is believed that the file was read right, by criterion.
        found: what was found on a picture; None where nothing was run.
        refused: why an export would refuse it as it was read; empty if it would not.
    """

    file: str
    producer: str
    opset: int
    parameters: int
    input: str
    preprocessing: tuple[str, ...]
    guessed: Guess | None
    outputs: tuple[str, ...]
    detections: dict[str, str]
    classes: tuple[tuple[str, ...], int]
    problem: str
    explainable: bool
    layers: tuple[LayerFacts, ...]
    left_out: int
    default: tuple[str, tuple[str, ...]] | None
    command: str
    selected: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    plausibility: tuple[Finding, ...] = ()
    found: SampleResult | None = None
    refused: str = ""
