"""Questions that cannot be answered: one sentence each, from the library and from the command line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

import boxcam
from boxcam.bundle import seal
from boxcam.errors import BoxcamError
from tests.explain.two_classes import PICTURE, TwoClasses
from tests.explain.whynot.scene import Thing, picture
from tests.messages import check_message
from tests.refused import Cli, refused

Models = Callable[[str], boxcam.Model]
THING = Thing((4, 3), (9.0, 8.0, 9.0, 8.0), (2.5, 0.5, -3.0), 4.0, -4.0)
SCENE = picture([THING], 4)
PLACE = THING.box
REFUSED: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "outside": ({"at": (70, 0, 90, 20)}, ["--at", "70,0,90,20"], r"lies outside of the image, which is 64 pixels"),
    "left of it": ({"at": (-30, 0, -10, 20)}, ["--at=-30,0,-10,20"], "lies outside of the image"),
    "no area": ({"at": (20, 5, 10, 15)}, ["--at", "20,5,10,15"], "has no area: x2 must be above x1"),
    "a line": ({"at": (20, 5, 20, 15)}, ["--at", "20,5,20,15"], "has no area"),
    "three numbers": ({"at": (20, 5, 20)}, ["--at", "20,5,20"], "x1, ?y1, ?x2, ?y2"),
    "no number": ({"at": (20, 5, float("inf"), 15)}, ["--at", "20,5,inf,15"], "is not a place of the image"),
    "a class that is not there": ({"at": PLACE, "classes": "cow"}, ["--at", "8,8,40,40", "--class", "cow"], "cow"),
    "against one that is not there": (
        {"against": "cow"},
        ["--against", "cow"],
        '"runner-up" stands for the class that',
    ),
    "against its own class": (
        {"classes": "cat", "against": "cat"},
        ["--class", "cat", "--against", "cat"],
        "is the boxes' own class",
    ),
    "against the likeliest class there": (
        {"at": PLACE, "against": "cat"},
        ["--at", "19,28,37,44", "--against", "cat"],
        "is the likeliest class there",
    ),
    "against one of the classes there": (
        {"at": PLACE, "classes": ["dog", "cat"], "against": "cat"},
        ["--at", "19,28,37,44", "--class", "dog", "--class", "cat", "--against", "cat"],
        "is the class of the candidate there",
    ),
    "with a rank": ({"at": PLACE, "rank": 1}, ["--at", "8,8,40,40", "--rank", "1"], "by its score"),
    "random masks": (
        {"at": PLACE, "method": "d-rise"},
        ["--at", "8,8,40,40", "--method", "d-rise"],
        "runs the model again",
    ),
    "masks of channels": (
        {"at": PLACE, "method": "score-cam"},
        ["--at", "8,8,40,40", "--method", "score-cam"],
        "needs one of gradients",
    ),
    "a method of several targets": (
        {"at": PLACE, "method": "odam-combined"},
        ["--at", "8,8,40,40", "--method", "odam-combined"],
        r"is of logit, x1, y1, x2, y2 together, and (at=|--at) is about class logits\.",
    ),
    "contrast of random masks": (
        {"against": "dog", "method": "d-rise"},
        ["--against", "dog", "--method", "d-rise"],
        "runs",
    ),
}


USAGE = ("no area", "a line", "three numbers", "no number")
"""What is no place at all."""


@pytest.mark.parametrize("name", USAGE)
def test_usage(name: str, models: Models, cli: Cli, tmp_path: Path) -> None:
    done = cli("explain", models("dense").path, "scene.png", "-o", tmp_path / "out", *REFUSED[name][1])
    assert done.exit_code == 2
    assert re.search(r"Error: Invalid value for '--at': '20,5[^\n]+\n$", done.stderr), done.stderr


@pytest.mark.parametrize("name", REFUSED)
def test_in_the_library(name: str, models: Models) -> None:
    options, _, expected = REFUSED[name]
    with pytest.raises(BoxcamError, match=expected) as caught:
        models("dense").explain(SCENE, **options)
    check_message(str(caught.value))


@pytest.mark.parametrize("name", [name for name in REFUSED if name not in USAGE])
def test_on_the_command_line(name: str, models: Models, cli: Cli, tmp_path: Path, capfd: Any) -> None:
    _, options, expected = REFUSED[name]
    cv2.imwrite(str(tmp_path / "scene.png"), SCENE)
    done = cli("explain", models("dense").path, tmp_path / "scene.png", "-o", tmp_path / "out", "-q", *options)
    said = refused(done, capfd).replace("--against cat", "against='cat'")
    assert re.search(expected, said), said


def test_a_place_outside_of_one_image_does_not_end_the_run(models: Models, cli: Cli, tmp_path: Path) -> None:
    for name, scene in (("a", SCENE[:24, :24]), ("b", SCENE)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), scene)
    out = tmp_path / "out"
    done = cli(
        "explain", models("dense").path, tmp_path / "a.png", tmp_path / "b.png", "-o", out, "--at", "30,30,60,60"
    )
    assert done.exit_code == 1
    assert f"{tmp_path / 'a.png'}: the place 30,30,60,60 lies outside of the image" in done.stderr
    assert "wrote the results of 1 of 2 pictures" in done.stdout
    assert sorted(file.name for file in out.iterdir()) == ["b.json", "b.npz", "b.png", "index.html"]


def test_another_target(models: Models) -> None:
    """A side of a box, where the bundle has it or not."""
    for options in ({"at": PLACE}, {"against": "dog"}):
        with pytest.raises(BoxcamError, match="x1") as caught:
            models("dense").explain(SCENE, target="x1", **options)
        check_message(str(caught.value))


@pytest.mark.parametrize(
    ("box", "classes"),
    [((70, 0, 90, 20), None), ((5, 5, 5, 9), None), ((5, 5, 9), None), (PLACE, "cow"), (PLACE, 3), (None, None)],
)
def test_candidates_of_the_model(box: Any, classes: Any, models: Models) -> None:
    with pytest.raises(BoxcamError) as caught:
        models("dense").candidates(SCENE, box, classes=classes)
    check_message(str(caught.value))


def test_a_bundle_of_an_earlier_boxcam(models: Models, tmp_path: Path) -> None:
    shutil.copytree(models("dense").path, tmp_path / "old")
    manifest = tmp_path / "old" / "manifest.json"
    told = json.loads(manifest.read_text())
    for name in ("candidates", "without_candidates"):
        told.pop(name, None)
    manifest.write_text(json.dumps({**told, "seal": seal(told)}))
    model = boxcam.load(tmp_path / "old", threads=1)
    for ask in (lambda: model.candidates(SCENE, PLACE), lambda: model.explain(SCENE, at=PLACE)):
        with pytest.raises(BoxcamError, match=r"does not tell of boxes .* exported by an earlier boxcam") as caught:
            ask()
        check_message(str(caught.value))
    assert len(model.explain(SCENE, against="dog", method="hirescam")) == 1


def test_a_classifier(tmp_path: Path) -> None:
    file = TwoClasses().build(tmp_path / "m.onnx")
    options = ["resize=stretch", "scale=0-1", "color=RGB"]
    names = ["left", "right"]
    boxcam.export(file, output=tmp_path / "b", preprocess=options, layers=["layer"], class_names=names, engine="onnx")
    model = boxcam.load(tmp_path / "b", threads=1)
    for ask in (lambda: model.candidates(PICTURE, (1, 1, 9, 9)), lambda: model.explain(PICTURE, at=(1, 1, 9, 9))):
        with pytest.raises(BoxcamError, match="a classifier's only box is the whole image") as caught:
            ask()
        check_message(str(caught.value))


def test_one_class_has_none_to_be_compared_with(models: Models) -> None:
    with pytest.raises(BoxcamError, match="one class only") as caught:
        models("one class").explain(SCENE, against="runner-up")
    check_message(str(caught.value))
