"""Models that select their detections themselves, in one table with a row for each."""

from __future__ import annotations

from collections.abc import Callable

from boxcam.errors import SourceError
from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.selected import YOLO_NAS_PRESET
from boxcam.export.heads.conventions.tells import scale, table_form
from boxcam.export.heads.evidence.values import are_classes, are_probabilities

_MOST = 5000
"""Detections of a model that selects them: what has more rows has not selected."""


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
        if not fitting or len(match.rows(score)) > _MOST:
            return Fit.NO
        usual = rank is None or match.tensors["table"].array.ndim == rank
        if not usual and not match.rows("table").any():  # no row, or zeros only
            return Fit.NO
        return Fit.CERTAIN if usual else Fit.LIKELY

    return fits


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
