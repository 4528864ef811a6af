"""What a source is, and what it delivers: a detector's graph and what is known about it.

This file, and the declarations of sources, import no framework and no onnx: help texts are made of them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from boxcam.bundle import Outputs, Preprocess
from boxcam.errors import BoxcamError, BoxcamWarning, SourceError
from boxcam.export import misuse
from boxcam.registry import Registry
from boxcam.types import Image

if TYPE_CHECKING:
    import onnx_ir as ir

Progress = Callable[[str], None]
Layout = Literal["NCHW", "NHWC", "tokens"]


@dataclass(frozen=True)
class LayerTensors:
    """A layer as a source names it.

    Attributes:
        tensors: names of values in the graph.
        kind: ``map`` for maps of the whole image, ``roi`` for one small map per proposal.
        rois: for each tensor of RoI features the name of the value with its proposals, [R, 4] x1 y1 x2 y2 on the
            canvas, or [R, 5] with the image first.
        layout: of the tensors: ``NCHW``, ``NHWC`` or ``tokens``; None to see it from the graph.
    """

    tensors: tuple[str, ...]
    kind: Literal["map", "roi"] = "map"
    rois: tuple[str, ...] = ()
    layout: Layout | None = None


@dataclass(frozen=True, eq=False)
class HalfPrecision:
    """A detector that was deployed in float16, as it was.

    Attributes:
        model: its graph; only the operators that select its detections may be missing.
        types: of its values, by name, to which the finished forward graph is brought back.
    """

    model: ir.Model
    types: Mapping[str, ir.DataType]


@dataclass(frozen=True)
class Interpretation:
    """How the outputs of a file were read that does not say what they are.

    Attributes:
        scores: name of the tensor of scores before any activation that was added.
        columns: those of the classes along the axis of columns, first and one past the last; None for all.
        across: the columns are the last axis but one: [1, columns, N] instead of [1, N, columns].
        activation: what was added to make probabilities of them: ``none``, ``sigmoid`` or ``softmax``.
        form, scale: of the boxes: ``xyxy`` …; ``pixels`` or ``normalized``.
        form_is_guessed: whether the form is only what most models have, as neither graph nor user says it.
        per_class: whether there is a score for each class, and not one for each detection that the model selected.
        computed_by: the convention whose published decoding computes the boxes, or ``decode=`` if the user's function
            does; empty where the outputs hold them: then alone may they be in another format.
    """

    scores: str
    columns: tuple[int, int] | None
    across: bool
    activation: str
    form: str
    scale: str
    per_class: bool = True
    form_is_guessed: bool = False
    computed_by: str = ""


@dataclass(frozen=True, eq=False)
class SourceModel:
    """A detector or classifier on its way into a bundle.

    Attributes:
        model: the graph, one image in, detections out. Once it is `admitted`, it is in float32.
        input: name of the graph's image input.
        outputs: which outputs hold the detections.
        preprocess: how an image becomes the input.
        labels: class names by index.
        layers: layers that the source knows by name.
        default_layers: those that are exported when none is asked for.
        description: for people: family, files, versions.
        stops: names of values that no gradient passes, where the framework detaches them.
        half: the detector as it was deployed, if that is in float16.
        interpretation: how its outputs were read; None where the source knows what they are.
        admitted: whether `boxcam.export.passes.check.admit` has passed the graph, as a source asks it to that has to
            run the graph; the pipeline asks it about all others.
    """

    model: ir.Model
    input: str
    outputs: Outputs
    preprocess: Preprocess
    labels: tuple[str, ...]
    layers: Mapping[str, LayerTensors]
    default_layers: tuple[str, ...]
    description: Mapping[str, str]
    stops: tuple[str, ...] = ()
    half: HalfPrecision | None = None
    admitted: bool = False
    interpretation: Interpretation | None = None


class Options(TypedDict, total=False):
    """How to read a model that does not say enough about itself; `Request` tells what each of them means."""

    scores: str | None
    boxes: str | None
    labels: str | None
    box_format: str | None
    box_scale: str | None
    score_activation: str | None
    background: str | None
    convention: str | None
    columns: str | Sequence[str] | None
    class_names: str | os.PathLike[str] | Sequence[str] | None
    preprocess: str | Sequence[str]
    layout: Layout | None
    tokens: tuple[int, int] | None
    decode: str | Callable[..., Any] | None
    stops: Sequence[str]
    inputs: Mapping[str, Any] | Sequence[str]


@dataclass(frozen=True, eq=False)
class Request:
    """What the user asks of a source.

    Attributes:
        arguments: the command's arguments: files or names.
        shape: height and width of the model's input, or None for the source's own.
        score_threshold: lowest score of a box, or None for the source's own.
        nms_threshold: IoU above which the weaker of two boxes is dropped, or None for the source's own.
        layers: names of layers or tensors; empty for the source's own choice.
        scores, boxes, labels: names of the tensors that hold them, instead of those that are found.
        box_format: ``xyxy``, ``yxyx``, ``cxcywh`` or ``xywh``, the order of a box's four numbers.
        box_scale: ``pixels`` of the canvas, or ``normalized`` to 0..1.
        score_activation: ``none`` if the scores are probabilities, otherwise what has to be put behind the logits:
            ``sigmoid`` or ``softmax``.
        background: where the class that stands for nothing is: ``first``, ``last`` or ``none``.
        convention: the name of the convention that the outputs are of, where more than one fits; docs/onnx.md has them.
        columns: what each column of a table of detections is: ``image,class,score,x1,y1,x2,y2``; see
            `boxcam.export.heads.conventions.columns`.
        class_names: a file with one name a line, or the names, by index.
        preprocess: how an image becomes the input: a preset, a YAML file, or ``key=value``, see
            `boxcam.export.preprocessing.parse`.
        layout: of a layer that is given by a tensor's name: ``NCHW``, ``NHWC`` or ``tokens``.
        tokens: height and width of the map that a sequence of tokens is.
        sample: a picture, BGR, in which the model finds something; None to draw some.
        sample_name: what it is called.
        decode: a function, or ``FILE.py:function``, that writes the operators from outputs to boxes and scores, see
            `boxcam.export.heads.hook`.
        stops: names of tensors that no gradient passes, as where the framework detaches them.
        inputs: values of inputs that are not the image, by name or as ``NAME=VALUE``, see
            `boxcam.export.sources.onnx.fixed.fix`.
        sample_file: the picture's file, for models whose pixels do not have three colours; None if there is none.
    """

    arguments: tuple[str, ...]
    shape: tuple[int, int] | None = None
    score_threshold: float | None = None
    nms_threshold: float | None = None
    layers: tuple[str, ...] = ()
    scores: str | None = None
    boxes: str | None = None
    labels: str | None = None
    box_format: str | None = None
    box_scale: str | None = None
    score_activation: str | None = None
    background: str | None = None
    convention: str | None = None
    columns: str | Sequence[str] | None = None
    class_names: str | os.PathLike[str] | Sequence[str] | None = None
    preprocess: str | Sequence[str] = ()
    layout: Layout | None = None
    tokens: tuple[int, int] | None = None
    decode: str | Callable[..., Any] | None = None
    stops: Sequence[str] = ()
    sample: Image | None = None
    inputs: Mapping[str, Any] | Sequence[str] = ()
    sample_file: str | None = None

    def picture(self, channels: int) -> Image | None:
        """The sample for a model that takes so many channels, uint8 [H, W, channels]; None if there is none.

        Raises:
            InputError: it has another number of channels.
        """
        from boxcam.runtime.planes import fitted, read_planes  # OpenCV, which help texts need not

        if self.sample_file is None or (channels == 3 and self.sample is not None):
            return None if self.sample is None else fitted(self.sample, channels, "the sample")
        return read_planes(self.sample_file, channels)

    sample_name: str = "the sample"

    @property
    def options(self) -> list[str]:
        """Names of the `Options` that were given."""
        names = [field.name for field in fields(self) if field.name in Options.__annotations__]
        return [name for name in names if getattr(self, name) not in (None, (), "", [], {})]


_FOR_ALL = ("layout", "tokens", "stops")
"""Those of the `Options` that belong to the graph, whatever it comes from."""

PACKAGES = ("onnx", "onnx_ir", "onnxruntime", "onnxscript", "torch", "yaml")
"""Top-level packages that every export may import."""


@dataclass(frozen=True)
class Source:
    """A kind of model that can be exported, and how.

    Attributes:
        usage: what the arguments are: ``MODEL.onnx``.
        recognises: whether the arguments look like this kind of source; reads no more than it must, and imports nothing
            that need not be installed.
        load: makes a model of a request; reports its steps.
        options: those of the `Options` that it reads; those that belong to any graph are for all.
        meaning: what the arguments are, in a few words for people.
        extra: the extra of boxcam that has what it needs.
        packages: top-level packages that it imports in addition to `PACKAGES`.
        prefix: what its first argument begins with and the model's name does not.
        examples: arguments of ``boxcam export``, with options.
        install: how its extra is installed; empty where pip alone does it.
    """

    usage: str
    recognises: Callable[[tuple[str, ...]], bool]
    load: Callable[[Request, Progress], SourceModel]
    options: frozenset[str] = frozenset()
    meaning: str = ""
    extra: str = "export"
    packages: tuple[str, ...] = ()
    prefix: str = ""
    examples: tuple[str, ...] = ()
    install: str = ""

    @property
    def how_to_install(self) -> str:
        """What to do where a package is missing, as a sentence."""
        return how_to_install(self.extra, self.install)

    def absent(self, arguments: tuple[str, ...]) -> list[str]:
        """The files among the arguments that are not there."""
        files = [one for one in arguments if not (self.prefix and one.startswith(self.prefix))]
        return [one for one in files if PurePath(one).suffix and not os.path.exists(one)]

    def check(self, request: Request, name: str) -> None:
        """Refuse options that this source does not read.

        Raises:
            SourceError: there is one.
        """
        idle = [option for option in request.options if option not in {*self.options, *_FOR_ALL}]
        if idle:
            raise SourceError(
                f"{idle[0]}= has no meaning for a model of the kind {name!r}, which states that itself. Leave it out."
            )


def how_to_install(extra: str, way: str = "") -> str:
    """How to install one of boxcam's extras, as a sentence; by pip, unless there is another way."""
    command = way or f"pip install 'boxcam[{extra}]'"
    return f"Install boxcam's {extra!r} extra: {command}."


