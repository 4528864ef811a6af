"""A model as it was read, and what it then reports on some pictures: what all criteria look at.

The pictures are the user's sample and the synthetic images together, the same in `boxcam export` and `boxcam inspect`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from boxcam.bundle import Outputs, Preprocess
from boxcam.errors import TraceError, VerificationError
from boxcam.export.graphs.extract import add_output, clone_model
from boxcam.export.graphs.query import Array, all_values, constant_array
from boxcam.export.graphs.run import failure_message, open_session
from boxcam.export.layers.receptive_field import Cells, cells
from boxcam.export.passes.dynamic_size import fixed
from boxcam.export.source import Interpretation
from boxcam.export.trace.trace import Trace, trace
from boxcam.export.trace.trace import names as added_names
from boxcam.export.verify.plausible.formats import BoxFormat
from boxcam.export.verify.samples import Picture, Samples, wide
from boxcam.runtime.preprocess import Transform, prepare
from boxcam.targets import LOGIT, SCORE

_FAINT = 0.005
"""The score of the faintest boxes that are looked at."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, as it was read.

    Attributes:
        file: what it is called in messages.
        model: its graph in float32, folded, the ranks of its values known.
        samples: its input, and pictures.
        outputs: which outputs hold the detections.
        labels: class names by index.
        interpretation: how a file's outputs were read; None where the source knows what they are.
        is_said: whether the user or the file says what its preprocessing is.
    """

    file: str
    model: ir.Model
    samples: Samples
    outputs: Outputs
    labels: tuple[str, ...]
    interpretation: Interpretation | None = None
    is_said: bool = True


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of one picture, best score first.

    Attributes:
        boxes: float64 [K, 4], x1 y1 x2 y2 in pixels of the model input, as they were read.
        scores: float64 [K].
        labels: int64 [K].
        origin: int64 [K, D], which number made the score.
    """

    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    origin: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def part(self, which: slice) -> Boxes:
        """Some of them."""
        return Boxes(self.boxes[which], self.scores[which], self.labels[which], self.origin[which])


@dataclass(frozen=True, eq=False)
class Report:
    """What a model reports on one picture.

    Attributes:
        picture: the picture.
        transform: where it lies on the model input.
        found: the boxes that it reports.
        faint: as many more as a lower score threshold lets through, where the graph lets it be lowered: a trained model
            finds little in most pictures, and these lie around their cells, too.
        ends: the tensors that scores are taken from, by name.
        columns: [N, C], the class scores of all rows before any activation that was added; None if not known.
    """

    picture: Picture
    transform: Transform
    found: Boxes
    faint: Boxes
    ends: Mapping[str, Array]
    columns: Array | None

    def __len__(self) -> int:
        return len(self.found)


@dataclass(frozen=True, eq=False)
class Reading:
    """A model as it was read, and what it reports.

    Attributes:
        subject: the model; its graph has an origin for each detection.
        trace: of the logits, or of the scores where those are not known.
        places: where the cells of the tensors lie that origins name, by name; those of maps only.
        reports: one for each picture on which the model could be run.
    """

    subject: Subject
    trace: Trace
    places: Mapping[str, Cells]
    reports: tuple[Report, ...]

    @property
    def file(self) -> str:
        """What the model is called in messages."""
        return self.subject.file

    @property
    def is_classifier(self) -> bool:
        """Whether each of its boxes is the whole image."""
        return self.subject.outputs.whole_image

    @property
    def preprocess(self) -> Preprocess:
        """How a picture becomes the input."""
        return self.subject.samples.preprocess

    @property
    def format(self) -> BoxFormat:
        """The format in which the boxes were read."""
        how = self.subject.interpretation
        return BoxFormat("xyxy", "pixels") if how is None else BoxFormat(how.form, how.scale)

    @property
    def computed_by(self) -> str:
        """What computes the boxes where the outputs do not hold them, see `boxcam.export.source.Interpretation`."""
        how = self.subject.interpretation
        return "" if how is None else how.computed_by


def on_computed(maker: str) -> str:
    """What to do about boxes that are computed, and look wrong: no option says their format."""
    if maker == "decode=":
        return "Correct the function of decode=: it returns x1 y1 x2 y2 in pixels of the model input."
    return f"Compute the boxes with decode= if they are not made as those of {maker}."


def read(subject: Subject) -> Reading:
    """Run a model on all pictures.

    Raises:
        TraceError: its scores cannot be followed.
        VerificationError: it cannot be run on any picture.
    """
    model, found = _traced(subject)
    threshold = _lower(model)
    by_name = {str(value.name): value for value in all_values(model.graph)}
    ends = [str(value.name) for value in found.logits]
    how = subject.interpretation
    raw = how.scores if how is not None and how.scores in by_name else None
    for name in (*ends, *(() if raw is None else (raw,))):
        add_output(model.graph, by_name[name])
    reports = tuple(_reports(model, subject, found, raw, threshold))
    return Reading(replace(subject, model=model), found, _places(model, subject, ends), reports)


