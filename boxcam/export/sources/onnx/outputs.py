"""Which of a model's outputs are its detections: by their shapes, names and values in one run.

What cannot be told is asked for by name, with a list of what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from boxcam.errors import NothingToExplainError, SourceError
from boxcam.export.graphs.operators import OPERATORS, Copies, operator_of
from boxcam.export.graphs.query import Array, ancestors, name_and_shape, static_shape, values_read
from boxcam.export.heads import conventions
from boxcam.export.heads.convention import Convention, Kind, Piece
from boxcam.export.heads.observed import ObservedTensor
from boxcam.export.source import Request
from boxcam.plurals import counted

_COCO = {80: "none", 90: "none", 91: "none"}  # classes of models that were trained on COCO, in their several numberings


class UnknownOutputsError(SourceError):
    """The outputs are none that are known, whatever the image was."""


def find(seen: Sequence[ObservedTensor], request: Request, classes: int | None, task: str = "") -> Convention:
    """How a model reports its detections.

    Args:
        seen: its outputs, and what the user names.
        request: names and formats that the user gives.
        classes: how many class names are known, or None.
        task: what the file says that it is for, as Ultralytics does.

    Raises:
        SourceError: it is no detector or classifier, or several outputs may be the scores.
    """
    if task in ("obb", "pose"):
        raise SourceError(
            f"the model's task is {task!r}; boxcam explains axis-aligned boxes and classes. Compute these from the"
            " outputs with decode=."
        )
    finder = _Finder(seen, request, classes)
    found = finder.named() if finder.is_named else conventions.recognise(seen, classes) or finder.guess()
    changes = {
        name: value
        for name, value in (
            ("form", request.box_format),
            ("scale", request.box_scale),
            ("activation", request.score_activation),
            ("background", request.background),
        )
        if value is not None
    }
    return replace(found, **changes)  # type: ignore[arg-type]


class _Finder:
    def __init__(self, seen: Sequence[ObservedTensor], request: Request, classes: int | None) -> None:
        self.seen, self.request, self.classes = seen, request, classes
        self.by_name = {str(one.value.name): one for one in seen}

    @property
    def is_named(self) -> bool:
        return any((self.request.scores, self.request.boxes, self.request.labels))

    def guess(self) -> Convention:
        ways: Sequence[Callable[[], Convention | None]] = (
            self.tensorflow,
            self.separate,
            self.mmdeploy,
            self.table,
            self.pair,
            self.yolo,
            self.classifier,
        )
        for way in ways:
            if (found := way()) is not None:
                return found
        raise self._nothing()

    def named(self) -> Convention:
        """What the user names, and the other parts that fit to it."""
        request = self.request
        given = [self._get(name) for name in (request.scores, request.boxes, request.labels) if name]
        if request.labels:
            if not (request.scores and request.boxes):
                raise SourceError("labels= alone does not tell where the detections are. Pass scores= and boxes= too.")
            scores, boxes, labels = given
            return Convention("as named", "selected", _piece(scores), _piece(boxes), _piece(labels))
        only = given if len({id(one) for one in given}) == 1 else None
        finder = _Finder(given if len(given) == 2 else [*given, *self._others(given)], replace(request), self.classes)
        ways: Sequence[Callable[[], Convention | None]]
        if only is not None:
            alone = _Finder(given[:1], request, self.classes)
            beside = _Finder([given[0], *self._others(given)], request, self.classes)
            ways = (alone.mmdeploy, alone.table, alone.yolo, alone.classifier, beside.separate, beside.pair)
        else:
            ways = (finder.pair, finder.separate, finder.mmdeploy)
        for way in ways:
            found = way()
            if found is not None and self._is_as_named(found):
                return found
        if self._is_raw():
            raise self._raw()
        shapes = "; ".join(f"{one.value.name} {list(one.array.shape)}" for one in given)
        raise SourceError(
            f"{shapes}: these are not scores [1, N, C], [1, C, N] or [1, C] with boxes [1, N, 4]. Pass others with"
            " scores= and boxes=, or compute boxes and scores from the outputs with decode=."
        )

    def _is_as_named(self, found: Convention) -> bool:
        for name, piece in ((self.request.scores, found.scores), (self.request.boxes, found.boxes)):
            if name and (piece is None or piece.value.name != self._get(name).value.name):
                return False
        return True

    def _get(self, name: str) -> ObservedTensor:
        if name not in self.by_name:
            raise SourceError(
                f"there is no tensor {name!r} to be the scores, boxes or labels. Pass another name. {self._listed()}"
            )
        return self.by_name[name]

    def _others(self, given: Sequence[ObservedTensor]) -> list[ObservedTensor]:
        """Outputs that are not among those given and are not rivals of them."""
        return [one for one in self.seen if one not in given and one.array.shape != given[0].array.shape]

    def tensorflow(self) -> Convention | None:
        """The TensorFlow Object Detection API: boxes y1 x1 y2 x2, 0 to 1."""
        named = {one.name: one for one in self.seen}
        parts = [named.get(f"detection_{part}") for part in ("scores", "boxes", "classes")]
        if any(part is None for part in parts):
            return None
        scores, boxes, labels = (_piece(part) for part in parts if part is not None)
        return Convention(
            "TensorFlow Object Detection API", "selected", scores, boxes, labels, None, "yxyx", "normalized"
        )

    def separate(self) -> Convention | None:
        """Boxes [K, 4], scores [K] and labels [K], with a batch of one or without."""
        found = []
        for box in self.seen:
            if not box.real or box.plain(2)[1:] != (4,):
                continue
            beside = [one for one in self.seen if one.array.shape == box.array.shape[:-1]]
            labels = [one for one in beside if one.array.dtype.kind in "iu"]
            found += [(score, box, label) for score in beside if score.real for label in labels]
        if not found:
            return None
        if len(found) > 1:
            raise SourceError(self._ambiguous([score for score, _, _ in found]))
        score, box, label = found[0]
        scale = self._scale(box.array)
        name = "boxes, scores and labels, as of torchvision"
        return Convention(name, "selected", _piece(score), _piece(box), _piece(label), None, "xyxy", scale)

    def mmdeploy(self) -> Convention | None:
        """dets [1, K, 5], box and score, and labels [1, K]."""
        dets = [one for one in self.seen if one.real and one.plain(2)[1:] == (5,)]
        for det in dets:
            for label in self.seen:
                if label.array.dtype.kind in "iu" and label.array.shape == det.array.shape[:-1]:
                    boxes, scores = Piece(det.value, (0, 4)), Piece(det.value, (4, 5))
                    return Convention(
                        "boxes with score, and labels, as of mmdeploy", "selected", scores, boxes, _piece(label)
                    )
        return None

    def table(self) -> Convention | None:
        """One table with a row for each detection: box, score and class."""
        tables = [one for one in self.seen if one.real and one.plain(2)[1:] in ((6,), (7,))]
        found = [(one, order) for one in tables if (order := _columns(one)) is not None]
        if not found:
            return None
        if len(found) > 1:
            raise SourceError(self._ambiguous([one for one, _ in found]))
        one, order = found[0]
        name, boxes, scores, labels = order
        columns = [Piece(one.value, (first, end)) for first, end in (scores, boxes, labels)]
        found_boxes = one.array[..., slice(*boxes)]
        scale = self._scale(found_boxes)
        corners = scale == "pixels" or _ordered(found_boxes) > 0.5  # RT-DETR by Ultralytics has centre and size, 0 to 1
        form = "xyxy" if corners else "cxcywh"
        return Convention(name, "selected", columns[0], columns[1], columns[2], None, form, scale)

    def pair(self) -> Convention | None:
        """Boxes [1, N, 4], and a score for each box and class, [1, N, C] or [1, C, N]."""
        known = {one.name: one for one in self.seen}
        transformer = [known[name] for name in ("pred_boxes", "logits", "pred_logits") if name in known]
        transformer = transformer if len(transformer) == 2 else []
        pool = transformer or [one for one in self.seen if one.real and one.array.ndim == 3]
        pairs = []
        for box in pool:
            if box.array.ndim != 3 or box.array.shape[0] != 1 or box.array.shape[2] != 4:
                continue
            count = box.array.shape[1]
            for score in pool:
                if score is box or not score.real or score.array.ndim != 3 or score.array.shape[0] != 1:
                    continue
                if count in score.array.shape[1:] and (score in transformer[1:] or not self._is_box(score)):
                    pairs.append((box, score, score.array.shape[1] != count))
        if not pairs:
            return None
        if len(pairs) > 1:
            raise SourceError(self._ambiguous([score for _, score, _ in pairs]))
        box, score, across = pairs[0]
        rows = score.array.transpose(0, 2, 1) if across else score.array
        _, count, classes = rows.shape
        queries = bool(transformer) or (self.request.nms_threshold is None and _is_transformer(score.value))
        activation, background = self._activation(score, rows, queries)
        kind: Kind = "queries" if queries else "candidates"
        form, scale = ("cxcywh", "normalized") if transformer else self._format(box.array)
        return Convention(
            "queries with boxes, as of DETR" if queries else "boxes and scores of every class",
            kind,
            Piece(score.value, None, across),
            Piece(box.value),
            form=form,
            scale=scale,
            activation=activation,
            background=background,
            best_class_only=queries and background != "none",
            sizes=(count, classes),
        )

    def yolo(self) -> Convention | None:
        """One tensor, [1, 4 + C, N] (boxes and class scores) or [1, N, 5 + C] (objectness between them)."""
        whole = [one for one in self.seen if one.real and one.array.ndim == 3 and one.array.shape[0] == 1]
        whole = [one for one in whole if min(one.array.shape[1:]) >= 5]
        if not whole:
            return None
        if len(whole) > 1:
            raise SourceError(self._ambiguous(whole))
        one = whole[0]
        across = one.array.shape[1] < one.array.shape[2]
        rows = one.array.transpose(0, 2, 1) if across else one.array
        _, count, width = rows.shape
        masks = [other for other in self.seen if other.array.ndim == 4 and other.array.shape[0] == 1]
        prototypes = masks[0].array.shape[1] if len(masks) == 1 else 0
        skipped, classes = self._yolo_columns(one, across, width, prototypes)
        scores = rows[..., 4 + skipped : 4 + skipped + classes]
        activation = "none" if _is_probability(scores) else "sigmoid"
        scale = self._scale(rows[..., :4])
        queries = not across and not skipped and _is_transformer(_last_joined(one.value))
        if queries and self.request.nms_threshold is None:
            boxes = Piece(one.value, (0, 4))
            pieces = Piece(one.value, (4, 4 + classes)), boxes
            name = "queries with boxes and class scores in one tensor, as of RT-DETR by Ultralytics"
            return Convention(
                name, "queries", *pieces, None, None, "cxcywh", scale, activation, "none", True, (count, classes)
            )
        return Convention(
            "objectness and class scores in one tensor, as of YOLOv5"
            if skipped
            else "boxes and class scores in one tensor, as of Ultralytics",
            "candidates",
            Piece(one.value, (4 + skipped, 4 + skipped + classes), across),
            Piece(one.value, (0, 4), across),
            objectness=Piece(one.value, (4, 5), across) if skipped else None,
            form="cxcywh",
            scale=scale,
            activation=activation,
            best_class_only=True,
            sizes=(count, classes),
            iou=0.45 if skipped else 0.7,
        )

    def _yolo_columns(self, one: ObservedTensor, across: bool, width: int, prototypes: int) -> tuple[int, int]:
        """How many columns hold objectness (0 or 1), and how many classes there are."""
        known = self.classes
        if known is not None:
            for skipped in (0, 1):
                if width in (4 + skipped + known, 4 + skipped + known + prototypes):
                    return skipped, known
            raise SourceError(
                f"{one.value.name} has {width} columns: that is neither 4 + {known} (box, classes) nor 5 + {known}"
                f" (box, objectness, classes), with {counted(known, 'class name')}. Pass the right ones with"
                " class_names=, or compute boxes and scores from the outputs with decode=."
            )
        if across:
            return 0, width - 4 - prototypes
        of_coco = [skipped for skipped in (0, 1) if width - 4 - skipped in _COCO]
        if len(of_coco) == 1:
            return of_coco[0], width - 4 - of_coco[0]
        raise SourceError(
            f"{one.value.name} has {width} columns: a box and {width - 4} classes, or a box, objectness and {width - 5}"
            " classes? Pass the class names with class_names=."
        )

    def classifier(self) -> Convention | None:
        """One score for each class, [1, C]."""
        vectors = [one for one in self.seen if one.real and one.array.ndim == 2 and one.array.shape[0] == 1]
        vectors = [one for one in vectors if one.array.shape[1] > 1]
        if not vectors:
            return None
        if len(vectors) > 1:
            raise SourceError(self._ambiguous(vectors))
        one = vectors[0]
        known = _last_operator(one.value)
        done = _is_activation(known) or (known is None and _is_probability(one.array))
        activation = "none" if done else "softmax"
        return Convention(
            "a score for each class", "classes", _piece(one), activation=activation, sizes=(1, one.array.shape[1])
        )

    def _activation(self, score: ObservedTensor, rows: Array, queries: bool) -> tuple[str, str]:
        """What makes probabilities of scores, and which class stands for nothing."""
        request, classes = self.request, rows.shape[2]
        known = _last_operator(score.value)
        sums = _is_probability(rows) and classes > 1 and bool(np.abs(rows.sum(-1) - 1).max() < 1e-3)
        activation = request.score_activation
        if activation is None:
            if _is_activation(known) or (known is None and _is_probability(rows)):
                activation = "none"
            elif classes == 1 or self.classes == classes or (self.classes is None and classes in _COCO):
                activation = "sigmoid"
            elif queries and (self.classes == classes - 1 or (self.classes is None and classes == 92)):
                activation = "softmax"
            else:
                raise SourceError(
                    f"the scores {name_and_shape(score.value)} are logits: are they meant for a sigmoid or a softmax?"
                    ' Pass score_activation="sigmoid" or score_activation="softmax".'
                )
        if request.background is not None:
            return activation, request.background
        if activation != "softmax" and not (activation == "none" and (sums or known == "Softmax")):
            return activation, "none"
        if self.classes == classes:
            return activation, "none"
        if queries:
            return activation, "last"
        raise SourceError(
            f"the scores {name_and_shape(score.value)} are of a softmax, which usually has a background class: is it"
            ' the first or the last? Pass background="first", background="last" or background="none".'
        )

    def _is_box(self, one: ObservedTensor) -> bool:
        """Whether four columns are a box and not four classes: they are unless named as scores."""
        if one.array.shape[2] != 4 or one.value.name == self.request.scores:
            return False
        return one.value.name == self.request.boxes or not _is_activation(_last_operator(one.value))

    def _format(self, boxes: Array) -> tuple[str, str]:
        """Order of a box's numbers, and their unit, as they look in one run."""
        return ("xyxy" if boxes.size and _ordered(boxes) > 0.99 else "cxcywh"), self._scale(boxes)

    def _scale(self, boxes: Array) -> str:
        """Pixels, unless the boxes are not far from 0 to 1; rows of zeros are no boxes.

        Raises:
            SourceError: there is no box to see it from, and the user does not say it.
        """
        if self.request.box_scale is not None:
            return self.request.box_scale
        sizes = np.abs(boxes).max(-1, initial=0)
        sizes = sizes[sizes > 0]
        if not sizes.size:
            raise SourceError(
                "the model found no box in the images that were tried, so it is unknown whether its boxes are in pixels"
                ' of the input or normalized to 0..1. Pass box_scale="pixels" or box_scale="normalized", or an image in'
                " which it finds something with sample=."
            )
        return "normalized" if np.median(sizes) <= 1.5 else "pixels"

    def _ambiguous(self, rivals: Sequence[ObservedTensor]) -> str:
        if len({one.array.shape for one in rivals}) > 1 and self._is_raw():
            raise self._raw()
        names = " or ".join(dict.fromkeys(str(one.value.name) for one in rivals))
        return f"the scores may be {names}. Pass the right one with scores=. {self._listed()}"

    def _listed(self) -> str:
        listed = ", ".join(f"{one.value.name} {one.array.dtype} {list(one.array.shape)}" for one in self.seen)
        return f"Outputs of the model: {listed}."

    def _nothing(self) -> SourceError:
        maps = [one for one in self.seen if one.array.ndim == 4 and min(one.array.shape[2:]) > 1]
        if len(maps) == len(self.seen) and not self._is_raw():
            return NothingToExplainError(
                "the model outputs maps, and neither boxes nor classes of the whole image (as for segmentation), so"
                f" there is no box to explain. Export a detector or classifier. {self._listed()}"
            )
        if self._is_raw():
            return self._raw()
        return UnknownOutputsError(
            f"no scores and boxes were found. {self._listed()} Pass their names with scores= and boxes=, or compute"
            " boxes and scores from the outputs with decode=."
        )

    def _raw(self) -> UnknownOutputsError:
        return UnknownOutputsError(
            "the outputs are what a detector's head computes at each of its levels, before boxes and scores are made of"
            f' it. Pass a function that makes them with decode="FILE.py:FUNCTION"; docs/onnx.md has an example.'
            f" {self._listed()}"
        )

    def _is_raw(self) -> bool:
        """Whether the outputs are those of a dense head: maps or rows of two sizes at least.

        If one is as large as the image, they are of a segmentation.
        """
        maps = [one for one in self.seen if one.array.ndim == 4 and min(one.array.shape[2:]) > 1]
        rows = [one for one in self.seen if one.array.ndim == 3 and one.array.shape[1] > 1]
        if any(_is_as_large_as_the_image(one) for one in maps):
            return False
        return len({one.array.shape[2:] for one in maps}) > 1 or len({one.array.shape[1] for one in rows}) > 1


