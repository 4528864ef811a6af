"""Export: source → fold → trace → score and gradient graphs → verify → bundle."""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import cv2
import numpy as np
import onnx_ir as ir

import boxcam
from boxcam import bundle
from boxcam.bundle import Form, Gradient, Layer, Logits, Manifest, Preprocess, Tensor
from boxcam.errors import BoxcamWarning, ExportError, SourceError, UnsupportedOperatorError, VerificationError
from boxcam.export import admission, gradient, quantized, score, verify, verify_gradient
from boxcam.export import graph as onnx
from boxcam.export import layers as maps
from boxcam.export import sources as _sources  # noqa: F401  (each registers itself)
from boxcam.export.dependency import gradient_reaches
from boxcam.export.geometry import cells
from boxcam.export.gradient import GradientGraph
from boxcam.export.graph import Array, Ops
from boxcam.export.score import ORIGIN, ScoreGraph
from boxcam.export.source import SOURCES, LayerTensors, Options, Progress, Request, Source
from boxcam.export.trace import Trace, trace
from boxcam.export.whole_rows import write_whole_rows
from boxcam.runtime.engines import OnnxEngine
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare
from boxcam.runtime.tensors import Tensors
from boxcam.types import Image, Patch

ENGINES = ("onnx", "torchscript")
"""The gradients that can be built; ``both`` is all of them."""

_CHECKED_BOXES = 12
_SAMPLES = 4
_BOXES_AT_ONCE: dict[Form, int] = {"windows": 32, "rows": 64, "whole": 8}  # of a TorchScript module


