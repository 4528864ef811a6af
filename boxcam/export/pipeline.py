"""Export: source → fold → trace → score and gradient graphs → verify → bundle."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam import bundle
from boxcam._version import __version__
from boxcam.bundle import TARGETS, Layer, Logits, Manifest, Outputs, Target, Tensor
from boxcam.errors import BoxcamWarning, ExportError, SourceError, UnsupportedOperatorError
from boxcam.export import sources as _sources  # noqa: F401  (each registers itself)
from boxcam.export.autodiff import gradient
from boxcam.export.gradients import CHOICES, Detector, LayerGradient, build
from boxcam.export.graphs import dimensions
from boxcam.export.graphs.dependency import gradient_reaches
from boxcam.export.graphs.extract import add_output, clone_model
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, all_values, find_value, name_and_shape, static_shape
from boxcam.export.graphs.reach import used_features
from boxcam.export.graphs.run import record_ranks
from boxcam.export.layers import layout
from boxcam.export.layers import resolve as maps
from boxcam.export.layers.receptive_field import Cells, cells, tiles
from boxcam.export.passes import check, dynamic_size, float16, straight_through
from boxcam.export.passes.scatter_rows import write_whole_rows
from boxcam.export.passes.stop_gradient import hold
from boxcam.export.source import SOURCES, LayerTensors, Options, Progress, Request, SourceModel
from boxcam.export.trace.stages import proposals
from boxcam.export.trace.trace import SIDES, Trace, trace
from boxcam.export.verify import samples
from boxcam.export.verify.check import require
from boxcam.export.verify.forward_pass import Forward, wide
from boxcam.runtime.images import read_image
from boxcam.types import IMAGE, Image

_PRECISION = "float16; its gradients are computed in float32"


def export(
    *arguments: str | os.PathLike[str],
    output: str | os.PathLike[str],
    source: str | None = None,
    layers: Sequence[str] = (),
    shape: tuple[int, int] | None = None,
    score_threshold: float | None = None,
    nms_threshold: float | None = None,
    sample: str | os.PathLike[str] | None = None,
    engine: str = "auto",
    targets: Sequence[str] = ("logit",),
    overwrite: bool = False,
    progress: Progress = lambda step: None,
    **options: Unpack[Options],
) -> Manifest:
    """Turn a trained detector into a bundle.

    Args:
        arguments: what the source is made of: for mmdet a config and a checkpoint.
        output: the bundle's directory.
        source: kind of source; found out from the arguments by default.
        layers: names of layers or tensors; the source's own choice by default.
        shape: height and width of the model's input; the source's own by default.
        score_threshold, nms_threshold: instead of the source's own.
        sample: an image to verify with; drawn ones by default.
        engine: which gradients to build: ``onnx``, ``torchscript``, ``both``, which are checked against each other, or
            ``auto``: ONNX, and TorchScript where its operators suffice.
        targets: what of a box can be explained: ``logit``, the class logit; ``score``, as reported; ``x1``, ``y1``,
            ``x2``, ``y2``, the sides in canvas pixels; ``all`` for all that the model has: a classifier has no sides.
        overwrite: replace a bundle that is there.
        progress: called with a few words as each step begins.
        options: how to read a model that does not say enough about itself, above all a plain ONNX file: ``scores``,
            ``boxes``, ``preprocess`` and others, which `boxcam.export.source.Request` explains.

    Returns:
        The manifest that was written.

    Raises:
        ExportError: the model cannot be exported, or the result does not agree with it; nothing is written then.
        OutputError: the bundle cannot be written there.
    """
    if engine not in CHOICES:
        raise ValueError(f"engine: {engine!r}, expected {', '.join(CHOICES)}")
    targets = (targets,) if isinstance(targets, str) else tuple(targets)
    if not targets or not set(targets) <= {*TARGETS, "all"}:
        raise ValueError(f"targets: {targets!r}, expected some of {', '.join(TARGETS)}, or all")
    bundle.check_target(output, overwrite=overwrite)
    pixels = None if sample is None else read_image(sample)
    layers = (layers,) if isinstance(layers, str) else tuple(layers)
    given = tuple(str(a) for a in arguments)
    request = Request(given, shape, score_threshold, nms_threshold, layers, sample=pixels, **options)
    kind = source or detect_source(request.arguments)
    SOURCES[kind].check(request, kind)
    loaded = SOURCES[kind].load(request, progress)
    explained = _targets(targets, loaded.outputs)
    with bundle.write(output, overwrite=overwrite) as folder:
        return _Export(loaded, layers, request, pixels, engine, explained, progress).into(folder)


def _targets(asked: Sequence[str], outputs: Outputs) -> tuple[str, ...]:
    """The targets that are asked for, each once.

    Raises:
        SourceError: one that the model does not have.
    """
    sides = [name for name in asked if name in SIDES]
    if outputs.whole_image and sides:
        raise SourceError(
            f"--target {sides[0]} has no meaning here: a classifier's box is the whole image. Leave it out."
        )
    every = [name for name in TARGETS if not (outputs.whole_image and name in SIDES)]
    return tuple(dict.fromkeys(every if "all" in asked else asked))


def detect_source(arguments: tuple[str, ...]) -> str:
    """The kind of source that the arguments look like.

    Raises:
        SourceError: none, or more than one.
    """
    found = [name for name in SOURCES if SOURCES[name].recognises(arguments)]
    if len(found) != 1:
        usages = "; ".join(f"{name}: {SOURCES[name].usage}" for name in SOURCES)
        what = "could be " + " or ".join(found) if found else "is no model of a known kind"
        raise SourceError(
            f"{' '.join(arguments)!r} {what}. Give, in this order, {usages}; or name the kind by --source."
        )
    return found[0]


class _Export:
    def __init__(
        self,
        source: SourceModel,
        names: Sequence[str],
        request: Request,
        pixels: Image | None,
        engine: str,
        targets: Sequence[str],
        progress: Progress,
    ) -> None:
        self.source, self.progress, self.pixels = source, progress, pixels
        self.engine, self.targets = engine, targets
        if source.preprocess.multiple:
            self.engine = dynamic_size.engine(engine)
        wanted = maps.resolve(source, names, request.layout)
        self.files = _file_names(wanted)
        self.tensors = [name for layer in wanted.values() for name in layer.tensors]
        check.check_input(source.model, source.input, source.preprocess)
        check.check_operators(source.model)
        check.check_precision(source.model, source.input)
        progress("folding constants")
        in_half = float16.computed_in(source.model, source.input, ir.DataType.FLOAT16)
        if in_half:
            float16.check_runs(source.model)
        self.types = float16.types(source.model) if in_half else {}  # to which the forward graph is brought back
        model = float16.widened(source.model) if in_half else source.model
        self.base = fold_model(_with_outputs(model, wanted, source.stops))
        if source.preprocess.multiple:
            dimensions.fold(self.base.graph)
            passes.ShapeInferencePass()(self.base)
        write_whole_rows(self.base)
        self.base_outputs = [str(v.name) for v in source.model.graph.outputs]
        self.outputs = _with_free_names(source.outputs, self.base)
        self.rois: dict[str, str] = {}
        self.layers = {name: self._as_maps(name, layer, request) for name, layer in wanted.items()}
        hold(self.base, source.stops)
        passes.ShapeInferencePass()(self.base)

    def _as_maps(self, name: str, layer: LayerTensors, request: Request) -> LayerTensors:
        """A layer by the maps that its tensors are or have been made into."""
        spec = self.source.preprocess
        kind = spec.layout if name == IMAGE else layer.layout
        for tensor in layer.tensors if spec.multiple and layer.kind != "roi" else ():
            value = find_value(self.base.graph, tensor)
            if value is not None and (kind or layout.layout_of(value)) == "tokens":
                raise ExportError(
                    f"layer {name!r}: how the tokens {name_and_shape(value)} lie on the image is not known while its"
                    f" size is open. {dynamic_size.ADVICE}"
                )
        tensors = tuple(
            tensor
            if layer.kind == "roi"
            else layout.as_map(self.base, tensor, kind, (spec.height, spec.width), request.tokens)
            for tensor in layer.tensors
        )
        return replace(layer, tensors=tensors)

    def into(self, folder: Path) -> Manifest:
        source = self.source
        original = clone_model(source.model)
        feeds = wide(source.input, samples.inputs(source.preprocess, self.pixels)[0])
        record_ranks(self.base, feeds)
        reported = (source.outputs.boxes, source.outputs.scores)
        hold(self.base, proposals(self.base.graph, reported))  # with ranks: no more than the boxes
        self.graphs = Detector(self.base, straight_through.straight_through(self.base), feeds)
        self.progress("tracing scores to logits")
        forward = clone_model(self.base)
        self.traces = {target: trace(forward.graph, self.outputs, target) for target in self.targets}
        built = {name: self._build(name, layer) for name, layer in self.layers.items()}
        for graph in (graph for of in built.values() for one in of for graph in one.by_onnx.values()):
            gradient.provide(forward, graph)
        self.places = self._cells(forward, feeds)
        described = {name: self._describe(name, layer, built[name], forward) for name, layer in self.layers.items()}
        names = [str(v.name) for found in self.traces.values() for v in (found.origin, found.logit)]
        wanted = [
            n
            for name, layer in described.items()
            for n in (*[t.name for t in layer.tensors], *[c for one in built[name] for c in one.context], *layer.rois)
        ]
        _set_outputs(forward, self.base_outputs, names, wanted)
        written = forward
        if self.types:
            written = clone_model(forward)
            float16.narrow(written, self.types)
        ir.save(written, folder / bundle.FORWARD)
        passes_of = Forward(
            original, self.base, forward, written, source.input, self.outputs, source.preprocess, self.pixels,
            self.traces, self.tensors,
        )  # fmt: skip
        figures = self._gradients(folder, passes_of, built)
        manifest = Manifest(
            boxcam=__version__,
            source={**source.description, **({"precision": _PRECISION} if self.types else {})},
            labels=source.labels,
            input=source.input,
            preprocess=source.preprocess,
            outputs=self.outputs,
            targets=tuple(_target(name, found) for name, found in self.traces.items()),
            layers=tuple(described.values()),
            verification=figures,
        )
        return bundle.write_manifest(folder, manifest)

    def _build(self, name: str, layer: LayerTensors) -> list[LayerGradient]:
        """Differentiate every target by a layer."""
        self.progress(f"differentiating {name}")
        try:
            ends = {target: [str(v.name) for v in found.logits] for target, found in self.traces.items()}
            used = {t: self._used(name, t, e, layer, alone=len(ends) == 1) for t, e in ends.items()}
            if not any(used.values()):
                raise ExportError(f"none of {', '.join(ends)} depends on it, so there is nothing to explain there.")
            features = [n for n in layer.tensors if any(n in of for of in used.values())]
            guided = name == IMAGE and self.engine != "torchscript"
            return [build(self.graphs, name, t, e, features, self.engine, guided) for t, e in ends.items() if used[t]]
        except ExportError as error:
            open_size = self.source.preprocess.multiple and isinstance(error, UnsupportedOperatorError)
            said = dynamic_size.told(str(error)) if open_size else str(error)
            raise type(error)(f"layer {name!r}: {said}") from error

    def _used(self, name: str, target: str, ends: Sequence[str], layer: LayerTensors, alone: bool) -> list[str]:
        """Those of a layer's tensors that a target depends on; of one among several it may be none."""
        try:
            return used_features(self.base, ends, layer.tensors, self._explained)
        except ExportError:
            if alone:
                raise
            message = f"the target {target!r} does not depend on layer {name!r}, which gets no gradient of it."
            warnings.warn(message, BoxcamWarning, stacklevel=2)
            return []

    def _explained(self) -> str:
        """Of the layers that the source names, those that a score depends on."""
        graph, outputs = self.source.model.graph, self.outputs
        values = {str(value.name): value for value in all_values(graph)}
        found = []
        for name, layer in self.source.layers.items():
            reached = gradient_reaches(graph, [values[n] for n in layer.tensors])
            if values[outputs.scores] in reached:
                found.append(name)
        return ", ".join(found)

    def _gradients(
        self, folder: Path, forward: Forward, layers: Mapping[str, Sequence[LayerGradient]]
    ) -> dict[str, float]:
        """Write the gradients and check everything; returns the figures."""
        self.progress("running the forward graph")
        run, checks = forward.checked(folder / bundle.FORWARD)
        runs = [(run, forward.origins(run))]
        if self.source.preprocess.multiple and (other := forward.at_another_size()) is not None:
            runs.append((other, forward.origins(other)))
        (folder / "gradient").mkdir()
        for name, several in layers.items():
            for built in several:
                file, target = self.files[name], built.target
                checks += built.write(folder, file, self.graphs, run, runs[0][1][target], self.progress)
                for again, origins in runs[1:]:
                    checks += built.check_again(folder, file, self.graphs, again, origins[target])
        return require(checks)

    def _describe(self, name: str, layer: LayerTensors, built: Sequence[LayerGradient], forward: ir.Model) -> Layer:
        values = {str(value.name): value for value in all_values(forward.graph)}
        rois = dict(zip(layer.tensors, layer.rois, strict=True)) if layer.kind == "roi" else {}
        first = built[0]
        tensors = []
        for number, tensor in enumerate(first.features):
            value = values[tensor]
            if layer.kind == "roi":
                place = rois[tensor]  # one output for each value, though several layers may name it
                if place not in self.rois:
                    own = f"{name}.{number}" if number else name
                    self.rois[place] = _rois(forward.graph, values[place], own)
                proposals = self.rois[place]
                tensors.append(Tensor(tensor, *maps.check_rows(value, name), None, rois=proposals))
            else:
                tensors.append(self._placed(name, value, first.field))
        if first.field == 1 and name != IMAGE:
            warnings.warn(
                f"layer {name!r} is so late that each logit depends on a single cell of it: a map of it shows one lit"
                " cell. Choose an earlier layer with --layer.",
                BoxcamWarning,
                stacklevel=2,
            )
        if any(one.rounded for one in built):
            warnings.warn(
                f"the model is quantized: gradients by layer {name!r} are straight-through, as if it did not round, and"
                " for the onnx engine only.",
                BoxcamWarning,
                stacklevel=2,
            )
        gradients = (gradient for one in built for gradient in one.described(self.files[name]))
        return Layer(name, layer.kind, tuple(tensors), tuple(gradients))

    def _cells(self, forward: ir.Model, feeds: Mapping[str, Array]) -> dict[str, Cells]:
        """Where the cells of all maps of the forward graph lie, by the names of the maps."""
        graph = dynamic_size.fixed(forward, feeds).graph
        image = next(given for given in graph.inputs if given.name == self.source.input)
        found = cells(graph, image, (1, 2) if self.source.preprocess.layout == "NHWC" else (2, 3))
        return {str(value.name): place for value, place in found.items()}

    def _placed(self, layer: str, value: ir.Value, field: int | None) -> Tensor:
        """What the manifest says of a feature map, and where its cells lie."""
        spec = self.source.preprocess
        channels, height, width = maps.check_map(value, layer, bool(spec.multiple))
        place = self.places.get(str(value.name))
        if place is None or place.axes != (2, 3):  # of tokens, and of what comes out of an attention
            if height is None or width is None:
                raise ExportError(
                    f"layer {layer!r}: where the cells of {value.name} lie is not known while the size of the image is"
                    f" open. {dynamic_size.ADVICE}"
                )
            place = tiles((spec.height, spec.width), height, width)
        stride, center = (place.y.stride, place.x.stride), (place.y.center, place.x.center)
        return Tensor(str(value.name), channels, height, width, stride, field, center)


