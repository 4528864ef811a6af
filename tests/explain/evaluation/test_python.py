"""`boxcam.evaluate`, on the demo detector that lies in the package."""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result

import boxcam
from boxcam.commands.demo import DATA
from boxcam.commands.evaluate import evaluate as command
from boxcam.errors import (
    ArgumentError,
    BoxcamWarning,
    InputError,
    OutputError,
    PackageError,
    RunError,
    UnknownLayerError,
    UnknownNameError,
)
from boxcam.explain.evaluation import report
from boxcam.explain.evaluation.request import Request
from boxcam.explain.metrics.scene import Scene
from boxcam.leftovers import file_aside
from tests.explain.evaluation.forms import write_voc, write_yolo

Cli = Callable[..., Result]
BUNDLE = DATA / "signs"
MAPS = ("pointing", "energy")


@pytest.fixture(scope="module")
def model() -> boxcam.Model:
    return boxcam.load(BUNDLE, threads=1)


@pytest.mark.parametrize("write", [write_yolo, write_voc])
def test_the_command_and_the_function_give_the_same(
    write: Callable[[Path, Path], Path], signs: Path, tmp_path: Path, cli: Cli, model: boxcam.Model
) -> None:
    labels = write(signs, tmp_path / "labels")
    given = ("--metric", "pointing", "--metric", "energy", "--metric", "odi", "--threads", "1", "--top", "10")
    done = cli("evaluate", BUNDLE, signs / "images", "--annotations", labels, "-o", tmp_path / "cli", *given)
    assert (done.exit_code, done.stderr) == (0, "")
    seen: list[tuple[int, int]] = []
    found = boxcam.evaluate(
        model,
        signs / "images",
        labels,
        metrics=["pointing", "energy", "odi"],
        top=10,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(done, 6) for done in range(7)]
    assert found.counts["boxes that match an object"] == found.counts["objects"] == 30
    assert found.figure("pointing", 1) == 1 > found.figure("pointing")
    paths = found.save(tmp_path / "python")
    assert [path.name for path in paths] == ["evaluation.json", "evaluation.csv", "evaluation.md"]
    for path in paths[1:2]:
        assert path.read_bytes() == (tmp_path / "cli" / path.name).read_bytes()
    assert str(found).splitlines()[:4] == done.stdout.splitlines()[:4]
    assert repr(found) == "<Evaluation of signs: gradcam and hirescam at neck, 30 boxes of 6 images>"


def test_a_pattern_several_images_and_a_bundles_path(signs: Path) -> None:
    found = boxcam.evaluate(BUNDLE, f"{signs / 'images'}/c*.jpg", method="hirescam", layer="neck", metrics=MAPS, top=1)
    assert found.images == ["cat.jpg", "coffee.jpg"]
    assert [len(case.values[0]) for case in found.cases] == [2, 2]
    two = boxcam.evaluate(
        BUNDLE,
        [signs / "images" / name for name in found.images],
        method=["hirescam"],
        layer=["neck"],
        metrics=MAPS,
        top=1,
    )
    assert two.facts()["boxes"] == found.facts()["boxes"]
    assert all(figure.low <= figure.mean <= figure.high for figure in found.figures())
    assert found.figures() == two.figures()  # intervals are drawn by the seed


def test_images_that_fail_are_said_and_the_others_measured(signs: Path, tmp_path: Path, model: boxcam.Model) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    images = [tmp_path / "broken.jpg", tmp_path / "none.jpg", signs / "images" / "cat.jpg"]
    with pytest.warns(BoxcamWarning, match=r"2 inputs could not be measured, the first because: .*none\.jpg does not"):
        found = boxcam.evaluate(model, images, method="hirescam", metrics="energy", top=1)
    assert found.images == ["cat.jpg"]
    assert [type(error) for error in found.failures] == [InputError, InputError]
    assert len(found.facts()["failures"]) == 2
    with pytest.raises(InputError, match="broken"):
        boxcam.evaluate(model, tmp_path / "broken.jpg", method="hirescam", metrics="energy")