SOURCES: Registry[Source] = Registry("source", "boxcam.sources")
"""Kinds of models that can be exported; `boxcam.export.sources` registers boxcam's own."""


def candidates(arguments: tuple[str, ...]) -> list[str]:
    """Names of the sources that the arguments look like.

    Warns:
        BoxcamWarning: a plug-in fails; it is left out.
    """
    found = []
    for name, source in SOURCES.loaded().items():
        try:
            fits = source.recognises(arguments)
        except (Exception, SystemExit) as error:
            if name not in SOURCES.plugins():
                raise
            said = f"fails to look at the model: {type(error).__name__}: {error}"
            warnings.warn(str(SOURCES.plugins()[name].failure(said)), BoxcamWarning, stacklevel=2)
            continue
        if fits:
            found.append(name)
    return found


def detect_source(arguments: tuple[str, ...]) -> str:
    """The source that the arguments look like.

    Raises:
        SourceError: none, or more than one.
    """
    found = candidates(arguments)
    prefixes = tuple(SOURCES[name].prefix for name in found if SOURCES[name].prefix)  # a plug-in's may look like one
    elsewhere = misuse.address(tuple(one for one in arguments if not one.startswith(prefixes)))
    if found and elsewhere is not None:
        raise SourceError(elsewhere)
    if len(found) == 1:
        return found[0]
    given = repr(" ".join(arguments))
    if found:
        kinds = " or ".join(f'source="{name}"' for name in found)
        raise SourceError(f"{given} could be {' or '.join(found)}. Pass its kind too, with {kinds}.")
    if (bundle := misuse.bundle(arguments)) is not None:
        raise SourceError(bundle)
    if (not_there := misuse.missing(arguments)) is not None:
        raise SourceError(not_there)
    better = misuse.advice(arguments, lambda others: bool(candidates(others)))
    raise SourceError(f"{given} is not a model of a known kind. {better or _alternatives()}")