def _target(name: str, found: Trace) -> Target:
    """What the manifest says of a target."""
    ends = (
        Logits(str(v.name), static_shape(v) or (), activation)
        for v, activation in zip(found.logits, found.activations, strict=True)
    )
    return Target(name, str(found.origin.name), str(found.logit.name), tuple(ends))


def _with_free_names(outputs: Outputs, model: ir.Model) -> Outputs:
    """Names for the outputs that are added which no tensor of the model has."""
    taken = [str(value.name) for value in all_values(model.graph)]
    own = (outputs.origin, outputs.logits)
    if any(name in own or name.startswith(("origin.", "value.")) for name in taken):
        return replace(outputs, origin="boxcam.origin", logits="boxcam.logit")
    return outputs


def _with_outputs(model: ir.Model, layers: Mapping[str, LayerTensors], stops: Sequence[str]) -> ir.Model:
    """A copy in which the layers' tensors, and others that are needed by name, are outputs, so that folding keeps them.

    An input stays what it is: it cannot be an output too.
    """
    work = clone_model(model)
    values = {str(value.name): value for value in all_values(work.graph)}
    for name in [*(n for layer in layers.values() for n in (*layer.tensors, *layer.rois)), *stops]:
        if not values[name].is_graph_input():
            add_output(work.graph, values[name])
    return work


