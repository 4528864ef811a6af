"""An ONNX file that was read: its graph, its image input, and inputs to run it with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.bundle import Preprocess
from boxcam.errors import SourceError
from boxcam.export.graphs.query import (
    Array,
    static_shape,
)
from boxcam.export.graphs.run import observe_values
from boxcam.export.heads.convention import Convention
from boxcam.export.passes import check
from boxcam.export.passes.single_image import take_one
from boxcam.export.passes.single_trip import write_out
from boxcam.export.passes.tensorrt_nms import write_standard
from boxcam.export.preprocessing import parse
from boxcam.export.source import HalfPrecision, Request
from boxcam.export.sources.onnx import file, foreign, stated
from boxcam.export.sources.onnx import inputs as onnx_inputs
from boxcam.export.sources.onnx.conversion import prove_conversion
from boxcam.export.sources.onnx.fixed import fix
from boxcam.runtime.preprocess import prepare
from boxcam.types import Image


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A file that was read.

    Attributes:
        path: where it lies.
        model: the graph, one image in.
        image: its image input.
        preprocess: how an image becomes the input.
        metadata: what the file says about itself.
        producer: what wrote it.
        half: the graph in float16, if the file computes in it; the graph above is then a float32 copy.
        sample: a picture in which the model finds something, if the user gave one.
        in_pixels: whether the file says that its boxes are in pixels, by what it reads beside the image.
        fixed: what was put into other inputs, for people.
        sized_by: what says the height and width of the input: ``file``, ``shape``, ``preprocess``, or ``nothing``: then
            they are some that the model may not be meant for.
    """

    path: str
    model: ir.Model
    image: ir.Value
    preprocess: Preprocess
    metadata: Mapping[str, str]
    producer: str
    half: HalfPrecision | None
    sample: Image | None
    in_pixels: bool = False
    fixed: Mapping[str, str] = field(default_factory=dict)
    sized_by: str = "file"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input to run the graph with."""
        down, across = (2, 3) if self.preprocess.layout == "NCHW" else (1, 2)
        shape = self.feeds[str(self.image.name)].shape
        return shape[down], shape[across]

    @property
    def feeds(self) -> dict[str, Array]:
        """An input to run the graph with."""
        return next(self.inputs())

    def inputs(self) -> Iterator[dict[str, Array]]:
        """Inputs to run the graph with: the user's picture, or drawn ones, as no model finds something in each."""
        spec = self.preprocess
        pictures = _drawn(spec) if self.sample is None else iter([self.sample])
        for picture in pictures:
            tensor = prepare(picture, spec)[0]
            wide = tensor.astype(np.float32) if self.half is not None and tensor.dtype.kind == "f" else tensor
            yield {str(self.image.name): wide}


def _drawn(spec: Preprocess) -> Iterator[Image]:
    """Waves, and noise in patches of several sizes."""
    height, width, channels = spec.height, spec.width, spec.channels
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + 5 * channel) + channel) * np.cos(y / (11 + 3 * channel)) for channel in range(channels)]
    yield (127 + 120 * np.stack(waves, 2)).astype(np.uint8)
    for seed, size in enumerate((1, 8, 32)):
        coarse = np.random.default_rng(seed).integers(0, 256, (height // size + 1, width // size + 1, channels))
        yield coarse.repeat(size, 0).repeat(size, 1)[:height, :width].astype(np.uint8)


def read(request: Request, size: tuple[int, int] | None = None) -> OnnxFile:
    """Read an ONNX file, and fix its input to one image, of one size if it is not to have its own.

    As long as the preprocessing is not known, plain pixels stand for it.

    Args:
        request: what the user says of it.
        size: height and width to look into it with as long as neither they nor the preprocessing are known; None to
            refuse it.

    Raises:
        SourceError: see `load`.
    """
    if len(request.arguments) != 1:
        raise SourceError(f"an ONNX model is one file, not {len(request.arguments)} arguments. Pass MODEL.onnx alone.")
    model = file.read(request.arguments[0])
    metadata = file.metadata(model)
    producer = " ".join(part for part in (model.producer_name, model.producer_version) if part) or "unknown"
    in_pixels = onnx_inputs.tells_pixels(model)
    given = fix(model, request.inputs)
    image = onnx_inputs.image(model)
    said, shape = stated.preprocessing_of(request, metadata), static_shape(image)
    axes = onnx_inputs.axis_names(image)
    channels = parse.channels_of(said, shape, axes)
    is_known, trained = parse.is_complete(said, channels), onnx_inputs.training_size(metadata)
    usual = trained if is_known or trained is not None else size
    specs = said if is_known else parse.completed(said, channels)
    is_said = is_known or size is not None
    spec = parse.parse(specs, shape, image.dtype, request.shape, usual, is_said=is_said, axes=axes)
    batch = (shape[0] if shape else 1) or 1
    onnx_inputs.settle(model, image, spec, batch)
    if request.decode is None:
        write_standard(model)
    foreign.leave_out(model, request)
    sample = request.picture(spec.channels)
    if batch > 1:
        take_one(model, image, batch, _example(image, spec, sample))
        given = {"images at once": str(batch), **given}
    passes.ShapeInferencePass()(model)
    write_out(model, lambda values: observe_values(model, values, _example(image, spec, sample)))
    passes.ShapeInferencePass()(model)
    prove_conversion(request.arguments[0], model, lambda: _example(image, spec, sample))
    model, half = check.admit(model, str(image.name))
    image = next(value for value in model.graph.inputs if value.name == image.name)
    sized_by = _sized_by(shape or (), request, said, is_known or trained is not None)
    path = request.arguments[0]
    return OnnxFile(path, model, image, spec, metadata, producer, half, sample, in_pixels, given, sized_by)


def _sized_by(shape: Sequence[int | None], request: Request, said: Sequence[str], is_known: bool) -> str:
    """What says the height and width of the input, see `OnnxFile`."""
    if None not in shape[1:]:
        return "file"
    if request.shape is not None:
        return "shape"
    return "preprocess" if is_known or parse.has_size(said) else "nothing"


def _example(image: ir.Value, spec: Preprocess, sample: Image | None) -> dict[str, Array]:
    """An input to run the graph with as it is deployed."""
    return {str(image.name): prepare(next(_drawn(spec)) if sample is None else sample, spec)[0]}


def settled(opened: OnnxFile, request: Request, convention: Convention) -> OnnxFile:
    """The same file with its preprocessing, now that it is known how the model reports its detections."""
    if stated.resize_of(request, opened.metadata, convention) == stated.resize_of(request, opened.metadata):
        return opened
    return replace(opened, preprocess=replace(opened.preprocess, resize="stretch"))