def _alternatives() -> str:
    """What a model can be, as a sentence."""
    kinds: dict[str, list[str]] = {}
    for name, source in SOURCES.loaded().items():
        kinds.setdefault(source.usage, []).append(name)
    forms = ", or ".join(f"{usage} (kind {' or '.join(names)})" for usage, names in kinds.items())
    return f"Pass one of these: {forms}. If it is one of them under another name, pass its kind too, with source=."


def source_of(arguments: tuple[str, ...], name: str | None = None) -> Source | None:
    """The source of a model, as far as it can be told without an error: by name, or by the arguments.

    Args:
        arguments: the model.
        name: of the source, if the user gave it.
    """
    known = [name] if name is not None else candidates(arguments)
    return SOURCES[known[0]] if known and known[0] in SOURCES else None


def load_model(request: Request, name: str, progress: Progress) -> SourceModel:
    """Make a model of a request by a source.

    Raises:
        UnknownNameError: there is no such source.
        SourceError: the model is at fault, or the source, if it is a plug-in.
    """
    source = SOURCES[name]
    source.check(request, name)
    if name not in SOURCES.plugins():
        try:
            return source.load(request, progress)
        except ModuleNotFoundError:
            if absent := source.absent(request.arguments):  # which is to be said before a package is asked for
                raise SourceError(f"{absent[0]} does not exist. Check the path.") from None
            raise
    try:
        return source.load(request, progress)
    except (BoxcamError, ModuleNotFoundError):
        raise
    except (Exception, SystemExit) as error:
        plugin = SOURCES.plugins()[name]
        raise SourceError(str(plugin.failure(f"fails: {type(error).__name__}: {error}"))) from error
