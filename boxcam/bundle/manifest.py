"""What a manifest says: its schema is the dataclasses below, written as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from boxcam.bundle.preprocess import Preprocess
from boxcam.errors import UnknownNameError
from boxcam.targets import TARGETS, available

FORMAT_VERSION = 4

Form = Literal["windows", "rows", "whole"]
Rules = Literal["plain", "guided"]
Scope = Literal["window", "cells", "map"]
ScoreForm = Literal["product", "root"]
Verdict = Literal["plausible", "doubtful", "implausible", "unknown"]


@dataclass(frozen=True)
class Outputs:
    """Which outputs of ``forward.onnx`` hold the detections.

    ``boxes`` and ``scores`` may share one output: ``box_columns`` and ``score_column`` index its last axis.
    ``origin`` and ``logits`` are the names of the target ``logit``, see `TracedTarget`.
    ``whole_image``: each box is the whole image, for one of its classes: the model is a classifier.
    """

    boxes: str
    scores: str
    labels: str
    box_columns: tuple[int, int] | None = None
    score_column: int | None = None
    origin: str = "origin"
    logits: str = "logit"
    whole_image: bool = False


@dataclass(frozen=True)
class Tensor:
    """One feature map of a layer.

    Attributes:
        name: its name in the graph, which is also the name of the output of ``forward.onnx``.
        channels: number of channels.
        height, width: in cells; None if each image has its own.
        stride: canvas pixels per cell, down and across; None for RoI features.
        receptive_field: how many cells (of this tensor, across) one logit depends on; None if it is the whole map.
        center: canvas position of the centre of cell (0, 0), y and x: what the cell looks at; None for RoI features.
        rois: the output with the proposals of RoI features, float32 [R, 4], x1 y1 x2 y2 on the canvas; None for maps.
    """

    name: str
    channels: int
    height: int | None
    width: int | None
    stride: tuple[float, float] | None
    receptive_field: int | None = None
    center: tuple[float, float] | None = None
    rois: str | None = None


@dataclass(frozen=True)
class Gradient:
    """How the gradient of one target with respect to a layer is computed, by one engine.

    Attributes:
        engine: ``onnx`` or ``torchscript``.
        target: name of the target.
        rules: ``guided`` for guided backpropagation, which is no gradient but a variant of one.
        file: relative to the bundle.
        form: windows, RoI rows or whole maps.
        reason: why this form and not a cheaper one; empty when there is none.
        context: outputs of ``forward.onnx`` that it reads beside the layer's tensors (saved activations, proposals).
        boxes_at_once: how many boxes fit into the memory that is meant for them.
        means: a file that gives only the mean of each channel's gradient, which is cheaper and all that some methods
            need; empty if there is none.
    """

    engine: str
    target: str
    rules: Rules
    file: str
    form: Form
    reason: str
    context: tuple[str, ...]
    boxes_at_once: int
    means: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """All files of it."""
        return (self.file, self.means) if self.means else (self.file,)


@dataclass(frozen=True)
class Head:
    """The model from a layer on: a graph from its feature maps to one of the tensors that targets are taken from.

    Attributes:
        end: name of that tensor, and of the graph's output.
        file: relative to the bundle.
        context: outputs of ``forward.onnx`` that it reads in addition to the layer's tensors.
        rows: those of them that have a row for each proposal, as the layer's tensors have.
        batch: whether it runs several changed maps, or proposals, at once, each of which makes one entry of the
            output's first axis.
        scope: what of a feature map a number of the output depends on: ``window`` for the cells of its gradient, which
            the graph can be run on alone; ``cells`` for these, in runs of the whole map; ``map`` for any cell.
    """

    end: str
    file: str
    context: tuple[str, ...]
    batch: bool
    scope: Scope
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layer:
    """A named group of feature maps that can be explained.

    Attributes:
        name: ``backbone``, ``neck``, ``roi``, ``image``, or the tensor's name.
        kind: ``map`` for maps of the whole image, ``roi`` for one small map per proposal.
        tensors: the feature maps.
        gradients: how they are computed: for each target one or more, the preferred engine first.
        heads: the rest of the model, for each tensor that targets are taken from; empty where it is no graph of the
            layer's tensors alone, and in bundles of an earlier boxcam.
    """

    name: str
    kind: Literal["map", "roi"]
    tensors: tuple[Tensor, ...]
    gradients: tuple[Gradient, ...]
    heads: tuple[Head, ...] = ()

    @property
    def rois(self) -> tuple[str, ...]:
        """Outputs with the proposals of its tensors."""
        return tuple(dict.fromkeys(tensor.rois for tensor in self.tensors if tensor.rois is not None))

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines that it has a gradient for."""
        return tuple(dict.fromkeys(gradient.engine for gradient in self.gradients))

    def head(self, end: str) -> Head | None:
        """The rest of the model up to a tensor that targets are taken from, if the bundle has it."""
        return next((head for head in self.heads if head.end == end), None)

    def gradient(self, engine: str, target: str = "logit", rules: Rules = "plain") -> Gradient | None:
        """The gradient of a target by an engine, if there is one."""
        wanted = engine, target, rules
        return next((g for g in self.gradients if (g.engine, g.target, g.rules) == wanted), None)


