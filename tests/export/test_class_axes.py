"""What an export writes of where the logits of a box's other classes are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam.bundle import ClassAxis, Logits, Outputs, TracedTarget, read
from boxcam.export.source import SOURCES
from boxcam.export.steps import class_axes
from tests.export import two_stage


def test_of_a_dense_head_and_of_no_other_target(tiny: Callable[..., None], tmp_path: Path) -> None:
    tiny()
    boxcam.export("model.tiny", output=tmp_path / "b", engine="onnx", targets=["logit", "score"])
    logit, score = read(tmp_path / "b").targets
    assert [(end.shape, end.classes) for end in logit.ends] == [((1, 2, 6, 8), ClassAxis(1, 1))]
    assert [end.classes for end in score.ends] == [None]
    picture = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    model = boxcam.load(tmp_path / "b")
    found = model.explain(picture, method="finer-hirescam", score=0.0, top=1)  # one box, that nothing else tells of
    plain = model.explain(picture, method="hirescam", score=0.0, top=1)
    assert len(found) == 1
    assert (found.maps != plain.maps).any()


def test_of_proposals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(SOURCES._things, "two", two_stage.way(two_stage.source()))
    made = boxcam.export("model.two", output=tmp_path / "b", engine="onnx", layers="roi")
    (end,) = made.target().ends
    assert (end.shape, end.classes) == ((two_stage.PROPOSALS, two_stage.CLASSES), ClassAxis(1, 1))


TARGETS = (
    TracedTarget(
        "logit", "origin", "logit", (Logits("a", (1, 12, None, 9), "Sigmoid"), Logits("b", (9, 4), "Softmax"))
    ),
    TracedTarget("score", "origin.score", "value.score", (Logits("s", (1, 9), "Identity"),)),
)


def described(told: Any, monkeypatch: pytest.MonkeyPatch, **source: Any) -> list[ClassAxis | None]:
    monkeypatch.setattr(class_axes, "class_axes", lambda *given: told)
    given = {"labels": ("a", "b", "c", "d"), "outputs": Outputs("boxes", "scores", "labels"), **source}
    steps: Any = SimpleNamespace(source=SimpleNamespace(**given), model=None, traces={"logit": None}, run=None)
    logit, score = class_axes.with_class_axes(TARGETS, steps, steps, steps)
    assert score == TARGETS[1]
    assert replace(logit, ends=TARGETS[0].ends) == TARGETS[0]
    return [end.classes for end in logit.ends]


def test_a_step_that_may_follow_from_the_size_of_an_image_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert described((ClassAxis(1, 1), ClassAxis(1, 1)), monkeypatch) == [ClassAxis(1, 1), ClassAxis(1, 1)]
    assert described((ClassAxis(1, 3), None), monkeypatch) == [ClassAxis(1, 3), None]  # of 12 channels, always
    assert described((ClassAxis(2, 3), ClassAxis(2, 1)), monkeypatch) == [None, None]  # the second one has two axes
    assert described((ClassAxis(2, 1), None), monkeypatch) == [ClassAxis(2, 1), None]


@pytest.mark.parametrize(
    "source",
    [{"labels": ("a",)}, {"labels": ()}, {"outputs": Outputs("boxes", "scores", "labels", whole_image=True)}],
)
def test_where_there_are_no_other_classes_nothing_is_asked(
    source: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert described((ClassAxis(1, 1), ClassAxis(1, 1)), monkeypatch, **source) == [None, None]