def export(
    *arguments: str | os.PathLike[str],
    output: str | os.PathLike[str],
    source: str | None = None,
    layers: Sequence[str] = (),
    shape: tuple[int, int] | None = None,
    score_threshold: float | None = None,
    nms_threshold: float | None = None,
    sample: str | os.PathLike[str] | None = None,
    engine: str = "both",
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
        engine: which gradients to build: ``onnx``, ``torchscript`` or ``both``, which are checked against each other.
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
    engines = ENGINES if engine == "both" else (engine,)
    if not set(engines) <= set(ENGINES):
        raise ValueError(f"engine: {engine!r}, expected {', '.join(ENGINES)} or both")
    bundle.check_target(output, overwrite=overwrite)
    pixels = None if sample is None else read_image(sample)
    layers = (layers,) if isinstance(layers, str) else tuple(layers)
    given = tuple(str(a) for a in arguments)
    request = Request(given, shape, score_threshold, nms_threshold, layers, **options)
    kind = source or detect_source(request.arguments)
    SOURCES[kind].check(request, kind)
    loaded = SOURCES[kind].load(request, progress)
    with bundle.write(output, overwrite=overwrite) as folder:
        return _Export(loaded, layers, pixels, engines, progress).into(folder)


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


@dataclass(frozen=True, eq=False)
class _Built:
    """What the gradient of a layer is made of, for each engine that was asked for.

    ``rounded`` tells that the layer's scores are computed with quantized numbers.
    """

    features: tuple[str, ...]
    score: ScoreGraph | None
    gradient: GradientGraph | None
    rounded: bool

    @property
    def context(self) -> list[str]:
        """Values of the forward pass that are read beside the features."""
        names = [] if self.score is None else list(self.score.context)
        if self.gradient is not None:
            names += [name for name in self.gradient.inputs if name not in self.features]
        return names

    def reason(self, form: str) -> str:
        """Why a gradient has its form, and what else has to be said of it."""
        rounding = ["the model is quantized: straight-through, as if it did not round"] if self.rounded else []
        return "; ".join([*([form] if form else []), *rounding])

    @property
    def field(self) -> int | None:
        """How many cells across one logit depends on, if these are a window."""
        if self.gradient is not None:
            return self.gradient.field
        assert self.score is not None
        reach = [part.reach for part in self.score.parts if part.reach is not None]
        return max((2 * max(r) + 1 for r in reach), default=None) if self.score.form == "windows" else None


class _Export:
    def __init__(
        self,
        source: Source,
        names: Sequence[str],
        pixels: Image | None,
        engines: Sequence[str],
        progress: Progress,
    ) -> None:
        self.source, self.progress, self.pixels, self.engines = source, progress, pixels, engines
        self.wanted = maps.resolve(source, names)
        self.files = _file_names(self.wanted)
        admission.check_input(source.model, source.input)
        admission.check_operators(source.model)
        admission.check_precision(source.model, source.input)
        progress("folding constants")
        self.base = onnx.fold(_with_outputs(source.model, self.wanted))
        write_whole_rows(self.base)
        self.base_outputs = [str(v.name) for v in source.model.graph.outputs]

    def into(self, folder: Path) -> Manifest:
        source = self.source
        self.original = onnx.clone(source.model)
        feeds = {source.input: self._first_sample()}
        onnx.record_ranks(self.base, feeds)
        self.smooth = quantized.straight_through(self.base)  # what gradients are of
        self.progress("tracing scores to logits")
        forward = onnx.clone(self.base)
        traced = trace(forward.graph, source.outputs)
        logits = [str(value.name) for value in traced.logits]
        built = {}
        for name, layer in self.wanted.items():
            self.progress(f"differentiating {name}")
            try:
                built[name] = self._build(logits, layer, feeds)
            except ExportError as error:
                raise type(error)(f"layer {name!r}: {error}") from error
            if (graph := built[name].gradient) is not None:
                gradient.provide(forward, graph)
        chosen = {name: self._describe(name, layer, built[name], forward) for name, layer in self.wanted.items()}
        wanted = [
            n
            for name, layer in chosen.items()
            for n in (*[t.name for t in layer.tensors], *built[name].context, layer.rois)
        ]
        _set_outputs(forward, self.base_outputs, [source.outputs.origin, source.outputs.logits], wanted)
        ir.save(forward, folder / bundle.FORWARD)
        figures = self._gradients(folder, forward, traced, logits, built)
        manifest = Manifest(
            boxcam=boxcam.__version__,
            source=dict(source.description),
            labels=source.labels,
            input=source.input,
            preprocess=source.preprocess,
            outputs=source.outputs,
            logits=tuple(
                Logits(str(v.name), onnx.static_shape(v) or (), a)
                for v, a in zip(traced.logits, traced.activations, strict=True)
            ),
            layers=tuple(chosen.values()),
            verification=figures,
        )
        return bundle.write_manifest(folder, manifest)

    def _build(self, logits: Sequence[str], layer: LayerTensors, feeds: Mapping[str, Array]) -> _Built:
        """Differentiate a layer; ONNX first, as its messages say which other engine may help."""
        features = score.used_features(self.base, logits, layer.tensors, self._explained)
        admission.check_path(self.base, logits, features)
        by_onnx = gradient.build(self.smooth, logits, features) if "onnx" in self.engines else None
        by_torch = None
        rounding = quantized.rounded(self.base, logits, features)
        if rounding and self.engines == ("torchscript",):
            raise UnsupportedOperatorError(
                f"the model is quantized ({rounding[0]}), and only the ONNX gradient passes its rounding. Use --engine"
                " onnx."
            )
        if "torchscript" in self.engines and not rounding:
            with self._torch_may_lack():
                by_torch = score.build(self.smooth, logits, features, feeds)
        return _Built(tuple(features), by_torch, by_onnx, bool(rounding))

    @contextlib.contextmanager
    def _torch_may_lack(self) -> Iterator[None]:
        """Where an operator is missing in torch only, say how to do without torch."""
        try:
            yield
        except UnsupportedOperatorError as error:
            if "onnx" not in self.engines:
                raise
            raise UnsupportedOperatorError(f"{error} Or do without torch, with --engine onnx.") from error

    def _explained(self) -> str:
        """Of the layers that the source names, those that a score depends on."""
        graph, outputs = self.source.model.graph, self.source.outputs
        values = {str(value.name): value for value in onnx.values(graph)}
        found = []
        for name, layer in self.source.layers.items():
            reached = gradient_reaches(graph, [values[n] for n in layer.tensors])
            if values[outputs.scores] in reached:
                found.append(name)
        return ", ".join(found)

    def _gradients(
        self, folder: Path, forward: ir.Model, traced: Trace, logits: Sequence[str], layers: Mapping[str, _Built]
    ) -> dict[str, float]:
        """Write the gradients and check everything; returns the figures."""
        self.progress("running the forward graph")
        found, feeds, checks = self._run_forward(folder, forward, traced, logits)
        values = [found[n] for n in logits]
        origin = verify.sample_origins(found, values, self.source.outputs.origin)[
            : max(_CHECKED_BOXES, 2 * len(logits))
        ]
        (folder / "gradient").mkdir()
        for name, built in layers.items():
            checks += self._layer_gradients(folder, name, built, logits, found, origin, feeds)
        return verify.require(checks)

    def _layer_gradients(
        self,
        folder: Path,
        name: str,
        built: _Built,
        logits: Sequence[str],
        found: Mapping[str, Array],
        origin: Array,
        feeds: Mapping[str, Array],
    ) -> list[verify.Check]:
        checks: list[verify.Check] = []
        whole = "whole" in [g.form for g in (built.score, built.gradient) if g is not None]
        some = origin[: max(_CHECKED_BOXES // 4, len(logits))] if whole else origin
        patches: dict[str, list[Patch]] = {}
        if built.gradient is not None:
            self.progress(f"verifying {name} (onnx)")
            file = folder / f"{self.files[name]}.onnx"
            ir.save(built.gradient.model, file)
            running = OnnxEngine(file)
            given = (self.smooth, built.features, logits, found, some, feeds)
            checks += verify_gradient.differences(name, built.gradient, running, *given)
            patches["onnx"] = running.patches(Tensors(found), built.features, (), some)
            if built.gradient.means is not None:
                ir.save(built.gradient.means, folder / f"{self.files[name]}.means.onnx")
                means = OnnxEngine(folder / f"{self.files[name]}.means.onnx").patches(
                    Tensors(found), built.features, (), some
                )
                shapes = {i: found[n].shape[2:] for i, n in enumerate(built.features)}
                checks.append(verify_gradient.means(name, means, patches["onnx"], shapes))
        if built.score is not None:
            from boxcam.export import torchscript, verify_torchscript

            self.progress(f"verifying {name} (torchscript)")
            file = folder / f"{self.files[name]}.pt"
            with self._torch_may_lack():
                torchscript.gradient_module(built.score, {**found, ORIGIN: origin}).save(str(file))
            module = torchscript.load(file)
            checks += verify_torchscript.gradients(name, built.score, module, self.smooth, logits, found, some, feeds)
            patches["torchscript"] = verify_torchscript.patches(module, built.score, found, some)
        if len(patches) == 2:
            shapes = {i: found[n].shape[2:] for i, n in enumerate(built.features)}
            checks.append(verify_gradient.against(name, patches["onnx"], patches["torchscript"], shapes))
        return checks

    def _run_forward(
        self, folder: Path, forward: ir.Model, traced: Trace, logits: Sequence[str]
    ) -> tuple[dict[str, Array], dict[str, Array], list[verify.Check]]:
        """One pass of the written forward graph on a sample in which something is found, its input, and its checks."""
        outputs = self.source.outputs
        probe = onnx.clone(forward)
        by_name = {str(value.name): value for value in onnx.values(probe.graph)}
        for name in logits:
            onnx.add_output(probe.graph, by_name[name])
        session = onnx.session(probe)
        written = onnx.session(folder / bundle.FORWARD)
        names = [output.name for output in session.get_outputs()]
        best: dict[str, Array] | None = None
        for image in self._samples():
            found = dict(zip(names, session.run(names, {self.source.input: image}), strict=True))
            count = int((found[outputs.origin][:, 0] >= 0).sum())
            if best is None or count > int((best[outputs.origin][:, 0] >= 0).sum()):
                best, chosen = found, image
            if count:
                break
        assert best is not None
        if not all(np.isfinite(best[name]).all() for name in logits):
            raise ExportError("the model's logits are not finite on the sample image. Are the weights whole?")
        if not (best[outputs.origin][:, 0] >= 0).any():
            given = "the sample image" if self.pixels is not None else "the pictures that are drawn for it"
            raise VerificationError(
                f"the model finds no box in {given}, so nothing can be verified. Give a picture of the kind that it was"
                " trained for with --sample, or lower --score-threshold."
            )
        feeds, values = {self.source.input: chosen}, [best[name] for name in logits]
        original = onnx.run(self.original, feeds)
        deployed = dict(zip([o.name for o in written.get_outputs()], written.run(None, feeds), strict=True))
        checks = [
            verify.outputs(original, deployed),
            verify.scores(traced, outputs, best, values, verify.softmax(self.base, traced, values, feeds)),
        ]
        if any(traced.products):
            checks.append(verify.products(self.base, outputs, feeds))
        return best, feeds, checks

    def _describe(self, name: str, layer: LayerTensors, built: _Built, forward: ir.Model) -> Layer:
        values = {str(value.name): value for value in onnx.values(forward.graph)}
        image = next(value for value in forward.graph.inputs if value.name == self.source.input)
        places = cells(forward.graph, image)
        tensors = []
        for tensor in built.features:
            value = values[tensor]
            if layer.kind == "roi":
                shape = onnx.static_shape(value) or ()
                if len(shape) != 4 or None in shape[1:]:
                    raise ExportError(
                        f"layer {name!r}: the pooled features {tensor} have no fixed shape {list(shape)}."
                    )
                channels, height, width = (int(d or 0) for d in shape[1:])
                tensors.append(Tensor(tensor, channels, height, width, None))
                continue
            channels, height, width = maps.check_map(value, name)
            if value not in places:
                raise ExportError(f"layer {name!r}: the cells of {tensor} cannot be placed on the image.")
            y, x = places[value].y, places[value].x
            stride, center = (y.stride, x.stride), (y.center, x.center)
            tensors.append(Tensor(tensor, channels, height, width, stride, built.field, center))
        rois = None if layer.rois is None else _rois(forward.graph, values[layer.rois], name)
        if built.field == 1:
            warnings.warn(
                f"layer {name!r} is so late that each logit depends on a single cell of it: a map of it shows one lit"
                " cell. Choose an earlier layer with --layer.",
                BoxcamWarning,
                stacklevel=2,
            )
        if built.rounded:
            warnings.warn(
                f"the model is quantized: gradients by layer {name!r} are straight-through, as if it did not round, and"
                " for the onnx engine only.",
                BoxcamWarning,
                stacklevel=2,
            )
        return Layer(name, layer.kind, tuple(tensors), rois, self._files(name, built))

    def _files(self, name: str, built: _Built) -> dict[str, Gradient]:
        """What the manifest says of each gradient; the first is what ``auto`` takes."""
        result = {}
        if built.gradient is not None:
            graph, file = built.gradient, f"{self.files[name]}.onnx"
            context = tuple(n for n in graph.inputs if n not in built.features)
            means = "" if graph.means is None else f"{self.files[name]}.means.onnx"
            result["onnx"] = Gradient(file, graph.form, built.reason(graph.reason), context, graph.boxes_at_once, means)
        if built.score is not None:
            made, file = built.score, f"{self.files[name]}.pt"
            at_once = _BOXES_AT_ONCE[made.form]
            result["torchscript"] = Gradient(file, made.form, built.reason(made.reason), made.context, at_once)
        return result

    def _first_sample(self) -> Array:
        return next(iter(self._samples()))

    def _samples(self) -> list[Array]:
        spec = self.source.preprocess
        if self.pixels is not None:
            return [prepare(self.pixels, spec)[0]]
        return [prepare(_draw(spec, seed), spec)[0] for seed in range(_SAMPLES)]


def _with_outputs(model: ir.Model, layers: Mapping[str, LayerTensors]) -> ir.Model:
    """A copy in which the layers' tensors are outputs, so that folding keeps them."""
    work = onnx.clone(model)
    values = {str(value.name): value for value in onnx.values(work.graph)}
    for layer in layers.values():
        for name in (*layer.tensors, *([layer.rois] if layer.rois else [])):
            onnx.add_output(work.graph, values[name])
    return work


def _set_outputs(model: ir.Model, *groups: Sequence[str | None]) -> None:
    """Make the named values the outputs of a graph, in this order."""
    values = {str(value.name): value for value in onnx.values(model.graph)}
    names = dict.fromkeys(name for group in groups for name in group if name is not None)
    model.graph.outputs.clear()
    model.graph.outputs.extend(values[name] for name in names)
    model.graph.sort()


def _rois(graph: ir.Graph, value: ir.Value, layer: str) -> str:
    """The proposals as [R, 4]; some models put the image's number first."""
    shape = onnx.static_shape(value)
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


def _draw(spec: Preprocess, seed: int) -> Image:
    """A picture to verify with when none is given: coloured shapes on a soft background."""
    rng = np.random.default_rng(seed)
    height, width = spec.height, spec.width
    coarse = rng.integers(0, 255, (4 + 2 * seed, 6 + 2 * seed, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    for _ in range(8 + 8 * seed):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = int(rng.integers(max(min(height, width) // 30, 2), max(min(height, width) // 4, 4)))
        color = tuple(int(c) for c in rng.integers(0, 255, 3))
        if rng.random() < 0.5:
            cv2.circle(image, (x, y), size, color, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(image, (x, y), (x + size, y + int(size * rng.uniform(0.5, 2))), color, -1)
    return image
