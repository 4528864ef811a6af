"""Which annotations are of which image and of which class: never those of another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxcam.errors import InputError
from boxcam.explain.evaluation.annotations import Annotations

LABELS = ("stop", "cat")
IMAGE = "<annotation><size><height>6</height><width>8</width></size></annotation>"


def coco(folder: Path, annotations: list[dict[str, Any]], **more: Any) -> Annotations:
    data = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 6, "width": 8} for n in (1, 2)],
        "categories": [{"id": 0, "name": "stop"}],
        "annotations": annotations,
        **more,
    }
    (folder / "truth.json").write_text(json.dumps(data), encoding="utf-8")
    return Annotations(folder / "truth.json", LABELS)


def entry(image: int, left: float, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": 0, "bbox": [left, 0, 1, 1], **more}


def lefts(annotations: Annotations, name: str) -> list[float]:
    truth = annotations.of(Path(name), (6, 8))
    assert truth is not None
    return [float(thing.box[0]) for thing in truth.things]


@pytest.mark.parametrize(
    "ids", [({"id": 1}, {"id": 2}, {"id": 1}, {"id": 2}), ({"id": 2}, {}, {}, {}), ({"id": "a"}, {"id": "a"}, {}, {})]
)
def test_ids_that_come_twice_or_are_missing_give_no_image_the_objects_of_another(
    ids: tuple[dict[str, Any], ...], tmp_path: Path
) -> None:
    of = coco(tmp_path, [entry(1 + k // 2, k, **more) for k, more in enumerate(ids)])
    assert (lefts(of, "1.png"), lefts(of, "2.png")) == ([0, 1], [2, 3])


@pytest.mark.parametrize("part", ["images", "categories"])
def test_two_images_or_classes_of_one_id_are_refused(part: str, tmp_path: Path) -> None:
    two = [{"id": 0, "name": f"{n}", "file_name": f"{n}.png", "height": 6, "width": 8} for n in (1, 2)]
    with pytest.raises(InputError, match=rf"entry 1 of '{part}' has the id 0 of another one.* Give each an id"):
        coco(tmp_path, [], **{part: two})


@pytest.mark.parametrize("form", ["YOLO", "Pascal VOC", "COCO"])
def test_what_is_annotated_is_of_one_file_only(form: str, tmp_path: Path) -> None:
    if form == "COCO":
        of = coco(tmp_path, [entry(1, 0)])
    else:
        (tmp_path / ("1.txt" if form == "YOLO" else "1.xml")).write_text("" if form == "YOLO" else IMAGE)
        of = Annotations(tmp_path, LABELS)
    assert of.form == form
    for again in range(2):  # the same file, by another path
        assert of.of(Path("./1.png" if again else "1.png"), (6, 8)) is not None
    with pytest.raises(InputError, match=r"x/1\.png: what .* was taken for .*/1\.png already, .* Pass the one that"):
        of.of(Path("x/1.png"), (6, 8))


def test_an_image_that_does_not_fit_takes_nothing(tmp_path: Path) -> None:
    of = coco(tmp_path, [entry(1, 0)])
    with pytest.raises(InputError, match="Pass the images that were annotated"):
        of.of(Path("y/1.png"), (60, 80))
    assert of.of(Path("x/1.png"), (6, 8)) is not None


@pytest.mark.parametrize(("text", "number"), [("stop\n\ncat\n", 2), ("\nstop\ncat", 1), ("stop\n  \t\ncat", 2)])
def test_a_blank_line_among_class_names_is_refused(text: str, number: int, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text(text)
    (tmp_path / "1.txt").write_text("1 .5 .5 .1 .1")
    with pytest.raises(InputError, match=rf"classes\.txt, line {number} is blank, .* Write a name there"):
        Annotations(tmp_path, LABELS)
    (tmp_path / "classes.txt").write_text("stop\r\ncat \n\n \n")  # at the end they shift no number
    truth = Annotations(tmp_path, LABELS).of(Path("1.png"), (6, 8))
    assert truth is not None
    assert [thing.label for thing in truth.things] == [1]


def test_annotations_without_any_object_are_annotations(tmp_path: Path) -> None:
    (tmp_path / "1.xml").write_text(IMAGE)
    for of in (Annotations(tmp_path, LABELS), coco(tmp_path, [], categories=[])):
        truth = of.of(Path("1.png"), (6, 8))
        assert truth is not None
        assert truth.things == ()
        assert of.absent == LABELS
