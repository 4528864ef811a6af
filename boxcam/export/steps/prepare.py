"""First step: check what a source hands over, choose the layers, and make the graphs that gradients are made of."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.bundle import Outputs
from boxcam.errors import ExportError
from boxcam.export.gradients import Detector
from boxcam.export.graphs import dimensions
from boxcam.export.graphs.extract import add_output, clone_model
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values, find_value, name_and_shape
from boxcam.export.graphs.run import record_ranks
from boxcam.export.layers import layout
from boxcam.export.layers.resolve import resolve
from boxcam.export.layers.tokens import ImageInput
from boxcam.export.passes import check, dynamic_size, float16, straight_through
from boxcam.export.passes.scatter_rows import write_whole_rows
from boxcam.export.passes.stop_gradient import hold
from boxcam.export.source import LayerTensors, Progress, Request, SourceModel
from boxcam.export.trace.stages import proposals
from boxcam.export.verify.expected import Expected
from boxcam.export.verify.samples import Samples
from boxcam.targets import Target
from boxcam.types import IMAGE


@dataclass(frozen=True, eq=False)
class Wishes:
    """What the user asks of a bundle.

    Attributes:
        request: what was asked of the source; layers, layout, tokens and the picture are for the steps too.
        targets: what of a box can be explained.
        engine: one of `boxcam.export.gradients.CHOICES`.
        progress: called with a few words as each step begins.
        output: where the bundle is to lie.
        accept: names of criteria of plausibility that are overruled.
        expected: what the user's own code finds on the sample, if there is such a file.
    """

    request: Request
    targets: tuple[Target, ...]
    engine: str
    progress: Progress
    output: Path
    accept: tuple[str, ...] = ()
    expected: Expected | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A detector that can be traced and differentiated.

    Attributes:
        source: the detector, in float32; its outputs have names that no tensor of it has.
        graphs: the folded graph, and the one that gradients are of.
        layers: the layers that are exported, by the maps that their tensors are or have been made into.
        tensors: the layers' tensors as the detector has them.
        files: of each layer's gradients, without their ends and relative to the bundle.
        samples: inputs to verify with.
        engine: which gradients are built.
    """

    source: SourceModel
    graphs: Detector
    layers: Mapping[str, LayerTensors]
    tensors: tuple[str, ...]
    files: Mapping[str, str]
    samples: Samples
    engine: str


def prepare(source: SourceModel, wishes: Wishes) -> Prepared:
    """Check a detector, fold it, and turn its layers into maps.

    Raises:
        ExportError: it cannot be exported, or a layer is no feature map.
        UnknownLayerError: there is no such layer.
    """
    request, spec = wishes.request, source.preprocess
    engine = dynamic_size.engine(wishes.engine) if spec.multiple else wishes.engine
    wanted = resolve(source, request.layers, request.layout)
    source = _with_stops(source, request.stops)
    source = _admitted(source)
    wishes.progress("folding constants")
    if source.half is not None:
        float16.check_runs(source.half.model)
    raw = () if source.interpretation is None else (source.interpretation.scores,)
    base = fold_model(_with_outputs(source.model, wanted, (*source.stops, *raw)))
    if spec.multiple:
        dimensions.fold(base.graph)
        passes.ShapeInferencePass()(base)
    write_whole_rows(base)
    source = replace(source, outputs=_with_free_names(source.outputs, base))
    layers = {name: _as_maps(base, source, request, name, layer) for name, layer in wanted.items()}
    hold(base, source.stops)
    passes.ShapeInferencePass()(base)
    samples = Samples(source.input, spec, request.sample, request.sample_name)
    feeds = samples.first()
    record_ranks(base, feeds)
    reported = (source.outputs.boxes, source.outputs.scores)
    hold(base, proposals(base.graph, reported))  # with ranks: no more than the boxes
    return Prepared(
        source=source,
        graphs=Detector(base, straight_through.straight_through(base), feeds),
        layers=layers,
        tensors=tuple(name for layer in wanted.values() for name in layer.tensors),
        files=_file_names(wanted),
        samples=samples,
        engine=engine,
    )


def _with_stops(source: SourceModel, names: Sequence[str]) -> SourceModel:
    """The same detector; no gradient passes the tensors that the user names either.

    Raises:
        ExportError: there is no such tensor.
    """
    values = {str(value.name): value for value in all_values(source.model.graph)}
    for name in names:
        if name not in values:
            close = difflib.get_close_matches(name, values, n=3, cutoff=0.6)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise ExportError(
                f"the model has no tensor {name!r} at which a gradient could be stopped.{hint} Pass the name of a"
                " tensor of the graph with stops=."
            )
    if not names:
        return source
    said = {**source.description, "stopped gradients": ", ".join(names)}
    return replace(source, stops=tuple(dict.fromkeys((*source.stops, *names))), description=said)


def _admitted(source: SourceModel) -> SourceModel:
    """The detector in float32, once it has been checked."""
    deployed = source.model if source.half is None else source.half.model
    check.check_input(deployed, source.input, source.preprocess)
    if source.admitted:
        return source
    model, half = check.admit(source.model, source.input)
    return replace(source, model=model, half=half, admitted=True)


def _as_maps(base: ir.Model, source: SourceModel, request: Request, name: str, layer: LayerTensors) -> LayerTensors:
    """A layer by the maps that its tensors are or have been made into."""
    spec = source.preprocess
    if layer.kind == "roi":
        return layer
    kind = spec.layout if name == IMAGE else layer.layout
    for tensor in layer.tensors if spec.multiple else ():
        value = find_value(base.graph, tensor)
        if value is not None and (kind or layout.layout_of(value)) == "tokens":
            raise ExportError(
                f"layer {name!r}: how the tokens {name_and_shape(value)} lie on the image is not known while the"
                f" input size is dynamic. {dynamic_size.ADVICE}"
            )
    image = ImageInput(source.input, spec)
    return replace(
        layer, tensors=tuple(layout.as_map(base, tensor, kind, image, request.tokens) for tensor in layer.tensors)
    )


def _with_free_names(outputs: Outputs, model: ir.Model) -> Outputs:
    """Names for the outputs that are added which no tensor of the model has."""
    taken = [str(value.name) for value in all_values(model.graph)]
    own = (outputs.origin, outputs.logits)
    if any(name in own or name.startswith(("origin.", "value.")) for name in taken):
        return replace(outputs, origin="boxcam.origin", logits="boxcam.logit")
    return outputs


def _with_outputs(model: ir.Model, layers: Mapping[str, LayerTensors], others: Sequence[str]) -> ir.Model:
    """A copy in which the layers' tensors, and others that are needed by name, are outputs, so that folding keeps them.

    An input stays what it is: it cannot be an output too.
    """
    work = clone_model(model)
    values = {str(value.name): value for value in all_values(work.graph)}
    for name in [*(n for layer in layers.values() for n in (*layer.tensors, *layer.rois)), *others]:
        if not values[name].is_graph_input():
            add_output(work.graph, values[name])
    return work


def _file_names(layers: Iterable[str]) -> dict[str, str]:
    """A file name, without its end, for each layer's gradient: layers are named freely, files are not."""
    files: dict[str, str] = {}
    for layer in layers:
        plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in layer.strip("/"))
        names = (f"gradient/{plain}{f'~{n}' if n > 1 else ''}" for n in itertools.count(1))
        files[layer] = next(name for name in names if name not in files.values())
    return files
