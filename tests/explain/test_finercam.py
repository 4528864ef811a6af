"""Finer-CAM: which classes a box's own is compared with, and the difference of their gradients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import boxcam
from boxcam.bundle import ClassAxis
from boxcam.errors import ArgumentError, EngineError, RunError, UnknownNameError
from boxcam.explain.class_scores import ClassScores
from boxcam.explain.gradients import weighted_sum
from boxcam.explain.methods import METHODS
from boxcam.explain.rivals import rivals
from boxcam.types import Patch

CLASSES = 5
"""Of the demo detector, whose logits [1, 10, h, w] are two anchors' by five classes each."""


@pytest.fixture
def street(signs: Path) -> Any:
    return cv2.imread(str(signs / "images" / "street.jpg"))


def test_the_classes_with_the_nearest_logits_of_the_same_anchor(street: Any, signs_model: boxcam.Model) -> None:
    runtime = signs_model.runtime
    prediction = runtime.predict(street, ends=True)
    found, ends = prediction.detections, runtime.manifest.target().ends
    boxes = list(range(min(len(found), 12)))
    for box, chosen in zip(boxes, rivals(runtime, (street, prediction), boxes, 3), strict=True):
        tensor, batch, channel, y, x = found.origin[box].tolist()
        anchor = channel - channel % CLASSES
        logits = prediction.outputs[ends[tensor].name][batch, anchor : anchor + CLASSES, y, x].astype(np.float64)
        assert logits[found.labels[box]] == pytest.approx(found.logits[box])
        others = [label for label in range(CLASSES) if label != found.labels[box]]
        nearest = sorted(others, key=lambda label: abs(logits[label] - logits[found.labels[box]]))[:3]
        assert chosen.tolist() == [[tensor, batch, anchor + label, y, x] for label in nearest]


def test_an_export_writes_where_the_classes_of_a_box_are(signs_model: boxcam.Model) -> None:
    assert {end.classes for end in signs_model.manifest.target().ends} == {ClassAxis(1, 1)}