def test_images_that_are_not_annotated(signs: Path, tmp_path: Path, model: boxcam.Model) -> None:
    labels = write_yolo(signs, tmp_path)
    (labels / "street.txt").unlink()
    (labels / "cat.txt").write_text("")
    images = [signs / "images" / name for name in ("cat.jpg", "street.jpg", "coffee.jpg")]
    found = boxcam.evaluate(model, images, labels, method="hirescam", metrics="energy")
    assert found.images == ["cat.jpg", "coffee.jpg"]
    assert found.counts["images without annotations"] == 1
    assert found.counts["annotated images that were not given"] == 3
    assert {case.image for case in found.cases} == {1}  # none of an image without objects
    assert found.counts["boxes that match none"] >= 5
    with pytest.raises(InputError, match=r"labels does not have the images that were given\. Pass those"):
        boxcam.evaluate(model, images[1], labels, method="hirescam", metrics="energy")


def test_boxes_of_classes_that_are_not_annotated_do_not_count_as_wrong(
    signs: Path, tmp_path: Path, model: boxcam.Model
) -> None:
    labels = write_voc(signs, tmp_path / "voc")
    file = labels / "cat.xml"
    for path in labels.glob("*.xml"):
        path.unlink() if path != file else None
    whole = boxcam.evaluate(model, signs / "images" / "cat.jpg", labels, method="hirescam", metrics="energy", score=0.5)
    text = file.read_text()
    name = whole.cases[0].name.upper()
    file.write_text(text.replace(f"<name>{name}</name>", "<name>other</name>"))
    found = boxcam.evaluate(model, signs / "images" / "cat.jpg", labels, method="hirescam", metrics="energy", score=0.5)
    others = sum(case.name.upper() == name for case in whole.cases)
    assert found.counts["boxes of classes that the annotations lack"] == others > 0
    assert found.counts["boxes that match none"] == whole.counts["boxes that match none"]
    assert found.counts["objects of classes that the model lacks"] == others
    assert "Classes of the annotations that the model lacks: other." in found.notes()
    assert any(note.startswith("Classes of the model that the annotations lack: ") for note in found.notes())


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"method": "gradcan"}, UnknownNameError, r"no method 'gradcan'\. Did you mean 'gradcam'"),
    ({"layer": "nek"}, UnknownLayerError, r"no layer 'nek'\. Did you mean 'neck'"),
    ({"metrics": "enrgy"}, UnknownNameError, r"no metric 'enrgy'\. Did you mean 'energy'"),
    ({"fills": ["blur", "white"]}, UnknownNameError, r"no fill 'white'\. .*There are: blur, black, mean"),
    ({"metrics": "odi"}, ArgumentError, r"the metric 'odi' needs to know the objects in the image\. Pass annotations="),
    ({"metrics": []}, ArgumentError, r"metrics= names none\. Pass one or several"),
    ({"method": ()}, ArgumentError, r"method= names none"),
    ({"steps": 0}, ArgumentError, r"steps=0 is not a whole number above 0\."),
    ({"steps": True}, ArgumentError, r"steps=True is not"),
    ({"iou": 1.5}, ArgumentError, r"iou=1\.5 is not a number from 0 to 1\."),
    ({"seed": -1}, ArgumentError, r"seed=-1 is not a whole number, 0 or above\."),
    ({"score": 2}, ArgumentError, r"score=2 is not"),
    ({"top": 0}, ArgumentError, r"top=0 is not"),
    ({"progress": 5}, ArgumentError, r"progress=5 cannot be called"),
    ({"annotations": 5}, ArgumentError, r"annotations=5 is not the path of a file or folder"),
    ({"images": BUNDLE, "model": "cat.jpg"}, ArgumentError, "the model and the image are swapped"),
    ({"metrics": [["energy"]]}, UnknownNameError, r"no metric \['energy'\]"),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG)
