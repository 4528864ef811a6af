"""Annotations that are read, and those that are refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxcam.errors import InputError, PackageError
from boxcam.explain.evaluation.annotations import Annotations

RUNS = {"size": [6, 8], "counts": [0, 1, 47]}
"""A mask of the first pixel, by run lengths."""
GOOD: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.jpg", "height": 6, "width": 8}],
    "categories": [{"id": 3, "name": "Stop "}, {"id": 9, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 2], "segmentation": [[1, 2, 4, 2, 4, 4, 1, 4]]},
        {"id": 2, "image_id": 7, "category_id": 9, "bbox": [0, 0, 8, 6]},
        {"id": 3, "image_id": 7, "category_id": 3, "bbox": [4, 0, 4, 6], "iscrowd": 1},
        {"id": 4, "image_id": 7, "category_id": 3, "bbox": [0, 0, 1, 1], "segmentation": RUNS},
    ],
}  # fmt: skip


def opened(folder: Path, data: object = GOOD, labels: tuple[str, ...] = ("give way", "stop")) -> Annotations:
    path = folder / "truth.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return Annotations(path, labels)


def test_objects_crowds_and_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = opened(tmp_path)
    truth = annotations.of(Path("some/a.jpg"), (6, 8))
    assert truth is not None
    assert [thing.box.tolist() for thing in truth.things] == [[1, 2, 4, 4], [0, 0, 8, 6], [0, 0, 1, 1]]
    assert [thing.label for thing in truth.things] == [1, -1, 1]  # by name, whatever its case
    mask, none, run = (thing.mask for thing in truth.things)
    expected = np.zeros((6, 8), bool)
    expected[2:4, 1:4] = True
    assert mask is not None
    assert run is not None
    assert np.array_equal(mask, expected)
    assert none is None
    assert np.argwhere(run).tolist() == [[0, 0]]
    assert [crowd.box.tolist() for crowd in truth.crowds] == [[4, 0, 8, 6]]
    assert annotations.masks
    assert capsys.readouterr().out == ""  # pycocotools tells of its steps


def test_an_image_that_is_not_annotated(tmp_path: Path) -> None:
    assert opened(tmp_path).of(Path("b.jpg"), (6, 8)) is None


def test_images_of_one_name_are_told_by_their_folders(tmp_path: Path) -> None:
    data = copy.deepcopy(GOOD)
    data["images"] = [{"id": n, "file_name": f"{n}/a.jpg", "height": 6, "width": 8} for n in (7, 8)]
    annotations = opened(tmp_path, data)
    of = {n: annotations.of(Path(f"x/{n}/a.jpg"), (6, 8)) for n in (7, 8)}
    assert [len(truth.things) if truth else None for truth in of.values()] == [3, 0]
    with pytest.raises(InputError, match=r"several images of this name\. Give it the folders"):
        annotations.of(Path("a.jpg"), (6, 8))


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.jpg has 8x6 pixels, and the image of .* 6x8\. Pass the images"):
        opened(tmp_path).of(Path("a.jpg"), (8, 6))


def test_no_class_in_common_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"none of its classes \(Stop , cat\) is a class of the model \(dog\)\. Rename"
    ):
        opened(tmp_path, labels=("dog",))


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    data = copy.deepcopy(GOOD)
    change(data)
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds no annotations, but list"),
        ({}, "has no list 'images'"),
        (changed(lambda d: d["images"][0].pop("height")), "entry 0 of 'images' has no 'height'"),
        (changed(lambda d: d["categories"].append("x")), "entry 2 of 'categories' has no 'id'"),
        (changed(lambda d: d["annotations"][1].update(image_id=1)), "entry 1 of 'annotations' is of an image"),
        (changed(lambda d: d["annotations"][1].update(bbox=[1, 2, 3])), r"has the box \[1, 2, 3\]\. Correct"),
        (changed(lambda d: d["annotations"][1].update(bbox=[1, 2, -3, 4])), r"has the box"),
        (changed(lambda d: d["annotations"][1].update(bbox=[1, 2, float("nan"), 4])), r"has the box"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_of_cocos_form_is_refused(data: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        opened(tmp_path, data)


@pytest.mark.parametrize(
    "broken",
    [[[1, 2, 3]], [[1, 2, 3, 4]], [3], "x", {"size": [8, 6], "counts": [0, 1, 47]}, {"counts": []}, [["a"] * 6]],
    ids=str,
)
def test_a_broken_mask_is_refused(broken: object, tmp_path: Path) -> None:
    annotations = opened(tmp_path, changed(lambda d: d["annotations"][0].update(segmentation=broken)))
    with pytest.raises(InputError, match=r"the segmentation of annotation 1 is broken\. Correct it"):
        annotations.of(Path("a.jpg"), (6, 8))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json cannot be read: No such file or directory\. Check the path"):
        Annotations(tmp_path / "none.json", ("stop",))


def test_without_pycocotools_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.coco", None)
    with pytest.raises(PackageError, match=r"annotations= needs pycocotools.*: pip install 'boxcam\[audit\]'$"):
        opened(tmp_path)