def _is_as_large_as_the_image(one: ObservedTensor) -> bool:
    graph = one.value.graph
    shapes = [static_shape(value) or () for value in graph.inputs] if graph is not None else []
    return any(one.array.shape[2:] in (shape[2:], shape[1:3]) for shape in shapes if len(shape) == 4)


def _piece(one: ObservedTensor) -> Piece:
    return Piece(one.value)


Columns = tuple[int, int]


def _ordered(boxes: Array) -> float:
    """The share of boxes that may be x1 y1 x2 y2: the last two numbers are not below the first two."""
    return float((boxes[..., 2:] >= boxes[..., :2]).all(-1).mean()) if boxes.size else 1.0


def _columns(one: ObservedTensor) -> tuple[str, Columns, Columns, Columns] | None:
    """Which columns of a table are the box, the score and the class; None if it is no table of detections."""
    rows = one.array.reshape(-1, one.array.shape[-1])
    if rows.shape[1] == 7:
        fits = _is_class(rows[:, 5]) and _is_class(rows[:, 0]) and _is_probability(rows[:, 6])
        return ("a table of image, box, class and score", (1, 5), (6, 7), (5, 6)) if fits else None
    box_first = _is_class(rows[:, 5]) and _is_probability(rows[:, 4])
    class_first = _is_class(rows[:, 0]) and _is_probability(rows[:, 1])
    if box_first == class_first:  # no row, or zeros only: Paddle's tables have no batch
        box_first, class_first = (one.array.ndim == 3, one.array.ndim == 2) if box_first else (False, False)
    if class_first:
        return "a table of class, score and box, as of PaddleDetection", (2, 6), (1, 2), (0, 1)
    return ("a table of box, score and class, as of YOLOv10", (0, 4), (4, 5), (5, 6)) if box_first else None