def test_what_does_not_fit_is_refused(
    options: dict[str, Any], kind: type[Exception], message: str, signs: Path, model: boxcam.Model
) -> None:
    given = {"model": model, "images": signs / "images" / "cat.jpg", **options}
    with pytest.raises(kind, match=message) as caught:
        boxcam.evaluate(given.pop("model"), given.pop("images"), given.pop("annotations", None), **given)
    assert "\n" not in str(caught.value)


def test_a_table_of_pandas(signs: Path, model: boxcam.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    found = boxcam.evaluate(model, signs / "images" / "cat.jpg", metrics=MAPS, top=1)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        PackageError, match=r"to_frame\(\) needs pandas, which is not installed here: pip install pandas"
    ):
        found.to_frame()
    monkeypatch.setitem(
        sys.modules,
        "pandas",
        SimpleNamespace(DataFrame=lambda rows, columns: [[row[key] for key in columns] for row in rows]),
    )
    rows = found.to_frame()
    assert [row[:3] for row in rows] == [
        [method, "neck", metric] for metric in MAPS for method in ("gradcam", "hirescam")
    ]
    assert all(0 <= row[4] <= 1 and math.isnan(row[5]) and row[-1] == 1 for row in rows)


def test_files_of_the_users_are_not_replaced(signs: Path, tmp_path: Path, model: boxcam.Model) -> None:
    found = boxcam.evaluate(model, signs / "images" / "cat.jpg", method="hirescam", metrics="energy", top=1)
    (tmp_path / "evaluation.md").write_text("mine")
    with pytest.raises(OutputError, match=r"evaluation\.md is there, and boxcam did not write it\."):
        found.save(tmp_path)
    assert os.listdir(tmp_path) == ["evaluation.md"]
    with pytest.raises(ArgumentError, match=r"5 is not the path of a folder\. Pass one"):
        found.save(5)  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="has the name of a file"):
        found.save(tmp_path / "out.csv")
    with pytest.raises(ArgumentError, match=r"'oa' of row 0 was not measured\. Pass one of: energy; rows are 0 to 0\."):
        found.figure("oa")


def test_an_image_of_nothing(tmp_path: Path, model: boxcam.Model) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((64, 64, 3), 128, np.uint8))
    found = boxcam.evaluate(model, tmp_path / "grey.png", metrics=MAPS, score=1)
    assert (found.images, found.cases, found.counts) == (["grey.png"], [], {"boxes": 0})
    assert math.isnan(found.figure("energy"))
    assert "energy ↑          -              -               0" in str(found)


def test_sanity_and_agreement_are_figures_like_others(
    signs: Path, tmp_path: Path, cli: Cli, model: boxcam.Model
) -> None:
    image = signs / "images" / "cat.jpg"
    asked: dict[str, Any] = {"method": ["hirescam", "eigencam"], "metrics": "energy", "top": 2}
    found = boxcam.evaluate(model, image, **asked, sanity=2, agreement=True)
    names = list(dict.fromkeys(one.metric for one in found.figures()))
    assert names == [
        "energy",
        *("sanity@11/22", "sanity-ssim@11/22", "sanity@22/22", "sanity-ssim@22/22"),
        *("agreement@hirescam, neck", "agreement@eigencam, neck"),
    ]
    assert found.figure("agreement@hirescam, neck", 1) == pytest.approx(found.figure("agreement@eigencam, neck", 0))
    assert found.figure("agreement@hirescam, neck", 0) == pytest.approx(1)
    assert found.figure("sanity@22/22", 0) < 0.5
    assert [one.better for one in found.figures()[::2]] == ["higher", *["lower"] * 4, *["neither"] * 2]
    assert any(note.startswith("Sanity: rank correlation") for note in found.notes())
    assert any(note.startswith("Agreement: rank correlation") for note in found.notes())
    given = ("--method", "hirescam", "--method", "eigencam", "--metric", "energy", "--top", "2", "--threads", "1")
    done = cli("evaluate", BUNDLE, image, "-o", tmp_path / "out", *given, "--sanity", "2", "--agreement")
    assert (done.exit_code, done.stderr) == (0, "")
    assert (tmp_path / "out" / "evaluation.csv").read_bytes() == found.save(tmp_path / "two")[1].read_bytes()
    assert found.facts()["sanity"] == ["11/22", "22/22"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sanity": -1}, r"sanity=-1 is not a whole number, 0 or above\."),
        ({"sanity": 1.5}, r"sanity=1\.5 is not"),
        ({"sanity": 2, "method": "d-rise"}, r"sanity= compares gradients of the same logit, and the method 'd-rise'"),
        ({"agreement": "yes"}, r"agreement='yes' is neither True nor False"),
        (
            {"agreement": True, "method": "hirescam"},
            r"agreement=True compares the maps of methods and layers, and there",
        ),
    ],
)
def test_checks_that_do_not_fit_are_refused(
    options: dict[str, Any], message: str, signs: Path, model: boxcam.Model
) -> None:
    with pytest.raises(ArgumentError, match=message):
        boxcam.evaluate(model, signs / "images" / "cat.jpg", **options)


