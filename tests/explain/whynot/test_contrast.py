"""Contrast of two classes: by hand where its map is known, none of a class with itself, the negative if swapped."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam.bundle import seal
from boxcam.commands.summary import summary
from boxcam.errors import ArgumentError, UnknownNameError
from boxcam.explain import explainer
from boxcam.explain.evidence import LeftOut
from boxcam.explain.nouns import question
from boxcam.explain.selection import select
from tests.explain.two_classes import PICTURE, TwoClasses
from tests.explain.whynot.detectors import FAMILIES as DETECTORS
from tests.explain.whynot.detectors import export
from tests.explain.whynot.scene import SIZE, Thing, picture
from tests.explain.whynot.variants import VARIANTS

Models = Callable[[str], boxcam.Model]
FAMILIES = ("dense", "objectness", "background", "two stages", "queries", "detr")
METHODS = ("hirescam", "integrated-gradients", "regional-gradients")
WAYS = [(name, method) for name in FAMILIES for method in METHODS if name != "two stages" or method == "hirescam"]
"""Proposals move where the picture is blurred, so there are no integrals along a path."""
CAT, DOG = range(2)
THING = Thing((4, 3), (9.0, 8.0, 9.0, 8.0), (2.5, 0.5, -3.0), 4.0, -4.0)
FAR = Thing((1, 6), (7.0, 7.0, 7.0, 7.0), (-5.0, 3.0, -4.0), 5.0, -4.0)
SCENE = picture([THING, FAR], 4)


def contrast(model: boxcam.Model, label: int, against: int, method: str) -> Any:
    found = model.explain(SCENE, at=THING.box, classes=label, against=against, method=method, score=0.0)
    assert len(found) == 1
    return found.maps[0]


@pytest.mark.parametrize(("name", "method"), WAYS)
def test_swapped_classes_give_the_negative(name: str, method: str, models: Models) -> None:
    model = models(name)
    one, other = contrast(model, CAT, DOG, method), contrast(model, DOG, CAT, method)
    peak = np.abs(one).max()
    assert peak > 0
    np.testing.assert_allclose(one, -other, atol=1e-6 * peak)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_contrast_is_that_of_the_two_pixels_that_are_read(name: str, models: Models) -> None:
    """A class logit is a pixel's value by sixteen: that of a cat is the cell's sixth pixel, that of a dog the next."""
    expected = np.zeros((SIZE, SIZE))
    y, x = (8 * k for k in THING.cell)
    expected[y, x + 5], expected[y, x + 6] = (2.5 + 8), -(0.5 + 8)
    np.testing.assert_allclose(contrast(models(name), CAT, DOG, "hirescam"), expected, atol=1e-4)


@pytest.mark.parametrize(("name", "method"), WAYS)
def test_there_is_no_contrast_of_a_class_with_itself(
    name: str, method: str, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below what refuses it."""
    monkeypatch.setattr(explainer, "select", lambda model, options: select(model, replace(options, against=None)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a map may be said to be empty
        found = models(name).explain(SCENE, against=DOG, method=method, top=2)
    assert found.detections.labels.tolist() == [DOG, CAT]
    assert not np.any(found.maps[0])
    assert np.any(found.maps[1])


@pytest.mark.parametrize("name", FAMILIES)
def test_boxes_of_the_class_itself_are_left_out(name: str, models: Models) -> None:
    found = models(name).explain(SCENE, against="dog", method="hirescam", score=0.5)
    assert set(found.detections.names) == {"cat"}
    assert found.others == ("dog",)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_runner_up_is_the_class_of_the_next_logit(name: str, models: Models) -> None:
    found = models(name).explain(SCENE, against="runner-up", method="hirescam", score=0.5, classes="cat")
    assert found.others == ("dog",)
    np.testing.assert_allclose(found.values, [2.5 - 0.5], atol=1e-4)


def test_ranks_are_those_of_all_boxes(models: Models) -> None:
    """Of a class that is contrasted with itself there is nothing to show, and nothing else in its place."""
    model = models("dense")
    every = model.explain(SCENE, method="hirescam", score=0.0).detections.labels.tolist()
    for rank, label in enumerate(every, 1):
        found = model.explain(SCENE, against=DOG, rank=rank, method="hirescam", score=0.0)
        assert found.detections.labels.tolist() == ([] if label == DOG else [label])
        assert found.left_out == LeftOut(ranks=len(every) - 1, same=int(label == DOG))
    found = model.explain(SCENE, against=DOG, top=1, method="hirescam", score=0.0)
    assert len(found) == 1  # those of the class itself take no place
    assert f"of class {DOG} itself" in summary(found)


def altered(model: boxcam.Model, folder: Path, labels: list[str]) -> boxcam.Model:
    """The same bundle with other names of classes."""
    shutil.copytree(model.path, folder / "other")
    manifest = folder / "other" / "manifest.json"
    told = {**json.loads(manifest.read_text()), "labels": labels}
    manifest.write_text(json.dumps({**told, "seal": seal(told)}))
    return boxcam.load(folder / "other", threads=1)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_without_class_names(name: str, models: Models, tmp_path: Path) -> None:
    family = {**DETECTORS, **VARIANTS}[name]
    unnamed = replace(family, options={**family.options, "class_names": ()})
    model = boxcam.load(export(unnamed, tmp_path), threads=1)
    assert model.manifest.labels in ((), ("class 0", "class 1", "class 2"))
    asked: dict[str, Any] = {"method": "hirescam", "score": 0.5, "classes": CAT}
    for against in (DOG, "runner-up", "Runner up"):
        found = model.explain(SCENE, against=against, **asked)
        assert found.others == ("class 1",)
        assert found.query.against == str(against).lower().replace(" ", "-")
        rival = "class 1" if against == DOG else "its runner-up"
        assert question(found) == [f"what speaks for a box's class rather than for {rival}"]
        np.testing.assert_array_equal(found.maps, models(name).explain(SCENE, against="dog", **asked).maps)
    said = "it has [34], and the last one is [23]. Pass" if not model.manifest.labels else ".*There are: class 0"
    with pytest.raises((ArgumentError, UnknownNameError), match=rf"has no class '?9'?[:.] ?{said}"):
        model.explain(SCENE, against=9, **asked)


def test_a_name_of_two_classes_is_not_guessed(models: Models, tmp_path: Path) -> None:
    model = altered(models("dense"), tmp_path, ["crane", "dog", "crane"])
    with pytest.raises(UnknownNameError, match=r"is the name of 2 classes\. Pass the number of one of them: 0, 2\."):
        model.explain(SCENE, against="crane", method="hirescam")
    assert model.explain(SCENE, against=2, classes=CAT, method="hirescam").others == ("crane",)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> boxcam.Model:
    folder: Path = tmp_path_factory.mktemp("classes")
    file = TwoClasses().build(folder / "m.onnx")
    options = ["resize=stretch", "scale=0-1", "color=RGB"]
    boxcam.export(
        file, output=folder / "b", preprocess=options, layers=["layer"], class_names=["left", "right"], engine="onnx"
    )
    return boxcam.load(folder / "b", threads=1)


@pytest.mark.filterwarnings("error::boxcam.BoxcamWarning")
def test_how_complete_a_contrast_is_is_not_missed(models: Models) -> None:
    """It is told of one class alone, and that it is not is no fault of the bundle."""
    assert models("dense").explain(SCENE, against=DOG, method="integrated-gradients").completeness is None


def test_the_default_is_a_method_whose_maps_can_be_subtracted(classifier: boxcam.Model) -> None:
    assert classifier.explain(PICTURE, classes="left").method == "gradcam"
    found = classifier.explain(PICTURE, classes="left", against="right")
    assert (found.method, found.others) == ("hirescam", ("right",))


@pytest.mark.parametrize("method", METHODS)
def test_of_a_classifier(method: str, classifier: boxcam.Model) -> None:
    def of(label: str, against: str) -> Any:
        return classifier.explain(PICTURE, classes=label, against=against, method=method).maps[0]

    one, other = of("left", "right"), of("right", "left")
    assert np.abs(one).max() > 0
    np.testing.assert_allclose(one, -other, atol=1e-6 * np.abs(one).max())
