"""What explaining takes and tells: no passes without a box, little memory, and a progress that moves."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import boxcam
from boxcam.commands.demo import DATA
from boxcam.explain.counter import Counter
from boxcam.explain.evidence import NO_ENGINE
from boxcam.explain.methods import METHODS, Method
from boxcam.explain.noise import noisy_parts
from boxcam.explain.options import Options
from boxcam.runtime.model import Model
from boxcam.types import Patch
from tests.explain.made import EVEN, explanation


@pytest.fixture(scope="module")
def model() -> boxcam.Model:
    return boxcam.load(DATA / "signs", threads=1)


@pytest.fixture
def street(signs: Path) -> Any:
    return cv2.imread(str(signs / "images" / "street.jpg"))


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> Method:
    """Let hirescam be of noisy images, as the demo has no layer of pixels."""
    real = METHODS["hirescam"]
    assert isinstance(real, Method)
    monkeypatch.setitem(METHODS._things, "hirescam", made := dataclasses.replace(real, samples=4))
    return made


@pytest.mark.parametrize(("method", "total"), [("hirescam", 4), ("integrated-gradients", 0)])
def test_no_pass_is_made_for_a_picture_without_a_box(
    method: str, total: int, noisy: Method, model: boxcam.Model, street: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    said: list[tuple[int, int]] = []
    real = Model.forward
    monkeypatch.setattr(Model, "forward", lambda *given, **more: (passes.append(1), real(*given, **more))[1])
    found = model.explain(street, method=method, score=1.0, progress=lambda *of: said.append(of))
    assert (len(found), len(passes)) == (0, 1)
    assert said[0] == (0, total)
    assert said[-1] == (total, total)
    if method == "integrated-gradients":
        assert found.completeness is not None
        assert found.completeness.shape == (0,)
    model.explain(street, method=method, top=1)
    assert len(passes) > 5


def test_gradients_of_noisy_images_are_held_once(
    noisy: Method, model: boxcam.Model, street: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, boxes, shape = model.runtime, [0] * 150, (48, 40, 40)
    layer = runtime.layer("neck")
    prediction = runtime.predict(street, layer)
    made: list[Patch] = []

    def patches(*given: Any, **more: Any) -> Any:
        for _ in boxes:
            yield (Patch(0, 0, (0, 0), np.full(shape, 2, np.float32), np.full(48, 3, np.float32)),)

    def maps_of(method: Method, found: list[Patch], activation: object) -> list[Any]:
        made.extend(found)
        return [None] * len(found)

    monkeypatch.setattr(runtime, "patches", patches)
    monkeypatch.setattr("boxcam.explain.noise.maps_of", maps_of)
    tracemalloc.start()
    try:
        noisy_parts(runtime, noisy, layer, Options(method="hirescam"), street, prediction, boxes, lambda done: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(made) == len(boxes)
    assert all((patch.gradient == 2).all() and (patch.uniform == 3).all() for patch in made)  # the mean of equal ones
    assert peak < 1.4 * len(boxes) * 4 * np.prod(shape)


def test_a_progress_is_told_when_it_moves() -> None:
    said: list[tuple[int, int]] = []
    counter = Counter(lambda *of: said.append(of), 2, each=3)
    for _ in range(6):
        counter.add()
    counter.add(0)
    assert said == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("method", "target", "engine", "pixels"),
    [
        ("saliency", "logit", "onnx", True),
        ("patch-search", "detection", "onnx", False),
        ("d-rise", "detection", NO_ENGINE, True),
    ],
)
def test_maps_of_patches_are_not_of_pixels_whatever_layer_guided_them(
    method: str, target: str, engine: str, pixels: bool
) -> None:
    found = dataclasses.replace(explanation(EVEN), method=method, target=target, engine=engine, layer="image")
    assert found.of_pixels == pixels