def _traced(subject: Subject) -> tuple[ir.Model, Trace]:
    """A copy of the graph with the origin of the logits; of the scores, where logits cannot be followed."""
    try:
        model = clone_model(subject.model)
        return model, trace(model.graph, subject.outputs, LOGIT)
    except TraceError:
        model = clone_model(subject.model)
        return model, trace(model.graph, subject.outputs, SCORE)


def _reports(model: ir.Model, subject: Subject, found: Trace, raw: str | None, threshold: float) -> Iterator[Report]:
    session, how = open_session(model), subject.interpretation
    names = [output.name for output in session.get_outputs()]
    failure: Exception | None = None
    ran = False
    for picture in subject.samples.pictures():
        tensor, transform = prepare(picture.pixels, subject.samples.preprocess)
        try:
            values = session.run(names, wide({subject.samples.input: tensor}))
        except Exception as error:  # noqa: BLE001 - onnxruntime's own errors share no public root
            failure = error  # some models cannot run where they find nothing; another picture may do
            continue
        ran = True
        run = dict(zip(names, values, strict=True))
        boxes = _boxes(run, subject.outputs, found)
        count = int((boxes.scores > threshold).sum())
        yield Report(
            picture=picture,
            transform=transform,
            found=boxes.part(slice(count)),
            faint=boxes.part(slice(count, None)),
            ends={str(value.name): run[str(value.name)] for value in found.logits},
            columns=None if how is None or raw is None else _columns(run[raw], how),
        )
    if not ran and failure is not None:
        raise VerificationError(failure_message(model, failure)) from failure


def _boxes(run: Mapping[str, Array], outputs: Outputs, found: Trace) -> Boxes:
    boxes = run[outputs.boxes] if outputs.box_columns is None else run[outputs.boxes][..., slice(*outputs.box_columns)]
    scores = run[outputs.scores]
    scores = scores if outputs.score_column is None else scores[..., outputs.score_column]
    boxes, scores, labels = boxes.reshape(-1, 4), scores.reshape(-1), run[outputs.labels].reshape(-1)
    origin = run[added_names(outputs, found.target)[0]]
    real = np.flatnonzero(origin[:, 0] >= 0)
    order = real[np.argsort(-scores[real], kind="stable")]
    numbers = boxes[order].astype(np.float64), scores[order].astype(np.float64)
    return Boxes(*numbers, labels[order].astype(np.int64), origin[order].astype(np.int64))


def _lower(model: ir.Model) -> float:
    """Lower the score thresholds of suppression; returns the one that there was, below which boxes are faint.

    Suppression goes from the best box down, so that boxes above a threshold are the same whatever lies below it.
    """
    nodes = [node for node in model.graph if node.op_type == "NonMaxSuppression" and len(node.inputs) > 4]
    known = [constant_array(node.inputs[4]) for node in nodes]
    thresholds = [float(array.reshape(-1)[0]) for array in known if array is not None and array.size == 1]
    if not thresholds or len(thresholds) < len(nodes) or max(thresholds) <= _FAINT or len(set(thresholds)) > 1:
        return -np.inf
    name = "boxcam.faint"
    lower = ir.Value(name=name, const_value=ir.tensor(np.array([_FAINT], np.float32), name=name))
    lower.dtype, lower.shape = ir.DataType.FLOAT, ir.Shape([1])
    model.graph.register_initializer(lower)
    for node in nodes:
        node.replace_input_with(4, lower)
    return thresholds[0]


def _columns(array: Array, how: Interpretation) -> Array | None:
    """The class scores as [N, C]; as [N, 1], where there is one for each detection."""
    if not how.per_class:
        return (array if how.columns is None else array[..., slice(*how.columns)]).reshape(-1, 1)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1:  # of a classifier without a batch
        array = array[None]
    if array.ndim != 2:
        return None
    array = array.T if how.across else array
    return array if how.columns is None else array[:, slice(*how.columns)]


def _places(model: ir.Model, subject: Subject, ends: list[str]) -> dict[str, Cells]:
    first = subject.samples.first()
    graph = fixed(model, first).graph
    image = next(given for given in graph.inputs if given.name == subject.samples.input)
    axes = (1, 2) if subject.samples.preprocess.layout == "NHWC" else (2, 3)
    found = cells(graph, image, axes)
    return {str(value.name): place for value, place in found.items() if value.name in ends}
