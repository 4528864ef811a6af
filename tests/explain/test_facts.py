"""The facts satisfy their schema, whatever was explained, and the page of docs tells every entry of it."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam.explain.totals import share_inside
from tests.explain.made import AGAINST, EVEN, LEFT, explanation
from tests.json_schema import faults

SCHEMA: dict[str, Any] = json.loads((Path(boxcam.__file__).parent / "explain" / "facts.schema.json").read_text())
BOX = SCHEMA["properties"]["detections"]["items"]


@pytest.mark.parametrize(
    "found",
    [
        explanation(),
        explanation(EVEN, LEFT, AGAINST),
        explanation(EVEN, at=(0, 0, 4, 2.5)),
        explanation(EVEN, image=None, top=3, classes=("third", "0"), rank=(1, 4), device="cuda", color="RGB"),
    ],
)
def test_facts_satisfy_the_schema(found: boxcam.Explanation, tmp_path: Path) -> None:
    facts = found.facts()
    assert faults(facts, SCHEMA) == []
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    written = json.loads(found.save(tmp_path, "a")[2].read_text())
    assert faults(written, SCHEMA) == []
    assert {name: written.pop(name) for name in ("overlay", "maps")} == {"overlay": "a.png", "maps": "a.npz"}
    assert written == facts
    assert list(written) == [name for name in SCHEMA["properties"] if name in written]


def test_facts_of_a_real_model_satisfy_the_schema(signs: Path, signs_model: boxcam.Model, tmp_path: Path) -> None:
    for image in (signs / "images" / "cat.jpg", np.zeros((30, 40), np.uint8)):
        found = signs_model.explain(image, score=0.1, classes=[0, "no entry"])
        assert faults(found.facts(), SCHEMA) == []
        assert found.facts()["classes"] == ["0", "no entry"]
    assert signs_model.explain(signs / "images" / "cat.jpg", top=2).facts()["image"] == str(signs / "images/cat.jpg")


def test_the_check_finds_what_is_wrong() -> None:
    right = explanation(EVEN).facts()
    for change in (
        lambda facts: facts.pop("bundle"),
        lambda facts: facts.update(more=1),
        lambda facts: facts.update(height=0),
        lambda facts: facts.update(top=1.5),
        lambda facts: facts.update(target=1),
        lambda facts: facts["detections"][0].update(box=[1, 2, 3]),
        lambda facts: facts["detections"][0].update(share_inside_box=1.1),
        lambda facts: facts["detections"][0].pop("peak"),
    ):
        wrong = copy.deepcopy(right)
        change(wrong)
        assert len(faults(wrong, SCHEMA)) == 1


def test_numbers_are_rounded_and_what_is_no_number_is_null() -> None:
    found = explanation(EVEN, EVEN, EVEN)
    boxes = found.detections.boxes.copy()
    boxes[0] = 1.23456
    found = dataclasses.replace(
        found,
        detections=dataclasses.replace(found.detections, boxes=boxes),
        completeness=np.array([0.12345678, np.nan, np.inf], np.float32),
    )
    facts = found.facts()["detections"]
    assert facts[0]["box"] == [1.235] * 4
    assert [of["completeness"] for of in facts] == [0.123457, None, None]


def test_where_a_place_was_asked_about_no_boxes_are_counted(signs: Path, signs_model: boxcam.Model) -> None:
    """The model drew seven there, and none of them was left out: none was asked for."""
    found = signs_model.explain(signs / "images" / "street.jpg", at=(24, 62, 108, 150), classes=["stop", "give way"])
    assert found.facts()["other_boxes"] is None
    assert faults(found.facts(), SCHEMA) == []
    assert explanation(EVEN).facts()["other_boxes"] == 4
    wrong = copy.deepcopy(found.facts())
    wrong["detections"][0]["candidate"]["figures"]["by"] = "box 4"
    assert len(faults(wrong, SCHEMA)) == 1


def test_how_maps_became_one_is_said_where_there_were_several() -> None:
    found = explanation(EVEN)
    assert found.facts()["fusion"] is None
    assert dataclasses.replace(found, fused=(found.parts,), fusion="mean").facts()["fusion"] == "mean"


def test_the_docs_tell_every_entry() -> None:
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    for name, entry in [*SCHEMA["properties"].items(), *BOX["properties"].items()]:
        rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert any(entry["description"] in row for row in rows), name


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((2, 1, 5, 3), 3 * 2),
        ((2.9, 1.9, 4.1, 2.1), 3 * 2),  # each side is in a pixel that it touches
        ((2.5, 1.5, 2.6, 1.6), 1),
        ((0, 0, 8, 4), 32),
        ((7.5, 3.5, 8, 4), 1),
        ((3, 2, 3, 2), 0),
    ],
)
def test_what_lies_inside_a_box_is_every_pixel_that_it_touches(box: tuple[float, ...], pixels: int) -> None:
    even = np.ones((4, 8), np.float32)
    assert share_inside(even, np.array(box, np.float32)) == round(pixels / 32, 6)


def test_a_share_is_of_what_is_positive_and_has_six_digits() -> None:
    values = np.array([[1, -5, 2], [-7, 0, 0]], np.float32)
    assert share_inside(values, np.array([0, 0, 2, 1], np.float32)) == 0.333333
    assert share_inside(np.minimum(values, 0), np.array([0, 0, 2, 1], np.float32)) is None
    assert share_inside(values * 0.125, np.array([2, 0, 3, 1], np.float32)) == 0.666667