def unsaid(model: boxcam.Model, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its runtime, as of a bundle that was exported before an export told where classes are."""
    runtime, (target,) = model.runtime, model.manifest.targets
    ends = tuple(replace(end, classes=None) for end in target.ends)
    monkeypatch.setattr(
        runtime, "manifest", replace(model.manifest, targets=(replace(target, ends=ends),), candidates=None)
    )
    return runtime


def test_of_one_box_alone_the_manifest_tells_the_classes(
    street: Any, signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = signs_model.runtime
    whole = runtime.predict(street, ends=True)
    expected = rivals(runtime, (street, whole), list(range(len(whole.detections))), 3)
    monkeypatch.setattr(type(runtime), "predict", lambda *given, **more: pytest.fail("the image is moved"))
    for box, chosen in enumerate(expected):
        alone = replace(whole, detections=whole.detections.select([box]), rows=whole.rows[[box]])
        assert rivals(runtime, (street, alone), [0], 3)[0].tolist() == chosen.tolist()


def test_where_one_box_could_be_read_in_several_ways_the_image_is_moved(
    street: Any, signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an earlier bundle, with one box alone, its classes might lie along a map's height, or its width, as well."""
    runtime = unsaid(signs_model, monkeypatch)
    whole = runtime.predict(street, ends=True)
    alone = replace(whole, detections=whole.detections.select([0]), rows=whole.rows[:1])
    assert not ClassScores(runtime.manifest, [alone]).known
    assert rivals(runtime, (street, alone), [0], 3)[0].tolist() == rivals(runtime, (street, whole), [0], 3)[0].tolist()
    monkeypatch.setattr(type(runtime), "predict", lambda *given, **more: alone)
    with pytest.raises(RunError, match=r"cannot be told from the boxes on this image.* Choose another method, such"):
        rivals(runtime, (street, alone), [0], 3)


@pytest.mark.parametrize(("method", "alone"), [("finer-cam", "gradcam"), ("finer-hirescam", "hirescam")])
def test_the_map_is_of_the_logit_less_the_mean_of_theirs(
    method: str, alone: str, street: Any, signs_model: boxcam.Model
) -> None:
    """By the plain gradients of each logit, one after the other."""
    runtime = signs_model.runtime
    layer = runtime.layer("neck")
    prediction = runtime.predict(street, layer, ends=True)
    found = signs_model.explain(street, method=method, layer="neck", top=3)
    for box, chosen in enumerate(rivals(runtime, (street, prediction), [0, 1, 2], 3)):
        (own,) = next(iter(runtime.patches(prediction, layer, [box])))
        others = [one for (one,) in runtime.patches_at(prediction, layer, chosen)]
        gradient = own.gradient - np.mean([one.gradient for one in others], axis=0)
        patch = Patch(own.tensor, own.row, own.corner, gradient)
        (expected,) = METHODS[alone](runtime.activation(prediction, layer, patch), [patch])
        (part,) = found.parts[box]
        assert np.abs(expected.values).max() > 0
        assert part.cells.values == pytest.approx(expected.values, rel=1e-3, abs=1e-5)
    plain = signs_model.explain(street, method=alone, layer="neck", top=3)
    assert np.abs(found.maps - plain.maps).max() > 0.05 * plain.maps.max()


def test_a_sum_of_gradients_worked_out_on_paper() -> None:
    one = Patch(0, 0, (1, 2), np.float32([[[1, 2]]]), np.float32([4]))
    other = Patch(0, 0, (1, 2), np.float32([[[10, 30]]]), np.float32([8]))
    found = weighted_sum((one, other), (1, -0.5))
    assert found.gradient.tolist() == [[[-4, -13]]]
    assert found.uniform is not None
    assert found.uniform.tolist() == [0]
    assert found.corner == (1, 2)


def test_a_detector_of_one_class_is_refused(signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs_model.runtime, "manifest", replace(signs_model.manifest, labels=("sign",)))
    assert not {"finer-cam", "finer-hirescam"} & set(signs_model.methods())
    with pytest.raises(UnknownNameError, match=r"'finer-cam' compares classes, and bundle .* has one only\. Choose"):
        signs_model.prepare(method="finer-cam")


def test_another_target_than_the_logit_is_refused(signs_model: boxcam.Model) -> None:
    signs_model.prepare(method="finer-cam", target="logit")
    with pytest.raises(ArgumentError, match=r"compares the logits of classes\. Leave out target='x1'"):
        signs_model.prepare(method="finer-cam", target="x1")


def test_logits_that_the_bundle_does_not_give_are_refused(street: Any, signs_model: boxcam.Model) -> None:
    runtime = signs_model.runtime
    with pytest.raises(
        EngineError, match=r"does not tell which of its logits are the classes of one box\. Choose another"
    ) as caught:
        rivals(runtime, (street, runtime.predict(street)), [0], 3)
    assert not isinstance(caught.value, RunError)  # no other image would do


def test_logits_that_boxes_do_not_tell_fail_on_that_image_only(
    street: Any, signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsaid(signs_model, monkeypatch)
    monkeypatch.setattr(ClassScores, "_find", lambda *given: None)
    with pytest.raises(RunError, match=r"cannot be told from the boxes on this image"):
        signs_model.explain(street, method="finer-hirescam")


def test_classes_that_look_at_other_places_are_refused(
    street: Any, signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = type(signs_model.runtime).patches_at

    def moving(self: Any, *given: Any, **more: Any) -> Any:
        for number, of in enumerate(real(self, *given, **more)):
            yield tuple(replace(patch, corner=(number, 0)) for patch in of)

    monkeypatch.setattr(type(signs_model.runtime), "patches_at", moving)
    with pytest.raises(RunError, match=r"do not depend on the same places of layer 'neck'"):
        signs_model.explain(street, method="finer-hirescam", layer="neck")


def test_a_class_without_a_name_has_no_others_to_be_compared_with(
    street: Any, signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are those of the first three classes."""
    runtime = unsaid(signs_model, monkeypatch)
    prediction = runtime.predict(street, ends=True)
    label = max(prediction.detections.labels)
    box = int(np.argmax(prediction.detections.labels))
    monkeypatch.setattr(
        runtime, "manifest", replace(runtime.manifest, labels=signs_model.manifest.labels[:label], candidates=None)
    )
    with pytest.raises(RunError, match=rf"a box is of class {label}, and bundle .* names {label} only.* Choose"):
        rivals(runtime, (street, prediction), [box], 3)
