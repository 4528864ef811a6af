"""Outputs shared out among the roles of an entry, and what is read of them, on plain arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.export.graphs.run import observe_values
from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.observed import ObservedTensor
from tests.export.export_graphs import Net

BASE = Entry(
    title="an entry", models="some", tensors={"boxes": "1?, N, 4", "scores": "1?, N, C"}, kind="candidates",
    scores="scores", boxes="boxes", iou=0.45, preset=("yolo",),
)  # fmt: skip


def observed(**arrays: Any) -> tuple[ObservedTensor, ...]:
    """Outputs of a graph that computes each of them."""
    net = Net()
    for name, array in arrays.items():
        net.node("Relu", [net.input(f"x_{name}", np.shape(array))], name=name)
    model = net.model(list(arrays))
    values = {str(value.name): value for value in model.graph.outputs}
    found = []
    for name, array in arrays.items():
        given = np.asarray(array)
        values[name].type = ir.TensorType(ir.DataType.from_numpy(given.dtype))
        found.append(ObservedTensor(values[name], given))
    return tuple(found)


def names(match: Match) -> dict[str, str]:
    return {role: str(one.value.name) for role, one in match.tensors.items()}


def ways(entry: Entry, seen: tuple[ObservedTensor, ...], **said: Any) -> list[dict[str, str]]:
    return [names(match) for match in entry.matches(Question(seen, **said))]


F, I = "float32", "int64"  # noqa: E741 - two kinds of numbers
EITHER = [{"boxes": "a", "scores": "b"}, {"boxes": "b", "scores": "a"}]


def four(kind: str = F, rows: int = 7, columns: int = 4) -> Any:
    return np.full((1, rows, columns), 0.5 if kind == F else 1, kind)


def test_outputs_go_to_the_roles_that_their_shapes_have() -> None:
    assert ways(BASE, observed(a=four(), b=four(columns=9))) == [{"boxes": "a", "scores": "b"}]
    assert ways(BASE, observed(b=four(columns=9), a=four())) == [{"boxes": "a", "scores": "b"}]
    assert ways(BASE, observed(a=four(), b=four())) == EITHER
    assert ways(BASE, observed(a=four(), b=four(rows=6))) == []
    assert ways(BASE, observed(a=four())) == []
    assert len(ways(BASE, observed(a=four(), b=four(), c=four(columns=3)))) == 4
    (match,) = BASE.matches(Question(observed(a=four(), b=four(columns=9))))
    assert match.sizes == {"N": 7, "C": 9}


def test_types_of_numbers() -> None:
    assert ways(BASE, observed(a=four(), b=four(I))) == []
    whole = replace(BASE, integers=("scores",))
    assert ways(whole, observed(a=four(), b=four(I))) == [{"boxes": "a", "scores": "b"}]
    assert ways(whole, observed(a=four(), b=four())) == []
    labels = replace(BASE, whole=("scores",))
    assert ways(labels, observed(a=four(), b=four(I))) == [{"boxes": "a", "scores": "b"}]
    assert ways(labels, observed(a=four(), b=np.ones((1, 7, 4), F))) == [{"boxes": "a", "scores": "b"}]
    assert ways(labels, observed(a=four(), b=four())) == []  # real, and not whole
    assert ways(BASE, observed(a=four(), b=np.ones((1, 7, 3), bool))) == []


def test_names_of_tensors_and_those_that_the_user_gives() -> None:
    seen = observed(a=four(), b=four())
    named = replace(BASE, names={"boxes": ("b", "bbox")})
    assert ways(named, seen) == [{"boxes": "b", "scores": "a"}]
    assert ways(replace(BASE, names={"boxes": ("c",)}), seen) == []
    assert ways(BASE, seen, scores=seen[0]) == [{"boxes": "b", "scores": "a"}]
    assert ways(BASE, seen, boxes=seen[0]) == [{"boxes": "a", "scores": "b"}]
    assert ways(BASE, seen, boxes=seen[0], scores=seen[0]) == []
    assert ways(BASE, seen, labels=seen[0]) == []  # it has no labels
    table = replace(BASE, tensors={"table": "1, N, 4"}, scores="table[3]", boxes="table[0:3]")
    assert ways(table, seen, scores=seen[1]) == [{"table": "b"}]


def test_what_the_file_stores_is_no_output_of_a_role() -> None:
    net = Net()
    net.node("Relu", [net.input("x", (1, 7, 4))], name="a")
    net.node("Constant", [], name="b", value_float=1.0)
    model = net.model(["a", "b"])
    seen = tuple(ObservedTensor(value, np.full((1, 7, 4), 0.5, F)) for value in model.graph.outputs)
    assert ways(BASE, seen) == []


def test_sizes_that_are_told_otherwise_or_cannot_be() -> None:
    seen = observed(a=four(), b=four(columns=9))
    (match,) = replace(BASE, solve=lambda found: {"C": found.sizes["C"] - 1, "R": 2}).matches(Question(seen))
    assert match.sizes == {"N": 7, "C": 8, "R": 2}
    assert ways(replace(BASE, solve=lambda found: None), seen) == []
    asked: list[Any] = []

    def possible(question: Question, sizes: Any) -> bool:
        asked.append(dict(sizes))
        return "C" not in sizes or sizes["C"] != 9

    assert ways(replace(BASE, possible=possible), seen) == []
    assert asked == [{"N": 7}, {"N": 7, "C": 9}]


TABLE = np.arange(42, dtype=F).reshape(1, 6, 7)


@pytest.mark.parametrize(
    ("shape", "array", "written", "rows", "columns", "across", "axis"),
    [
        ("1, N, 4+C", TABLE, "t[0:4]", TABLE[0, :, :4], (0, 4), False, 2),
        ("1, N, 4+C", TABLE, "t[4:4+C]", TABLE[0, :, 4:], (4, 7), False, 2),
        ("1, N, 4+C", TABLE, "t[4]", TABLE[0, :, 4:5], (4, 5), False, 2),
        ("1, N, 4+C", TABLE, "t", TABLE[0], None, False, 2),
        ("1?, 2+C, N", TABLE, "t[2:2+C]", TABLE[0].T[:, 2:], (2, 6), True, 1),
        ("1?, 2+C, N", TABLE[0], "t[2:2+C]", TABLE[0].T[:, 2:], (2, 6), True, 0),
        ("1?, N, 4+C", TABLE[0], "t[0:4]", TABLE[0, :, :4], (0, 4), False, 1),
        ("1?, K, 1?", TABLE[:, :, :1], "t", TABLE[0, :, :1], None, False, 2),
        ("1?, K, 1?", TABLE[:, :, 0], "t", TABLE[0, :, :1], None, False, 0),
        ("1?, K, 1?", TABLE[0, :, 0], "t", TABLE[0, :, :1], None, False, 0),
        ("1?, K, 1?", TABLE[0, :, :1], "t", TABLE[0, :, :1], None, False, 1),
        ("1, 1, K, 7", TABLE[None], "t[3:7]", TABLE[0, :, 3:], (3, 7), False, 3),
        ("1, K, 6+R", TABLE[:, :0], "t[0:4]", np.zeros((0, 4)), (0, 4), False, 2),
    ],
)
def test_columns_of_a_tensor(
    shape: str, array: Any, written: str, rows: Any, columns: Any, across: bool, axis: int
) -> None:
    entry = replace(BASE, tensors={"t": shape}, scores=written, boxes="")
    (match,) = entry.matches(Question(observed(t=array)))
    assert match.rows(written).tolist() == np.asarray(rows).tolist()
    assert (match.across("t"), match.axis("t")) == (across, axis)
    piece = match.piece(written)
    assert (piece.value.name, piece.columns, piece.across) == ("t", columns, across)
    assert piece.single is match.single("t") is ("K, 1?" in shape)
    span = match.span(written)
    whole = (0, array.shape[axis])
    assert (span.value, span.axis, (span.first, span.end)) == (match.tensors["t"].made, axis, columns or whole)
    model = ir.Model(piece.value.graph, ir_version=9)  # type: ignore[arg-type]
    from boxcam.export.graphs.ops import Ops

    (found,) = observe_values(model, [piece.rows(Ops(model.graph, "test"))], {"x_t": np.ascontiguousarray(array)})
    assert found.tolist() == [np.asarray(rows).tolist()]


def told(**fields: Any) -> Any:
    seen = observed(a=four(), b=four(columns=9))
    entry = replace(BASE, **fields.pop("entry", {}))
    (match,) = entry.matches(Question(seen, **fields))
    return entry.convention(match)


def test_what_an_entry_declares_is_what_is_read() -> None:
    found = told()
    assert (found.name, found.kind, found.sizes, found.iou) == ("an entry", "candidates", (7, 9), 0.45)
    assert (str(found.boxes), str(found.scores), found.labels, found.objectness) == ("a", "b", None, None)
    assert (found.form, found.scale, found.activation, found.background) == ("xyxy", "pixels", "none", "none")
    assert (found.best_class_only, found.padded, found.decode, found.decoding) == (False, False, None, "")
    assert (found.rest, found.preset, found.form_is_guessed) == ("", ("yolo",), False)


def test_what_the_user_says_comes_first() -> None:
    said = {"box_format": "yxyx", "box_scale": "normalized", "score_activation": "softmax", "background": "last"}
    for entry in ({}, {one: lambda match: "asked" for one in ("form", "scale", "activation", "background")}):
        found = told(entry=entry, **said)
        assert (found.form, found.scale, found.activation, found.background) == tuple(said.values())


def test_what_is_told_of_the_outputs() -> None:
    tell = {
        "form": lambda match: "cxcywh",
        "scale": lambda match: "normalized",
        "activation": lambda match: "sigmoid",
        "background": lambda match: "first",
        "rest": lambda match: f"{match.sizes['C']} more",
        "decoding": lambda match: "cells",
        "padded": lambda match: True,
        "best_class_only": lambda found: found.activation == "sigmoid",
        "decode": lambda match: match.sizes,
    }
    found = told(entry=tell)
    assert (found.form, found.scale, found.activation, found.background) == ("cxcywh", "normalized", "sigmoid", "first")
    assert (found.rest, found.decoding, found.padded) == ("9 more", "cells", True)
    assert (found.best_class_only, found.decode) == (True, {"N": 7, "C": 9})
    assert told(entry={**tell, "activation": "none"}).best_class_only is False


def selected(array: Any, **fields: Any) -> Match:
    entry = replace(
        BASE, **{"tensors": {"t": "1, K, 6"}, "kind": "selected", "scores": "t[4]", "boxes": "t[0:4]", **fields}
    )
    (match,) = entry.matches(Question(observed(t=array)))
    return match


def test_a_model_that_selects_has_an_operator_that_does_or_gives_all_its_boxes() -> None:
    """A Relu selects nothing: so the rows are all that there are, and overlap."""
    match = selected(TABLE[:, :, :6])
    found = match.entry.convention(match)
    assert (found.kind, found.sizes) == ("candidates", (0, 1))
    assert selected(TABLE[:, :, :6], labels="t[5]").entry.convention(
        selected(TABLE[:, :, :6], labels="t[5]")
    ).sizes == (
        0,
        0,
    )
    decoded = selected(TABLE[:, :, :6], decode=lambda match: None)
    assert decoded.entry.convention(decoded).kind == "selected"


def test_whether_the_form_of_a_few_rows_is_a_guess() -> None:
    for fields, guessed in (
        ({"form": lambda match: "xyxy"}, False),  # candidates: they are many
        ({"form": "xyxy"}, False),
    ):
        match = selected(TABLE[:, :, :6], **fields)
        assert match.entry.convention(match).form_is_guessed is guessed


def test_fits_are_in_the_order_of_how_sure_they_are() -> None:
    assert [fit.name for fit in sorted(Fit)] == ["NO", "POSSIBLE", "LAST", "LIKELY", "CERTAIN"]
