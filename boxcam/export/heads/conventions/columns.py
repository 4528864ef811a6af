"""A table of detections whose columns the user names, in any order."""

from __future__ import annotations

import numpy as np

from boxcam.errors import SourceError
from boxcam.export.heads.convention import Convention, Piece
from boxcam.export.heads.conventions.contradictions import check_names
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.conventions.tells import scale_of
from boxcam.export.heads.evidence.values import are_classes
from boxcam.export.heads.observed import ObservedTensor

BOXES = {"xyxy": ("x1", "y1", "x2", "y2"), "cxcywh": ("cx", "cy", "w", "h"), "xywh": ("x1", "y1", "w", "h")}
"""The columns of a box, by its format."""
NAMES = ("score", "class", "x1", "y1", "x2", "y2", "cx", "cy", "w", "h", "image", "skip")


def by_columns(question: Question) -> Convention:
    """The table whose columns the user names.

    Raises:
        SourceError: the names are not those of a box and a score, or no tensor has as many columns.
    """
    names = question.columns
    if question.convention is not None:
        raise SourceError(
            f'columns= says how the table is read, so convention="{question.convention}" has no meaning. Leave one of'
            " the two out."
        )
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise SourceError(
            f"columns= has {unknown[0]!r}, which is not one of: {', '.join(NAMES)}. Pass the right names."
        )
    single = [name for name in NAMES if name not in ("image", "skip")]
    twice = [name for name in single if names.count(name) > 1]
    form = next((form for form, parts in BOXES.items() if set(parts) <= set(names)), None)
    if form is None or "score" not in names or twice:
        what = f"{twice[0]!r} more than once" if twice else "no box" if "score" in names else "no score"
        raise SourceError(
            f"columns= names {what}. Pass score, class (if there are several) and x1, y1, x2, y2 (or cx, cy, w, h, or"
            " x1, y1, w, h) once each, and skip for any other column."
        )
    one = _table(question)
    places = [names.index(part) for part in BOXES[form]]
    boxes = one.array.reshape(-1, len(names))[:, places]
    if "class" in names:
        _check_classes(one, question)
    row = range(places[0], places[0] + 4)
    return Convention(
        "a table of the columns that are named",
        "selected",
        _single(one, names.index("score")),
        Piece(one.value, (row[0], row[-1] + 1)) if places == list(row) else Piece(one.value, picked=tuple(places)),
        _single(one, names.index("class")) if "class" in names else None,
        form=question.box_format or form,
        scale=scale_of(question, boxes),
        sizes=(0, 0 if "class" in names else 1),
        padded=bool((one.array.reshape(-1, len(names))[:, names.index("score")] < 0).any()),
        rest=", ".join(f"{one.value.name}[{place}]" for place, name in enumerate(names) if name == "skip"),
    )


def _check_classes(one: ObservedTensor, question: Question) -> None:
    """Refuse a column of classes that are not whole, or have no name.

    Raises:
        SourceError: it is such a column.
    """
    place = question.columns.index("class")
    rows = one.array.reshape(-1, len(question.columns))
    rows = rows[~(rows == -1).all(1)]  # rows of -1 fill a table up
    numbers = rows[:, place]
    if not are_classes(numbers):
        found = numbers[numbers != np.round(numbers)] if (numbers != np.round(numbers)).any() else numbers
        whole = [column for column in range(rows.shape[1]) if are_classes(rows[:, column])]
        may = f"Columns {', '.join(map(str, whole))} have whole numbers" if whole else "No column has whole numbers"
        raise SourceError(
            f"columns= says that column {place} of {one.value.name} holds the class, and it holds {found[0]:.4g}, which"
            f" is no number of a class. {may}. Pass the columns in their right order."
        )
    if question.classes is not None:
        check_names(str(_single(one, place)), numbers[rows[:, question.columns.index("score")] > 0], question.classes)


def _single(one: ObservedTensor, column: int) -> Piece:
    return Piece(one.value, (column, column + 1))


def _table(question: Question) -> ObservedTensor:
    """The table: the one that is named, or the only one with as many columns."""
    width = len(question.columns)
    able = list({id(one.value): one for one in question.named.values()}.values()) or list(question.seen)
    fitting = [one for one in able if one.real and one.table[1:] == (width,)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " or ".join(str(one.value.name) for one in fitting)
        raise SourceError(f"columns= may be those of {names}. Pass the right one with scores=. {question.listed()}")
    raise SourceError(
        f"columns= names {width} columns, and there is no table [K, {width}], [1, K, {width}] or [1, 1, K, {width}]."
        " Pass as many names as the table has columns, or compute boxes and scores from the outputs with decode=."
        f" {question.listed()}"
    )
