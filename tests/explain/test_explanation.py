"""What a person reaches for in an explanation: its boxes, its pictures, tables of other packages."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import boxcam
from boxcam.errors import ArgumentError, OutputError, PackageError
from boxcam.explain.render import class_color
from tests.explain.made import AGAINST, EVEN, LEFT, explanation


@pytest.fixture(scope="module")
def found(signs: Path, signs_model: boxcam.Model) -> boxcam.Explanation:
    return signs_model.explain(signs / "images" / "street.jpg")


def test_it_is_a_sequence_of_boxes(found: boxcam.Explanation) -> None:
    boxes = list(found)
    assert [box.index for box in boxes] == list(range(len(found)))
    assert found[-1].index == len(found) - 1
    assert [box.index for box in found[1:3]] == [box.index for box in found[[1, 2]]] == [1, 2]
    assert found[[]] == found[:0] == ()
    assert found[np.int64(1)].index == 1  # type: ignore[call-overload]
    count = len(found)
    for wrong in (count, 99, -count - 1):
        with pytest.raises(IndexError, match=rf"^there is no box {wrong}: there are {count}, counted from 0\.$"):
            found[wrong]
    with pytest.raises(ArgumentError, match=r"^'stop' is not the number of a box\. Pass an index, such as 0 "):
        found["stop"]  # type: ignore[call-overload]
    with pytest.raises(IndexError, match="there is no box 0: there are 0, counted from 0"):
        explanation()[0]
    for k, box in enumerate(boxes):
        assert isinstance(box, boxcam.ExplainedBox)
        assert (box.name, box.label) == (found.detections.names[k], found.detections.labels[k])
        assert (box.score, box.logit) == (found.detections.scores[k], found.detections.logits[k])
        assert box.box == tuple(found.detections.boxes[k].tolist())
        assert np.array_equal(box.map, found.map(k))
        assert box.map is box.map  # made once
        assert (box.depends, box.has_evidence) == (found.depends(k), found.has_evidence(k))
        assert box.peak == found.map(k).max()
        assert np.array_equal(box.overlay(), found.overlay(k))
    with pytest.raises(AttributeError):
        boxes[0].score = 1.0  # type: ignore[misc]


def test_boxes_are_equal_if_they_are_the_same_of_one_explanation(found: boxcam.Explanation) -> None:
    other = explanation(EVEN, LEFT)
    assert found[0] == found[0] == next(iter(found)) == found[-len(found)]
    assert len({found[0], found[0], found[1]}) == 2
    assert found[0] != found[1]
    assert other[0] != explanation(EVEN, LEFT)[0]
    assert found[0] != 0


def test_some_boxes_together(found: boxcam.Explanation) -> None:
    first_two = found.overlay([0, 1])
    for same in ((0, 1), np.array([0, 1]), range(2), slice(2), [-len(found), 1]):
        assert np.array_equal(found.overlay(same), first_two)  # type: ignore[arg-type]
    assert np.array_equal(found.overlay(np.int64(0)), found.overlay(0))  # type: ignore[arg-type]
    assert np.array_equal(found.overlay(range(len(found))), found.overlay())
    assert not np.array_equal(first_two, found.overlay(0))
    together, one, two = (found.overlay(k, outlines=False) for k in ([0, 1], 0, 1))
    assert ((together == one) | (together == two)).all(axis=2).all()  # of each pixel the stronger colour
    for wrong, kind, message in (
        ([0, 9], IndexError, "there is no box 9"),
        ("0", ArgumentError, "'0' is not the number of a box"),
        (1.0, ArgumentError, r"1\.0 is not the number of a box"),
        ([0.5], ArgumentError, r"\[0\.5\] is not the number of a box"),
    ):
        with pytest.raises(kind, match=message):
            found.overlay(wrong)  # type: ignore[arg-type]


def test_a_box_shows_itself_in_a_notebook(found: boxcam.Explanation) -> None:
    shown = cv2.imdecode(np.frombuffer(found[1]._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(shown, found.overlay(1))


def test_a_box_tells_no_evidence_from_no_dependence() -> None:
    first, second = explanation(EVEN, AGAINST)
    assert (first.has_evidence, first.depends, first.peak) == (True, True, 1.0)
    assert (second.has_evidence, second.depends, second.peak) == (False, True, -1.0)


def test_an_overlay_is_as_large_as_the_image_and_lit_where_the_map_is(found: boxcam.Explanation) -> None:
    one = found.overlay(0, outlines=False)
    assert (one.shape, one.dtype) == (found.image.shape, np.uint8)
    changed = np.abs(one - found.image.astype(int)).max(axis=2)
    heat = np.maximum(found.map(0), 0) / found.map(0).max()
    assert changed[heat > 0.5].min() > 30
    assert changed[heat == 0].max() == 0
    drawn = found.overlay(0)
    x1, y1, x2, _ = (round(side) for side in found[0].box)
    assert tuple(drawn[y1, (x1 + x2) // 2].tolist()) == class_color(found[0].label)
    with pytest.raises(IndexError):
        found.overlay(len(found))


def test_all_boxes_together_are_the_strongest_of_each(found: boxcam.Explanation) -> None:
    together = found.overlay(outlines=False)
    assert together.shape == found.image.shape
    for k in range(len(found)):
        peak = np.unravel_index(found.map(k).argmax(), found.image.shape[:2])
        assert np.array_equal(together[peak], found.overlay(k, outlines=False)[peak])
    nothing = explanation().overlay()
    assert (nothing == nothing[0, 0]).all()


def test_pictures_come_in_the_order_of_channels_that_is_asked_for(signs: Path, signs_model: boxcam.Model) -> None:
    image = cv2.imread(str(signs / "images" / "street.jpg"))
    bgr = signs_model.explain(image, top=1)
    rgb = signs_model.explain(image[..., ::-1], top=1, color="RGB")
    assert np.array_equal(rgb.image, bgr.image)
    assert np.array_equal(rgb.maps, bgr.maps)
    for made in ("overlay", "sheet"):
        first, second = getattr(bgr, made)(), getattr(rgb, made)()
        assert np.array_equal(first[..., ::-1], second)
        assert not np.array_equal(first, second)
        assert np.array_equal(getattr(bgr, made)(color="RGB"), second)
        assert np.array_equal(getattr(rgb, made)(color="BGR"), first)
        with pytest.raises(ArgumentError, match=r"color='rgb' is not an order of channels"):
            getattr(bgr, made)(color="rgb")
    assert np.array_equal(rgb[0].overlay(), rgb.overlay(0))


def test_the_sheet_is_the_one_that_is_saved_and_that_notebooks_show(found: boxcam.Explanation, tmp_path: Path) -> None:
    saved = cv2.imread(str(found.save(tmp_path)[0]))
    assert np.array_equal(saved, found.sheet())
    shown = cv2.imdecode(np.frombuffer(found._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(saved, shown)


def test_it_is_one_line(found: boxcam.Explanation) -> None:
    said = repr(found)
    assert "\n" not in said
    assert said.startswith("<Explanation of street.jpg: pedestrian crossing 0.99, no entry 0.99, ")
    assert said.endswith(" and 2 more; hirescam at neck of signs.boxcam>")
    assert repr(explanation()) == "<Explanation of a.jpg: no box; gradcam at neck of net.boxcam>"
    array = explanation(EVEN, image=None)
    assert repr(array) == "<Explanation of 8x4 pixels: third 0.90; gradcam at neck of net.boxcam>"
    assert len(repr(found[0]).splitlines()) == 1


def test_names_of_what_is_saved(tmp_path: Path) -> None:
    made = explanation(EVEN)
    assert [path.name for path in made.save(tmp_path / "new" / "folder")] == ["a.png", "a.npz", "a.json"]
    assert [path.name for path in explanation(image=None).save(tmp_path)] == ["image.png", "image.npz", "image.json"]
    assert all(path.is_file() for path in made.save(str(tmp_path), "other"))
    with pytest.raises(OutputError, match=r"x\.png has the name of a file.*save\(.out.\).* overlay\(\)\.$"):
        made.save(tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()
    (tmp_path / "mine.png").write_text("mine")
    with pytest.raises(boxcam.BoxcamError, match=r"mine\.png, which boxcam did not write"):
        made.save(tmp_path, "mine")
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), made.image)
    with pytest.raises(boxcam.BoxcamError, match=r"would replace the image .*photo\.png\. Choose another folder\."):
        explanation(EVEN, image=str(photo)).save(tmp_path)


@pytest.mark.parametrize(("package", "made"), [("supervision", "to_supervision"), ("pandas", "to_frame")])
def test_a_package_that_is_not_installed(package: str, made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"{made}\(\) needs {package}, which is not installed here: pip install {package}$"
    with pytest.raises(PackageError, match=message) as caught:
        getattr(explanation(EVEN), made)()
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == package


def test_what_other_packages_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arguments of their constructors; with the packages themselves it was tried by hand."""
    module: Any = types.ModuleType("stand-in")
    module.Detections = module.DataFrame = lambda *given, **named: (given, named)
    for package in ("supervision", "pandas"):
        monkeypatch.setitem(sys.modules, package, module)
    found = explanation(EVEN, LEFT)
    _, named = found.to_supervision()
    assert set(named) == {"xyxy", "confidence", "class_id", "data"}
    assert np.array_equal(named["xyxy"], found.detections.boxes)
    assert np.array_equal(named["confidence"], found.detections.scores)
    assert np.array_equal(named["class_id"], found.detections.labels)
    assert named["data"]["class_name"].tolist() == ["third", "first"]
    ((rows,), named) = found.to_frame()
    assert [set(row) for row in rows] == [set(named["columns"])] * 2
    assert [rows[1][side] for side in ("x1", "y1", "x2", "y2")] == [3.5, 1.5, 8.0, 4.0]
    assert [row["name"] for row in rows] == ["third", "first"]
