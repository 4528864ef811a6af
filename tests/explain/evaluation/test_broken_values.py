"""Values in annotations that cannot be: each is an error that names it, and takes neither long nor much memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxcam.errors import InputError
from boxcam.explain.evaluation.annotations import Annotations
from boxcam.explain.evaluation.runs import mask_of_runs

HUGE = 10**400


def coco(folder: Path, **more: Any) -> Annotations:
    one = {"id": 5, "image_id": 7, "category_id": 3, "bbox": [0, 0, 1, 1], **more}
    data = {
        "images": [{"id": 7, "file_name": "a.png", "height": 6, "width": 8}],
        "categories": [{"id": 3, "name": "stop"}],
        "annotations": [one],
    }
    (folder / "truth.json").write_text(json.dumps(data), encoding="utf-8")
    return Annotations(folder / "truth.json", ("stop",))


def yolo(folder: Path, line: str, names: str = "") -> Annotations:
    (folder / "a.txt").write_text(line)
    if names:
        (folder / "data.yaml").write_text(f"names: {names}")
    return Annotations(folder, ("stop",))


# Masks


@pytest.mark.parametrize(
    "counts",
    [
        *(
            [],
            [1],
            [0, 1, 46],
            [0, 1, 48],
            [50, -3, 53],
            [50, -2],
            [-1, 49],
            [48.0],
            [True, 47],
            ["48"],
            [HUGE],
            [[48]],
        ),
        *("", "1", "`", "\x00", "é", "oooooooooo0", "R1O" * 9, None, 48, {"a": 1}),
    ],
    ids=lambda counts: repr(counts)[:20],
)
def test_runs_that_do_not_fill_the_image_are_refused(counts: Any, tmp_path: Path) -> None:
    of = coco(tmp_path, segmentation={"size": [6, 8], "counts": counts})
    with pytest.raises(InputError, match=r"the segmentation of annotation 5 is broken\. Correct it"):
        of.of(Path("a.png"), (6, 8))


def test_runs_and_their_text_are_the_mask_that_pycocotools_draws(tmp_path: Path) -> None:
    from pycocotools import mask as masks

    rng = np.random.default_rng(0)
    for share in (0, 0.02, 0.5, 1):
        mask = np.asfortranarray(rng.random((60, 81)) < share)
        text = masks.encode(mask.astype(np.uint8, order="F"))["counts"].decode()
        drawn = mask_of_runs(text, mask.shape)
        assert drawn is not None
        assert np.array_equal(drawn, mask)
    truth = coco(tmp_path, segmentation={"size": [6, 8], "counts": [0, 1, 47]}).of(Path("a.png"), (6, 8))
    assert truth is not None
    assert truth.things[0].mask is not None
    assert np.argwhere(truth.things[0].mask).tolist() == [[0, 0]]


@pytest.mark.parametrize("place", [1e9, -1e9, 1e300, float("nan"), float("inf"), HUGE, 16.5, -8.5, True, "3", None])
def test_an_outline_that_leaves_the_image_far_behind_is_refused(place: Any, tmp_path: Path) -> None:
    of = coco(tmp_path, segmentation=[[0, 0, 8, 0, place, 6]])
    with pytest.raises(InputError, match="the segmentation of annotation 5 is broken"):
        of.of(Path("a.png"), (6, 8))


def test_an_outline_that_reaches_a_little_out_of_the_image_is_cut(tmp_path: Path) -> None:
    truth = coco(tmp_path, segmentation=[[-8, -6, 16, -6, 16, 12, -8, 12]]).of(Path("a.png"), (6, 8))
    assert truth is not None
    assert truth.things[0].mask is not None
    assert truth.things[0].mask.all()


# Numbers and names


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"bbox": [0, 0, HUGE, 1]}, r"has the box \[0, 0, 1000"),
        ({"bbox": [0, 0, True, 1]}, r"has the box \[0, 0, True"),
        ({"image_id": True}, "has no 'image_id' that can be"),
        ({"category_id": [3]}, "has no 'category_id' that can be"),
        ({"id": [5]}, "has an 'id' that is no number"),
        ({"id": {"a": 5}}, "has an 'id' that is no number"),
        ({"id": True}, "has an 'id' that is no number"),
    ],
    ids=lambda given: str(given)[:30],
)
def test_numbers_of_cocos_that_cannot_be(more: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"entry 0 of 'annotations' {words}") as caught:
        coco(tmp_path, **more)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("word", ["inf", "nan", "-inf", "-1", "0.5"])
def test_what_is_no_number_of_a_class(word: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.txt, line 1 begins with .*, which is not the number of a class"):
        yolo(tmp_path, f"{word} .5 .5 .1 .1")


@pytest.mark.parametrize("names", ["", "[stop]"])
@pytest.mark.parametrize("word", ["30000000", "1e300", "100000"])
def test_numbers_of_classes_have_a_limit(word: str, names: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=rf"a\.txt, line 1 is of class {word}, and classes are numbered from 0 to 99999"
    ):
        yolo(tmp_path, f"{word} .5 .5 .1 .1", names)


def test_the_highest_number_of_a_class_is_read(tmp_path: Path) -> None:
    assert len(yolo(tmp_path, "99999 .5 .5 .1 .1").unknown) == 99999


@pytest.mark.parametrize(
    "names",
    [
        "!!bool x",
        "!!timestamp x",
        '!!int ""',
        "!!float x",
        "!!timestamp 2020-99-99",
        "[!!bool x]",
        "{!!bool x: a}",
        "!!pairs 3",
    ],
)
def test_names_that_are_not_of_the_type_they_say(names: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.yaml (is not valid YAML|has no list 'names')"):
        yolo(tmp_path, "0 .5 .5 .1 .1", names)
