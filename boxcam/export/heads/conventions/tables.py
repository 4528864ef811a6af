"""Models that select their detections themselves, in one table with a row for each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boxcam.errors import SourceError
from boxcam.export.graphs.query import Array
from boxcam.export.heads.conventions.entry import Entry, Fit, Match, is_selected
from boxcam.export.heads.conventions.fits import apart
from boxcam.export.heads.conventions.selected import YOLO_NAS_PRESET
from boxcam.export.heads.conventions.tells import scale, table_form
from boxcam.export.heads.evidence.integers import columns_from_integers
from boxcam.export.heads.evidence.makers import is_computed, selects, suppressed_classes, suppresses
from boxcam.export.heads.evidence.values import are_classes, are_probabilities, ordered

_WIDE = 2.0
"""How far from 0 to 1 boxes that are normalized may reach."""


def _columns(*whole: str, score: str, rank: int | None = None, image: str = "") -> Callable[[Match], Fit]:
    """A check of a table's columns.

    Args:
        whole: those that hold whole numbers: classes, images.
        score: the one that holds probabilities.
        image: the one that holds the number of the image, which is 0.
        rank: how many axes such a table has, which decides where the numbers fit more than one layout.
    """

    def fits(match: Match) -> Fit:
        kept = ~(match.rows("table") == -1).all(1)  # rows of -1 fill a table up
        fitting = all(are_classes(match.rows(column)[kept]) for column in whole)
        fitting = fitting and are_probabilities(match.rows(score)[kept])
        fitting = fitting and not (image and match.rows(image)[kept].any())
        if not fitting or not (is_selected(match) or _has_classes(match, kept, *whole)):
            return Fit.NO
        if len(match.rows(score)) == 1 and not _is_joined(match, score, *whole):
            return Fit.NO
        usual = rank is None or match.tensors["table"].array.ndim == rank
        if not usual and not match.rows("table").any():  # no row, or zeros only
            return Fit.NO
        return Fit.CERTAIN if usual else Fit.LIKELY

    return fits


def _has_classes(match: Match, kept: Array, *whole: str) -> bool:
    """Whether whole numbers are no scores, which may be 0 or 1 everywhere.

    They are none if there are others among them, or if the graph makes them of integers.
    """
    others = any(not are_probabilities(match.rows(column)[kept]) for column in whole)
    return others or all(columns_from_integers(match.span(column)) for column in whole)


def _is_joined(match: Match, score: str, *whole: str) -> bool:
    """Whether the graph shows that a single row is one of a table, and not the scores of a classifier or a feature.

    Its score and its whole numbers are made apart from one another; or an operator chooses rows, and there is an axis
    for them.
    """
    if all(apart(match, score, column) for column in whole):
        return True
    one = match.tensors["table"]
    return one.array.ndim > 2 and selects(one.made)


def _of_detection_output(match: Match) -> Fit:
    """Rows of the first image until one of image -1; whatever follows has no score above 0."""
    fit = _columns("table[1]", "table[0]", score="table[2]")(match)
    rows = match.rows("table")
    end = np.flatnonzero(rows[:, 0] < 0)
    real = rows[: end[0]] if end.size else rows
    inside = bool((np.abs(real[:, 3:]) <= _WIDE).all() and not real[:, 0].any())
    return fit if inside and ordered(real[:, 3:]) > 0.5 else Fit.NO


def _of_one_class(match: Match) -> Fit:
    """What a suppression left: four numbers and a probability for each, and nothing that may be its class."""
    table = match.tensors["table"]
    others = [one for one in match.question.seen if one is not table and is_computed(one.value)]
    scores = match.rows("table[4]").reshape(-1)
    labels = any(one.array.size == len(scores) and are_classes(one.array) for one in others)
    if labels or not suppresses(table.made) or not are_probabilities(np.maximum(scores, 0)):
        return Fit.NO
    if columns_from_integers(match.span("table[4]")):
        return Fit.NO  # these are classes
    falls = bool((np.diff(scores) <= 1e-6).all())
    if not apart(match, "table[4]", "table[0:4]") and not falls:
        return Fit.NO  # the graph makes them with sides of boxes, and the best is not the first
    return Fit.CERTAIN if suppressed_classes(table.made) == 1 else Fit.POSSIBLE


def _beside(match: Match) -> str:
    """Further outputs of each row, as keypoints."""
    table, rows = match.tensors["table"], len(match.rows("table"))
    others = [one for one in match.question.seen if one is not table and is_computed(one.value)]
    return ", ".join(f"{one.value.name} {list(one.array.shape)}" for one in others if rows in one.array.shape)


def _is_padded(match: Match) -> bool:
    """Whether rows of -1 fill the table up in the run."""
    return bool((match.rows("table") == -1).all(1).any())


def _form_with_rest(match: Match) -> str:
    """Of a table with further columns: one further column may be an angle, and boxes with an angle have a centre.

    Raises:
        SourceError: that is not known.
    """
    if match.question.metadata.get("task") == "obb":
        return "cxcywh"
    if match.sizes["R"] == 1 and not match.question.metadata.get("task"):
        raise SourceError(
            f"the boxes of {match.tensors['table'].value.name} have a seventh column: with an angle they are centre and"
            ' size, otherwise corners. Pass box_format="cxcywh" or box_format="xyxy".'
        )
    return table_form(match)


END_TO_END = Entry(
    title="a table of box, score and class, as of YOLOv10",
    models="YOLOv10, YOLO26 and others end to end; Ultralytics with `nms=True`",
    tensors={"table": "1?, K, 6"},
    kind="selected",
    scores="table[4]",
    boxes="table[0:4]",
    labels="table[5]",
    form=table_form,
    scale=scale,
    padded=lambda match: _is_padded(match),
    fits=_columns("table[5]", score="table[4]", rank=3),
    preset=("yolo",),
)

END_TO_END_REST = Entry(
    title="a table of box, score, class and more, as of Ultralytics end to end",
    models="Ultralytics segmentation, pose and OBB end to end",
    tensors={"table": "1?, K, 6+R"},
    kind="selected",
    scores="table[4]",
    boxes="table[0:4]",
    labels="table[5]",
    form=lambda match: _form_with_rest(match),
    scale=scale,
    rest=lambda match: f"{match.tensors['table'].value.name}[6:{6 + match.sizes['R']}]",
    fits=_columns("table[5]", score="table[4]", rank=3),
    preset=("yolo",),
)

ONE_CLASS = Entry(
    title="a table of box and score, of one class",
    models="detectors of one class: RTMO, and others with suppression in the graph",
    tensors={"table": "1?, K, 5"},
    kind="selected",
    scores="table[4]",
    boxes="table[0:4]",
    form=table_form,
    scale=scale,
    padded=lambda match: _is_padded(match),
    rest=lambda match: _beside(match),
    fits=_of_one_class,
)

PADDLE = Entry(
    title="a table of class, score and box, as of PaddleDetection",
    models="PaddleDetection (paddle2onnx); the inputs `im_shape` and `scale_factor` become constants",
    tensors={"table": "1?, K, 6"},
    kind="selected",
    scores="table[1]",
    boxes="table[2:6]",
    labels="table[0]",
    form=table_form,
    scale=scale,
    padded=lambda match: _is_padded(match),
    fits=_columns("table[0]", score="table[1]", rank=2),
)

DETECTION_OUTPUT = Entry(
    title="a table of image, class, score and box, as of DetectionOutput",
    models="Caffe's and OpenVINO's DetectionOutput: SSDs of the Open Model Zoo",
    tensors={"table": "1, 1, K, 7"},
    kind="selected",
    scores="table[2]",
    boxes="table[3:7]",
    labels="table[1]",
    scale="normalized",
    padded=True,
    fits=lambda match: _of_detection_output(match),
)

YOLO_NAS = Entry(
    title="a table of image, box, score and class, as of YOLO-NAS",
    models="YOLO-NAS with `OutputFormat.FLAT`",
    tensors={"table": "1?, K, 7"},
    kind="selected",
    scores="table[5]",
    boxes="table[1:5]",
    labels="table[6]",
    scale="pixels",
    padded=lambda match: _is_padded(match),
    fits=_columns("table[6]", score="table[5]", image="table[0]"),
    preset=YOLO_NAS_PRESET,
)

YOLOV7 = Entry(
    title="a table of image, box, class and score",
    models="YOLOv7 end to end",
    tensors={"table": "1?, K, 7"},
    kind="selected",
    scores="table[6]",
    boxes="table[1:5]",
    labels="table[5]",
    form=table_form,
    scale=scale,
    padded=lambda match: _is_padded(match),
    fits=_columns("table[5]", score="table[6]", image="table[0]"),
    preset=("yolo",),
)