@dataclass(frozen=True)
class ClassAxis:
    """Where in a tensor the logits of one box's other classes are.

    That of class c is ``(c - label) * step`` places further along the axis than that of the box's own class, its label,
    at the same place on all other axes.

    Attributes:
        axis: of the tensor.
        step: places from one class to the next; 1 where classes follow each other.
    """

    axis: int
    step: int


@dataclass(frozen=True)
class Logits:
    """One tensor of numbers that targets are taken from.

    Attributes:
        name: in the graph.
        shape: of it.
        activation: between a class logit and the score: ``Sigmoid``, ``Softmax``, …; ``Identity`` for other targets.
        classes: where the logits of a box's other classes are; None where the graph does not tell, where there are no
            other classes, for other targets, and in bundles of an earlier boxcam.
    """

    name: str
    shape: tuple[int | None, ...]
    activation: str
    classes: ClassAxis | None = None


@dataclass(frozen=True)
class TracedTarget:
    """A target as a bundle has it: where its numbers are.

    Attributes:
        name: one of `boxcam.targets.TARGETS`.
        origin: output of ``forward.onnx``, int64 [K, D]: which tensor of ``ends``, then the position in it; -1: none.
        value: output of ``forward.onnx``, float32 [K]: the number itself.
        ends: the tensors that it is taken from.
    """

    name: str
    origin: str
    value: str
    ends: tuple[Logits, ...]


@dataclass(frozen=True)
class Rows:
    """Where in a tensor of logits those of each candidate are.

    That of class c is ``step * c`` places after the first one along the axis, at the same place on all other axes.

    Attributes:
        axis: of the tensor.
        step: places from one class to the next.
        firsts: along the axis the places of the first class of all candidates that share the other axes.
    """

    axis: int
    step: int
    firsts: tuple[int, ...]