def _set_outputs(model: ir.Model, *groups: Sequence[str | None]) -> None:
    """Make the named values the outputs of a graph, in this order."""
    values = {str(value.name): value for value in all_values(model.graph)}
    names = dict.fromkeys(name for group in groups for name in group if name is not None)
    model.graph.outputs.clear()
    model.graph.outputs.extend(values[name] for name in names)
    model.graph.sort()


def _rois(graph: ir.Graph, value: ir.Value, layer: str) -> str:
    """The proposals as [R, 4]; some models put the image's number first."""
    shape = static_shape(value)
    if shape is None or len(shape) != 2 or shape[1] not in (4, 5):
        raise ExportError(f"layer {layer!r}: the proposals {value.name} are not [R, 4] or [R, 5].")
    if shape[1] == 4:
        return str(value.name)
    boxes = Ops(graph, f"{layer}.rois").Slice(value, [1], [5], [1])
    boxes.name = f"{layer}.rois"
    boxes.dtype, boxes.shape = ir.DataType.FLOAT, ir.Shape([None, 4])
    return str(boxes.name)


def _file_names(layers: Iterable[str]) -> dict[str, str]:
    """A file name, without its end, for each layer's gradient: layers are named freely, files are not."""
    files: dict[str, str] = {}
    for layer in layers:
        plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in layer.strip("/"))
        names = (f"gradient/{plain}{f'~{n}' if n > 1 else ''}" for n in itertools.count(1))
        files[layer] = next(name for name in names if name not in files.values())
    return files
