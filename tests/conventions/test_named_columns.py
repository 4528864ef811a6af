"""A table whose columns the user names: which is which, and what cannot be, told of numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.errors import SourceError
from boxcam.export.heads.conventions.columns import by_columns
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.observed import ObservedTensor

ROWS = np.array([[0, 2, 0.5, 10, 20, 30, 40], [0, 0, 0.25, 1, 2, 3, 4], [-1] * 7])


def observed(name: str, rows: Any, kind: str = "float32") -> ObservedTensor:
    array = np.array(rows, kind)
    return ObservedTensor(ir.Value(name=name, shape=ir.Shape(array.shape)), array)


def question(columns: str, rows: Any = ROWS[None], **said: Any) -> Question:
    seen = tuple(said.pop("seen", None) or [observed("table", rows)])
    return Question(seen, columns=tuple(columns.split(",")), **said)


@pytest.mark.parametrize(
    ("columns", "score", "label", "boxes", "form"),
    [
        ("image,class,score,x1,y1,x2,y2", "table[2]", "table[1]", "table[3:7]", "xyxy"),
        ("skip,skip,score,x1,y1,w,h", "table[2]", None, "table[3:7]", "xywh"),
        ("skip,class,score,cx,cy,w,h", "table[2]", "table[1]", "table[3:7]", "cxcywh"),
    ],
)
def test_columns_in_a_row(columns: str, score: str, label: str | None, boxes: str, form: str) -> None:
    found = by_columns(question(columns))
    assert (str(found.scores), str(found.boxes), found.form) == (score, boxes, form)
    assert (None if found.labels is None else str(found.labels)) == label
    assert (found.name, found.kind, found.scale) == ("a table of the columns that are named", "selected", "pixels")
    assert found.sizes == (0, 1 if label is None else 0)
    assert found.padded  # a row has a score of -1
    assert found.rest == ", ".join(f"table[{at}]" for at, name in enumerate(columns.split(",")) if name == "skip")
    assert found.boxes is not None
    assert found.boxes.picked == ()


def test_columns_in_another_order() -> None:
    found = by_columns(question("y1,x1,y2,x2,score,skip,class", ROWS[:2, [4, 3, 6, 5, 2, 0, 1]]))
    assert found.boxes is not None
    assert (found.boxes.picked, str(found.scores), str(found.labels)) == ((1, 0, 3, 2), "table[4]", "table[6]")
    assert (found.padded, found.rest) == (False, "table[5]")
    assert (
        by_columns(question("y1,x1,y2,x2,score,skip,class", box_format="yxyx", box_scale="normalized")).form == "yxyx"
    )


def test_the_unit_is_that_of_the_boxes_and_not_of_other_columns() -> None:
    small = ROWS.copy()
    small[:2, 3:] /= 100
    small[:2, :1] = 300  # numbers of images
    assert by_columns(question("image,class,score,x1,y1,x2,y2", small)).scale == "normalized"
    assert by_columns(question("image,class,score,x1,y1,x2,y2", small, box_scale="pixels")).scale == "pixels"


TAKEN = "Pass score, class (if there are several) and x1, y1, x2, y2 (or cx, cy, w, h, or x1, y1, w, h) once each, and"
TAKEN = f"{TAKEN} skip for any other column."
ORDER = "Pass the columns in their right order."


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            question("class,score,x1,y1,x2,y2", convention="yolov10"),
            'columns= says how the table is read, so convention="yolov10" has no meaning. Leave one of the two out.',
        ),
        (
            question("a,score,b"),
            "columns= has 'a', which is not one of: score, class, x1, y1, x2, y2, cx, cy, w, h, image, skip. Pass the"
            " right names.",
        ),
        (question("score,x1,y1,x2,skip,skip,skip"), f"columns= names no box. {TAKEN}"),
        (question("skip,x1,y1,x2,y2"), f"columns= names no score. {TAKEN}"),
        (question("score,score,x1,y1,x2,y2,skip"), f"columns= names 'score' more than once. {TAKEN}"),
        (question("score,x1,y1,x2,y2,y2,skip"), f"columns= names 'y2' more than once. {TAKEN}"),
        (
            question("image,score,class,x1,y1,x2,y2"),
            "columns= says that column 2 of table holds the class, and it holds 0.5, which is no number of a class."
            f" Columns 0, 1, 3, 4, 5, 6 have whole numbers. {ORDER}",
        ),
        (
            question("score,class,x1,y1,x2,y2", [[0.5, 1.25, 1.5, 2.5, 3.5, 4.5]]),
            "columns= says that column 1 of table holds the class, and it holds 1.25, which is no number of a class. No"
            f" column has whole numbers. {ORDER}",
        ),
        (
            question("score,class,x1,y1,x2,y2", [[0.5, -3, 1.5, 2.5, 3.5, 4.5]]),
            "columns= says that column 1 of table holds the class, and it holds -3, which is no number of a class. No"
            f" column has whole numbers. {ORDER}",
        ),
        (
            question("image,class,score,x1,y1,x2,y2", classes=2),
            "table[1] has class 2, but there are 2 class names, from class 0 on. Pass one name for each class with"
            " class_names=.",
        ),
        (
            question("class,score,x1,y1,x2,y2"),
            "columns= names 6 columns, and there is no table [K, 6], [1, K, 6] or [1, 1, K, 6]. Pass as many names as"
            " the table has columns, or compute boxes and scores from the outputs with decode=. Outputs of the model:"
            " table float32 [1, 3, 7] from -1 to 40.",
        ),
        (
            question("image,class,score,x1,y1,x2,y2", seen=[observed("a", ROWS), observed("b", ROWS[None])]),
            "columns= may be those of a or b. Pass the right one with scores=. Outputs of the model: a float32 [3, 7]"
            " from -1 to 40, b float32 [1, 3, 7] from -1 to 40.",
        ),
    ],
)
def test_what_cannot_be(given: Question, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        by_columns(given)
    assert str(caught.value) == said


def test_the_table_is_that_of_real_numbers_or_the_one_that_is_named() -> None:
    whole, real, other = observed("whole", ROWS, "int64"), observed("real", ROWS), observed("other", ROWS)
    for seen in ([whole, real], [real, whole]):
        assert str(by_columns(question("image,class,score,x1,y1,x2,y2", seen=seen)).scores) == "real[2]"
    for said in ({"scores": other}, {"boxes": other}, {"scores": other, "boxes": other, "labels": other}):
        found = by_columns(question("image,class,score,x1,y1,x2,y2", seen=[real, other], **said))
        assert str(found.scores) == "other[2]"


@pytest.mark.parametrize("classes", [3, None])
def test_classes_of_what_is_no_detection_need_no_name(classes: int | None) -> None:
    rows = ROWS.copy()
    rows[2] = [0, 9, 0, 1, 2, 3, 4] if classes else [0, 9, 0.5, 1, 2, 3, 4]
    found = by_columns(question("image,class,score,x1,y1,x2,y2", rows, classes=classes))
    assert not found.padded
