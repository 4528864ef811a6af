"""Annotations of YOLO's and Pascal VOC's form, and which form is recognised."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from boxcam.errors import ArgumentError, InputError, PackageError
from boxcam.explain.evaluation.annotations import Annotations
from boxcam.explain.evaluation.truth import CUT, NO_AREA, OUTSIDE, Truth
from tests.explain.evaluation.coco import annotations_of
from tests.explain.evaluation.forms import objects_of, write_voc, write_yolo

LABELS = ("stop", "give way", "speed limit", "no entry", "pedestrian crossing")
SHAPE = (6, 8)
OBJECT = (
    "<object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>"
    "</object>"
)


def yolo(folder: Path, text: str, **files: str) -> Path:
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text(text, encoding="utf-8")
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content, encoding="utf-8")
    return folder / "labels"


def voc(folder: Path, text: str, size: tuple[int, int] = (8, 6)) -> Path:
    (folder / "xml").mkdir()
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    whole = text if text.startswith("<?") or "<annotation" in text or not text.startswith("<object") else ""
    (folder / "xml" / "a.xml").write_text(whole or f"<annotation>{stated}{text}</annotation>", encoding="utf-8")
    return folder / "xml"


def truth_of(annotations: Annotations, shape: tuple[int, int] = SHAPE) -> Truth:
    found = annotations.of(Path("any/a.jpg"), shape)
    assert found is not None
    return found


def test_all_forms_say_the_same(signs: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text(json.dumps(annotations_of(signs)), encoding="utf-8")
    paths = (tmp_path / "truth.json", write_yolo(signs, tmp_path / "yolo"), write_voc(signs, tmp_path / "voc"))
    coco, *others = (Annotations(path, LABELS) for path in paths)
    assert [one.form for one in (coco, *others)] == ["COCO", "YOLO", "Pascal VOC"]
    for image, objects in objects_of(signs):
        file, shape = Path(image["file_name"]), (image["height"], image["width"])
        expected = coco.of(file, shape)
        assert expected is not None
        assert len(expected.things) == len(objects) > 0
        for other in others:
            found = other.of(file, shape)
            assert found is not None
            for one, same in zip(found.things, expected.things, strict=True):
                assert np.allclose(one.box, same.box, atol=1e-9)
                assert one.label == same.label >= 0
    assert [one.masks for one in (coco, *others)] == [True, False, False]


# YOLO


def test_boxes_and_outlines_are_shares_of_the_image(tmp_path: Path) -> None:
    text = "1 0.5 0.5 0.5 1\n\n0.0 0.25 0.5 0.5 0.5 0.5 1 0.25 1\n"
    annotations = Annotations(yolo(tmp_path, text, data_yaml="names: [Stop, GIVE WAY]"), LABELS)
    box, outlined = truth_of(annotations).things
    assert (box.box.tolist(), box.label, box.mask) == ([2, 0, 6, 6], 1, None)
    assert (outlined.box.tolist(), outlined.label) == ([2, 3, 4, 6], 0)
    assert outlined.mask is not None
    expected = np.zeros(SHAPE, bool)
    expected[3:6, 2:4] = True
    assert np.array_equal(outlined.mask, expected)
    assert annotations.masks


@pytest.mark.parametrize(
    "names", [{"classes_txt": "x\nstop\n"}, {"data_yaml": "names: {1: stop, 0: x}"}, {"data_yml": "names: [x, stop]"}]
)
def test_class_names_are_found_above(names: dict[str, str], tmp_path: Path) -> None:
    annotations = Annotations(yolo(tmp_path, "1 .5 .5 1 1\n0 .5 .5 1 1", **names), LABELS)
    assert [thing.label for thing in truth_of(annotations).things] == [0, -1]
    assert annotations.unknown == ("x",)
    assert annotations.absent == LABELS[1:]
    assert annotations.remarks == [
        "Classes of the annotations that the model lacks: x.",
        "Classes of the model that the annotations lack: give way, speed limit, no entry, pedestrian crossing.",
    ]


def test_without_class_names_their_numbers_count_and_it_says_so(tmp_path: Path) -> None:
    annotations = Annotations(yolo(tmp_path, "4 .5 .5 1 1\n5 .5 .5 1 1"), LABELS)
    truth = truth_of(annotations)
    assert [thing.label for thing in truth.things] == [4, -1]
    assert truth.judged is None
    assert annotations.unknown == ("class 5",)
    assert any("matched by their numbers" in remark for remark in annotations.remarks)


def test_an_empty_file_is_an_image_without_objects_and_no_file_is_none(tmp_path: Path) -> None:
    annotations = Annotations(yolo(tmp_path, ""), LABELS)
    assert truth_of(annotations).things == ()
    assert annotations.of(Path("b.jpg"), SHAPE) is None
    assert annotations.others([Path("b.jpg")]) == 1
    assert annotations.others([Path("x/a.png"), Path("b.jpg")]) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 .5 .5 1 1\nstop .5 .5 1 1", r"a\.txt, line 2 is 'stop \.5 \.5 1 1', and not numbers\. Write it as class"),
        ("0 .5 .5 1", r"line 1 has 4 numbers\. Write it as"),
        ("0 .5 .5 1 1 .9", r"has 6 numbers, as what a model found has, with its score\. Pass the annotations"),
        ("0 .5 .5 1 1 .9 .9 .1", r"line 1 has 8 numbers\. Write"),
        ("0.5 .5 .5 1 1", r"begins with 0\.5, which is not the number of a class"),
        ("-1 .5 .5 1 1", r"begins with -1, which is not"),
        ("0 320 200 50 50", r"no shares of an image: 320 200 50 50\. Divide pixels by"),
        ("0 nan .5 1 1", r"no shares of an image: nan"),
        ("0 inf .5 1 1", r"no shares of an image: inf"),
        ("0 .5 .5 -1 1", r"a negative width or height"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        Annotations(yolo(tmp_path, text), LABELS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("names: [", r"data\.yaml is not valid YAML"),
        ("nc: 3", r"data\.yaml has no list 'names'\. Write the class names"),
        ("names: {1: stop}", r"has no list 'names'"),
        ("names: [[stop]]", r"has no list 'names'"),
        ("names: [a]", r"a\.txt: object 1 is of class 1, and .*data\.yaml names 1, from 0\. Correct one of them"),
        ("names: [dog, cat]", r"none of its classes \(dog, cat\) is a class of the model \(stop, "),
    ],
)
def test_broken_class_names_are_refused(content: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        Annotations(yolo(tmp_path, "1 .5 .5 1 1", data_yaml=content), LABELS)


def test_outlines_without_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = Annotations(yolo(tmp_path, "0 0 0 1 0 1 1"), LABELS)
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(PackageError, match=r"annotations= needs pycocotools.*: pip install 'boxcam\[audit\]'$"):
        truth_of(annotations)


# Pascal VOC


def test_corners_are_pixels_from_one_and_belong_to_the_box(tmp_path: Path) -> None:
    text = OBJECT.format(1, 1, 8, 6, name=" Stop") + OBJECT.format(2, 3, 4.5, 5, name="dog")
    annotations = Annotations(voc(tmp_path, text), LABELS)
    whole, other = truth_of(annotations).things
    assert (whole.box.tolist(), whole.label, whole.mask) == ([0, 0, 8, 6], 0, None)
    assert (other.box.tolist(), other.label) == ([1, 2, 4.5, 5], -1)
    assert annotations.unknown == ("dog",)


def test_an_image_of_another_size_is_refused_and_none_is_taken_for_any(tmp_path: Path) -> None:
    annotations = Annotations(voc(tmp_path, OBJECT.format(1, 1, 2, 2, name="stop")), LABELS)
    with pytest.raises(
        InputError, match=r"a\.jpg has 8x6 pixels, and .*a\.xml is of an image of 6x8\. Pass the images"
    ):
        annotations.of(Path("a.jpg"), (8, 6))
    (tmp_path / "zero").mkdir()
    unknown = Annotations(voc(tmp_path / "zero", OBJECT.format(1, 1, 2, 2, name="stop"), (0, 0)), LABELS)
    assert len(truth_of(unknown, (99, 99)).things) == 1


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb">]><annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation><object>", r"a\.xml is not valid XML \(no element found.*\)\. Correct it"),
        (BOMB, r"a\.xml has a document type of its own.*Leave it out"),
        ("<TrackSet/>", r"it begins with <TrackSet>, not <annotation>"),
        (OBJECT.format(1, 1, "x", 2, name="stop"), r"object 1 has no bndbox of four numbers\. Correct it"),
        (OBJECT.format(1, 1, "inf", 2, name="stop"), r"object 1 has no bndbox of four numbers"),
        (OBJECT.format(1, 1, 2, 2, name=""), r"object 1 has no name\. Correct it"),
        (OBJECT.format(5, 1, 2, 2, name="stop"), r"object 1 has its corners swapped"),
        (OBJECT.format(1, 1, 2, 2, name="dog"), r"none of its classes \(dog\) is a class of the model"),
    ],
    ids=["cut", "bomb", "other", "number", "infinite", "name", "swapped", "class"],
)
def test_a_broken_file_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        Annotations(voc(tmp_path, text), LABELS)


# What is no object in the image


@pytest.mark.parametrize("form", ["COCO", "YOLO", "Pascal VOC"])
def test_boxes_outside_of_the_image_are_cut_or_left_out_and_counted(form: str, tmp_path: Path) -> None:
    boxes = [[1, 1, 4, 4], [5, 2, 12, 4], [9, 1, 10, 5], [2, 2, 2, 5], [-0.5, 0, 3, 3]]  # x1 y1 x2 y2
    if form == "COCO":
        path = tmp_path / "truth.json"
        annotations = [
            {"id": k + 1, "image_id": 1, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for k, (x1, y1, x2, y2) in enumerate(boxes)
        ]
        images = [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 8}]
        categories = [{"id": 1, "name": "stop"}]
        path.write_text(json.dumps({"images": images, "categories": categories, "annotations": annotations}))
    elif form == "YOLO":
        lines = [f"0 {(x1 + x2) / 16} {(y1 + y2) / 12} {(x2 - x1) / 8} {(y2 - y1) / 6}" for x1, y1, x2, y2 in boxes]
        path = yolo(tmp_path, "\n".join(lines))
    else:
        path = voc(
            tmp_path, "".join(OBJECT.format(x1 + 1, y1 + 1, x2, y2, name="stop") for x1, y1, x2, y2 in boxes[:3])
        )
    truth = truth_of(Annotations(path, LABELS))
    found = [np.round(thing.box, 9).tolist() for thing in truth.things]
    if form == "Pascal VOC":
        assert (found, truth.left_out) == ([[1, 1, 4, 4], [5, 2, 8, 4]], {CUT: 1, OUTSIDE: 1})
    else:
        assert found == [[1, 1, 4, 4], [5, 2, 8, 4], [0, 0, 3, 3]]
        assert truth.left_out == {CUT: 1, OUTSIDE: 1, NO_AREA: 1}


# Which form


def test_what_was_seen_instead_of_annotations_is_named(tmp_path: Path) -> None:
    def said(path: object) -> str:
        with pytest.raises(InputError) as caught:
            Annotations(path, LABELS)  # type: ignore[arg-type]
        return str(caught.value)

    assert "holds no annotations, but nothing. Pass a JSON file of COCO's form, a folder" in said(tmp_path)
    for name in ("a.jpg", "b.jpg", "c.png"):
        (tmp_path / name).touch()
    assert "holds no annotations, but .jpg files (2), .png files (1)." in said(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 1 1")
    assert f"Pass the folder that has them, such as {tmp_path / 'labels'}." in said(tmp_path)
    assert "is one file, and such annotations are one for each image: pass their folder." in said(
        tmp_path / "labels" / "a.txt"
    )
    (tmp_path / "truth.json").touch()
    assert f"Pass the file, such as {tmp_path / 'truth.json'}." in said(tmp_path)
    (tmp_path / "labels" / "a.xml").touch()
    assert "holds text files (1) as well as XML files (1). Pass a folder with one of them." in said(tmp_path / "labels")
    (tmp_path / "labels" / "a.xml").unlink()
    (tmp_path / "labels" / "a.txt").write_bytes(b"\xff\xfe0")
    assert "a.txt is not text of UTF-8. Save it as such." in said(tmp_path / "labels")
    for wrong in (5, None, {"images": []}):
        with pytest.raises(
            ArgumentError, match=r"annotations=.* is not the path of a file or folder\. Pass a JSON file"
        ):
            Annotations(wrong, LABELS)  # type: ignore[arg-type]