@dataclass(frozen=True)
class Candidates:
    """The model from its class logits on, which tells the box of a candidate that was not reported, and why it was not.

    Both graphs read the tensors of class logits and the context, and give the detections and their origins. In
    ``opened`` nothing is suppressed or cut off, and factors f of scores that all classes share are (1 + f) / 2.

    Attributes:
        opened, selection: files, relative to the bundle: without selection, and as the model selects.
        context: outputs of ``forward.onnx`` that they read in addition to the logits.
        rows: of each tensor of class logits, by the order of the target's ``ends``.
        classes: how many there are.
        silent: those that are never reported, as the background where it is counted as a class.
        form: how scores are made of the probability p of a class and the factor f: ``product`` p * f, or ``root``, the
            square root of it.
        at_once: how many candidates ``opened`` tells in a run.
        proposals: outputs of ``forward.onnx``, float32 [..., 4], x1 y1 x2 y2 on the canvas: the boxes that an earlier
            stage decoded, before it chose among them; empty without one.
    """

    opened: str
    selection: str
    context: tuple[str, ...]
    rows: tuple[Rows, ...]
    classes: int
    form: ScoreForm
    at_once: int
    silent: tuple[int, ...] = ()
    proposals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What speaks for or against the way in which a model was read, by one criterion.

    Attributes:
        check: the criterion, by the name that ``accept=`` takes.
        verdict: ``unknown`` where there is nothing to tell it from.
        figures: what was measured, by name.
        sentence: what was seen, for people.
        accepted: whether the user overruled it.
    """

    check: str
    verdict: Verdict
    figures: dict[str, float]
    sentence: str
    accepted: bool = False


@dataclass(frozen=True)
class SampleBox:
    """A box that was found at export.

    Attributes:
        name: of its class.
        score: as the model reports it.
        box: x1 y1 x2 y2 in pixels of the picture.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class SampleResult:
    """What was found at export, on the user's sample or on a synthetic image; ``sample.png`` shows it.

    Attributes:
        picture: its file's name, or what it is.
        size: height and width of it, in pixels.
        count: how many boxes were found; of a classifier, how many classes.
        best: the best of them, best score first.
        expected: the file of ``expect=`` that they agree with; empty if there was none.
    """

    picture: str
    size: tuple[int, int]
    count: int
    best: tuple[SampleBox, ...]
    expected: str = ""


@dataclass(frozen=True)
class Manifest:
    """Everything about a bundle but its tensors.

    Attributes:
        source: where the model came from; free text by key, for people.
        labels: class names by index.
        input: name of the input of ``forward.onnx``, one image.
        targets: what can be explained of a box; the first one is the default.
        verification: figures measured at export, by check: the bundle against the model, as it was read.
        plausibility: whether it was read right, as far as its graph and its boxes on some pictures tell.
        sample: what was found on one of these; None if the bundle does not say.
        candidates: of boxes that were not reported; None where they cannot be had, and in bundles of an earlier boxcam.
        without_candidates: why they cannot be had; empty if that is not known.
        files: sha256 of every other file, by path relative to the bundle.
        seal: sha256 of the manifest itself but for this entry, so that a label or a stride is not changed unseen.

    >>> import boxcam
    >>> manifest = boxcam.load("signs.boxcam").manifest
    >>> manifest.labels[0], manifest.layers[0].name
    ('stop', 'neck')
    """

    boxcam: str
    source: dict[str, str]
    labels: tuple[str, ...]
    input: str
    preprocess: Preprocess
    outputs: Outputs
    targets: tuple[TracedTarget, ...]
    layers: tuple[Layer, ...]
    verification: dict[str, float]
    plausibility: tuple[Finding, ...] = ()
    sample: SampleResult | None = None
    candidates: Candidates | None = None
    without_candidates: str = ""
    files: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT_VERSION
    seal: str = ""

    def target(self, name: str | None = None) -> TracedTarget:
        """A target by name; the first one if no name is given.

        Raises:
            UnknownNameError: there is none of that name.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").manifest.target().name
        'logit'
        """
        for target in self.targets:
            if name in (None, target.name):
                return target
        there = [target.name for target in self.targets]
        if name in TARGETS and name not in available(self.outputs.whole_image):
            raise UnknownNameError(
                f"this bundle has no target {name!r}: a classifier's box is the whole image. Pass target= one of:"
                f" {', '.join(there)}."
            )
        raise UnknownNameError(
            f"this bundle has no target {name!r} (it has: {', '.join(there)}). Export the model again with"
            f" targets={[*there, name]}, in addition to the options you used before."
        )
