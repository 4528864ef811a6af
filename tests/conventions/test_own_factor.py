"""Scores weighed by a factor of their own logits: asked for by name, and what is then said leads to a bundle."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import pytest

import boxcam
from boxcam.errors import SourceError, VerificationError
from tests.conventions.files import FLOAT, Levels
from tests.conventions.reading import PLAIN, THRESHOLD
from tests.messages import check_message

NAMES = {"scores": "scores", "boxes": "boxes", "score_activation": "none"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Five numbers for a row, which by themselves may be four sides and a class, and the boxes beside them."""
    net = Levels(5)
    both = net.Transpose(net.Concat(net.corners(), net.classes_of_cells(), axis=1), perm=[0, 2, 1])
    classes = net.slice(both, 4, 9, 2)
    net.node("Mul", [classes, net.Sqrt(net.ReduceMax(classes, axes=[2], keepdims=1))], name="scores")
    net.node("Identity", [net.slice(both, 0, 4, 2)], name="boxes")
    onnx.save(net.proto({"scores": FLOAT, "boxes": FLOAT}), str(tmp_path / "m.onnx"))
    return tmp_path / "m.onnx"


def export(path: Path, **options: object) -> Path:
    given = {"preprocess": PLAIN, "score_threshold": THRESHOLD, "output": path.parent / "b", "engine": "onnx"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(path, **{**given, **options})
    return path.parent / "b"


def test_scores_with_boxes_beside_them_are_not_proposed_as_boxes_themselves(path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        export(path)
    check_message(str(caught.value))
    assert "convention=" not in str(caught.value)
    assert "Pass their names with scores= and boxes=" in str(caught.value)


def test_what_is_said_leads_to_a_bundle(path: Path) -> None:
    with pytest.raises(VerificationError) as caught:
        export(path, **NAMES)
    check_message(str(caught.value))
    assert 'Pass targets="score"' in str(caught.value)
    model = boxcam.load(export(path, **NAMES, targets="score"))
    assert [target.name for target in model.runtime.manifest.targets] == ["score"]
