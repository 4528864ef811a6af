"""What is told of models and images out of the ordinary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam.bundle import seal
from boxcam.errors import ArgumentError, BundleError, EngineError, RunError
from boxcam.export.steps import candidates as step
from tests.explain.whynot.detectors import FAMILIES, Family, Reader, export
from tests.explain.whynot.scene import CLASSES, COLUMNS, FINE, LOWEST, NAMES, Thing, picture, sigmoid

Models = Callable[[str], boxcam.Model]
CAT, DOG, BIRD = range(3)
SQUARE = (10.0, 10.0, 10.0, 10.0)
FLOAT, INT64 = 1, 7


def _named_background(net: Reader) -> dict[str, int]:
    """Two stages: proposals above a threshold; a softmax whose first class is the background, and has a name."""
    decoded = net.lines(net.corners(FINE))
    best, rows = net.node("TopK", [net.Reshape(net.objectness(FINE), np.array([-1])), np.array([16])], 2)
    some = net.Gather(decoded, rows, axis=0)
    limits = (np.array([100]), np.array([0.7], np.float32), np.array([-7.9], np.float32))
    kept = net.NonMaxSuppression(net.Unsqueeze(some, np.array([0])), net.Reshape(best, np.array([1, 1, -1])), *limits)
    rois = net.Gather(some, net.Gather(kept, np.array(2), axis=1), axis=0)
    size = {"output_height": 1, "output_width": 1, "sampling_ratio": 1, "spatial_scale": 1 / FINE}
    number = net.Gather(kept, np.array(0), axis=1)
    pooled = net.node("RoiAlign", [net.layers[FINE], rois, number], name="pooled", **size)[0]
    weight = np.zeros((COLUMNS, CLASSES + 1), np.float32)
    weight[[8, 5, 6, 7], np.arange(CLASSES + 1)] = 1 / 16
    logits = net.Gemm(net.Flatten(pooled), weight, np.full(CLASSES + 1, LOWEST, np.float32))
    scores = net.Slice(net.Softmax(logits, axis=1), np.array([1]), np.array([CLASSES + 1]), np.array([1]))
    by_class = net.Unsqueeze(net.Transpose(scores, perm=[1, 0]), np.array([0]))
    limits = (np.array([100]), np.array([0.5], np.float32), np.array([0.05], np.float32))
    kept = net.NonMaxSuppression(net.Unsqueeze(rois, np.array([0])), by_class, *limits)
    net.node("GatherND", [by_class, kept], name="scores")
    net.node("Add", [net.Gather(kept, np.array(1), axis=1), np.array(1)], name="labels")
    net.node("Gather", [rois, net.Gather(kept, np.array(2), axis=1)], name="boxes", axis=0)
    return {"boxes": FLOAT, "scores": FLOAT, "labels": INT64}


def _one_box(net: Reader) -> dict[str, int]:
    """Suppression, and of what is left the best box alone."""
    return net.chosen(net.lines(net.corners(FINE)), net.lines(net.Sigmoid(net.logits(FINE))), 0.5, 0.05, 1)


CHOSEN: dict[str, Any] = {"boxes": "boxes", "scores": "scores", "labels": "labels"}


@pytest.fixture(scope="module")
def background(tmp_path_factory: pytest.TempPathFactory) -> boxcam.Model:
    family = Family(_named_background, {**CHOSEN, "class_names": ("__background__", *NAMES)})
    return boxcam.load(export(family, tmp_path_factory.mktemp("background")), threads=1)


def test_a_background_with_a_name_is_no_class_that_could_have_won(background: boxcam.Model) -> None:
    assert background.manifest.candidates is not None
    assert background.manifest.candidates.silent == (0,)
    thing = Thing((4, 3), SQUARE, (-2.5, -3.5, -3.0), 4.0, 3.0)
    scene = picture([thing])
    (found,) = background.candidates(scene, thing.box)
    assert (found.name, found.reason) == ("cat", "threshold")
    with pytest.raises(ArgumentError, match="never reports the class '__background__'"):
        background.candidates(scene, thing.box, "__background__")
    seen = Thing((4, 3), SQUARE, (2.5, -3.5, -3.0), 4.0, 2.0)
    assert background.explain(picture([seen]), against="runner-up").others == ("bird",)


def test_without_proposals_there_are_no_candidates(background: boxcam.Model) -> None:
    with pytest.raises(RunError, match="none of its proposals went on"):
        background.candidates(picture([]), (20, 20, 44, 44), "cat")


def test_a_score_that_objectness_keeps_low_is_too_low_and_not_dropped(models: Models) -> None:
    thing = Thing((4, 3), SQUARE, (2.5, 0.5, -3.0), -4.0)
    (found,) = models("objectness").candidates(picture([thing]), thing.box, "cat")
    assert found.reason == "threshold"
    assert found.figures["factor"] == pytest.approx(sigmoid(-4), abs=1e-5)
    assert "no logit of 'cat' would do" in found.why


def test_a_box_that_was_reported_with_a_low_score_is_said_to_have_been(models: Models) -> None:
    thing = Thing((4, 3), SQUARE, (-1.125, 3.0, -7.0))
    (found,) = models("dense").candidates(picture([thing]), thing.box, "cat")
    assert (found.reason, found.figures["other"]) == ("class", DOG)
    assert "The model reported that, too, as box 2 of 2: below the 0.3 asked for" in found.why


def test_of_a_class_that_lost_it_is_said_that_its_score_is_too_low_besides(models: Models) -> None:
    """The dense detector reports scores above 0.05: a logit of -2.94."""
    thing = Thing((4, 3), SQUARE, (-7.0, -1.0, -7.0))
    (found,) = models("dense").candidates(picture([thing]), thing.box, "cat", score=0.9)
    assert (found.reason, found.figures["other"]) == ("class", DOG)
    assert found.figures["threshold_logit"] == pytest.approx(np.log(0.05 / 0.95), abs=1e-3)
    assert found.figures["threshold"] == pytest.approx(0.05, abs=1e-4)
    assert "That is also below what the model reports: 0.000911, and 0.05 would be reported" in found.why


def test_the_best_of_one_is_no_suppression(tmp_path: Path) -> None:
    model = boxcam.load(export(Family(_one_box, CHOSEN), tmp_path), threads=1)
    best = Thing((1, 1), (6.0,) * 4, (4.0, -7.0, -7.0))
    mine = Thing((1, 2), (6.0,) * 4, (2.0, -7.0, -7.0))  # overlaps it by a fifth
    (found,) = model.candidates(picture([best, mine]), mine.box, "cat")
    assert (found.reason, found.figures["rank"]) == ("rank", 2)
    far = Thing((6, 6), (6.0,) * 4, (5.0, -7.0, -7.0))
    (found,) = model.candidates(picture([best, mine, far]), mine.box, "cat")
    assert (found.reason, found.figures["rank"]) == ("rank", 3)


def test_what_is_asked_is_of_the_logit_whatever_target_comes_first(tmp_path: Path) -> None:
    family = FAMILIES["dense"]
    model = boxcam.load(
        export(Family(family.build, {**family.options, "targets": ("x1", "logit")}), tmp_path), threads=1
    )
    best, mine = Thing((4, 2), (14.0,) * 4, (4.0, -7.0, -7.0)), Thing((4, 3), (14.0,) * 4, (1.0, -7.0, -7.0))
    x1, y1, x2, y2 = mine.box
    place = (x1 + 7, y1, x2 + 7, y2)
    (found,) = model.candidates(picture([best, mine]), place, "cat")
    assert (found.reason, found.figures["by"]) == ("suppressed", 1)
    assert model.explain(picture([best, mine]), at=place, classes="cat").target == "logit"
    (seen,) = model.candidates(picture([best, mine]), best.box, "cat")
    assert (seen.reason, seen.logit) == ("reported", pytest.approx(4, abs=1e-3))


def test_a_place_that_the_model_does_not_see(tmp_path: Path) -> None:
    family = FAMILIES["dense"]
    spec = ["resize=cover", "fit=64x64", "scale=0-255", "color=RGB"]
    path = export(Family(family.build, {**family.options, "preprocess": spec}), tmp_path)
    scene = np.zeros((64, 128, 3), np.uint8)
    with pytest.raises(ArgumentError, match=r"does not see the place 0,0,20,20: of the image it sees x 32 to 96"):
        boxcam.load(path, threads=1).candidates(scene, (0, 0, 20, 20), "cat")


def test_arguments_that_mean_nothing(models: Models) -> None:
    model = models("dense")
    with pytest.raises(ArgumentError, match="top= means nothing"):
        model.explain(picture([]), at=(0, 0, 20, 20), top=1)
    with pytest.raises(ArgumentError, match=r"^box=None is no place of the image"):
        model.candidates(picture([]), None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"box=\(5, 5, 5, 9\) has no area"):
        model.candidates(picture([]), (5, 5, 5, 9))


def test_no_fault_of_it_ends_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise IndexError("planted")

    monkeypatch.setattr(step, "usable", fails)
    model = boxcam.load(export(FAMILIES["yolo"], tmp_path), threads=1)
    assert model.manifest.without_candidates == (
        "finding them failed, which is a fault of boxcam (IndexError: planted)"
    )
    with pytest.raises(EngineError, match=r"a fault of boxcam .* Explain what it reports\.$"):
        model.candidates(picture([]), (0, 0, 20, 20))


def _altered(path: Path, folder: Path, **changes: object) -> boxcam.Model:
    """A bundle whose manifest says something else of candidates, and is sealed."""
    altered = folder / "altered.boxcam"
    shutil.copytree(path, altered)
    manifest = json.loads((altered / "manifest.json").read_text())
    manifest["candidates"].update(changes)
    (altered / "manifest.json").write_text(json.dumps({**manifest, "seal": seal(manifest)}))
    return boxcam.load(altered, threads=1)


LIES: dict[str, tuple[dict[str, object], type[Exception], str]] = {
    "no context": ({"context": []}, BundleError, "not the graph of a selection"),
    "graphs swapped": (
        {"opened": "selection.onnx", "selection": "candidates.onnx"},
        BundleError,
        "not the graph of a selection",
    ),
    "proposals that are none": ({"proposals": []}, RunError, "are not boxes"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_told(lie: str, models: Models, tmp_path: Path) -> None:
    changes, error, words = LIES[lie]
    model = models("dense")
    if "proposals" in changes:
        changes = {"proposals": [model.manifest.outputs.scores]}
    model = _altered(model.path, tmp_path, **changes)
    with pytest.raises(error, match=words):
        model.candidates(picture([]), (2, 2, 60, 60), "cat")