def test_nothing_is_kept_of_an_image_that_fails_in_the_middle(
    signs: Path, model: boxcam.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its boxes would be taken for those of the next image."""
    calls = iter(range(100))
    look = Scene.look

    def fail_once(scene: Scene, image: Any) -> Any:
        if next(calls) == 5:
            raise RunError("no memory")
        return look(scene, image)

    monkeypatch.setattr(Scene, "look", fail_once)
    images = [signs / "images" / name for name in ("cat.jpg", "street.jpg")]
    with pytest.warns(BoxcamWarning, match=r"1 input could not be measured, the first because: .*cat\.jpg: no memory"):
        found = boxcam.evaluate(model, images, method="hirescam", metrics="oa", steps=2, top=2)
    assert (found.images, found.counts) == (["street.jpg"], {"boxes": 2})
    assert [case.image for case in found.cases] == [0, 0]


def test_each_file_is_whole_or_not_there(signs: Path, tmp_path: Path, model: boxcam.Model, monkeypatch: Any) -> None:
    found = boxcam.evaluate(model, signs / "images" / "cat.jpg", method="hirescam", metrics="energy", top=1)

    @contextmanager
    def full(path: Path, name: str) -> Iterator[Any]:
        def write(data: bytes) -> None:
            file.write(data[:9] if path.suffix == ".csv" else data)
            if path.suffix == ".csv":
                raise OSError(28, "No space left on device")

        with file_aside(path, name) as file:
            yield SimpleNamespace(write=write)

    monkeypatch.setattr(report, "file_aside", full)
    with pytest.raises(OutputError, match=r"cannot write .*evaluation\.\*: No space left on device\. Choose another"):
        found.save(tmp_path)
    assert os.listdir(tmp_path) == ["evaluation.json"]
    monkeypatch.undo()
    assert [path.stat().st_size > 50 for path in found.save(tmp_path)] == [True] * 3  # its own are replaced


def test_every_default_stands_in_one_place() -> None:
    """The signature repeats the defaults of `Request`, so that editors show them; the command has its own ``top``."""
    defaults = {one.name: one.default for one in dataclasses.fields(Request)}
    parameters = inspect.signature(boxcam.evaluate).parameters
    assert {name: one.default for name, one in parameters.items() if name in defaults} == defaults
    assert set(parameters) - set(defaults) == {"model", "images", "annotations", "progress"}
    options = {str(one.name): one.default for one in command.params}
    for name in ("steps", "iou", "seed", "sanity"):
        assert options[name] == defaults[name], name
    assert (options["methods"], options["fills"]) == (defaults["method"], (defaults["fills"],))