def _is_class(values: Array) -> bool:
    return bool(((values == np.round(values)) & (values >= -1)).all())


def _is_probability(values: Array) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def _last_operator(value: ir.Value) -> str | None:
    """The operator that made a value's numbers, if it is one that tells logits from probabilities."""
    node = value.producer()
    while node is not None and _lays_out(node) and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None:
        return None
    operator = operator_of(node)
    return node.op_type if operator.probability or operator.weighs or node.op_type == "Add" else None


def _is_activation(operator: str | None) -> bool:
    """Whether an operator makes probabilities."""
    return operator is not None and OPERATORS[operator].probability


def _lays_out(node: ir.Node) -> bool:
    return operator_of(node).copies in (Copies.IN_ORDER, Copies.PERMUTED)


def _is_transformer(value: ir.Value) -> bool:
    """Whether scores are computed row by row from a sequence by a matrix, without a convolution on the way."""
    for _ in range(20):
        node = value.producer()
        if node is None or node.op_type == "Conv":
            return False
        if node.op_type == "LayerNormalization" or _is_normalization(node):
            return True
        read = _computed(node)
        if not read or (node.op_type == "Concat" and len(read) > 1):
            return False
        value = read[0]
    return False


def _is_normalization(node: ir.Node) -> bool:
    """Whether a node divides by a deviation: a LayerNormalization in parts, as before opset 17."""
    if node.op_type != "Div" or None in node.inputs:
        return False
    above, below = (value.producer() for value in node.inputs if value is not None)
    if above is None or below is None or (above.op_type, below.op_type) != ("Sub", "Sqrt"):
        return False
    mean = above.inputs[1].producer() if above.inputs[1] is not None else None
    return mean is not None and mean.op_type == "ReduceMean"


def _computed(node: ir.Node) -> list[ir.Value]:
    """What a node reads that comes from the image; weights and biases do not, whatever moves them about."""
    return [value for value in node.inputs if value is not None and _is_computed(value)]


def _is_computed(value: ir.Value) -> bool:
    reads = (read for node in ancestors([value]) for read in values_read(node))
    return value.is_graph_input() or any(read.is_graph_input() for read in reads)


def _last_joined(value: ir.Value) -> ir.Value:
    """The last of the values that a tensor joins, as class scores behind boxes; the tensor itself if it joins none."""
    node = value.producer()
    while node is not None and node.op_type in ("Identity", "Cast") and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or node.op_type != "Concat":
        return value
    return (_computed(node) or [value])[-1]
