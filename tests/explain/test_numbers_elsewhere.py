"""Methods that read a box's number in other images, or that compare classes: where there is no such number to read."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

import boxcam
from boxcam.bundle import FORWARD, write_manifest
from boxcam.commands.demo import DATA
from boxcam.errors import ArgumentError, EngineError, UnknownNameError
from boxcam.explain.explainer import usable_methods
from boxcam.explain.methods import METHODS, Method
from boxcam.explain.options import Options
from boxcam.explain.plan import Plan
from boxcam.explain.sanity.check import Sanity
from boxcam.explain.sanity.randomised import Weights
from boxcam.runtime import model as models
from boxcam.runtime.model import Model


def opened(bundle: Path) -> Model:
    return boxcam.load(bundle, threads=1).runtime


@pytest.fixture
def model() -> Model:
    return opened(DATA / "signs")


@pytest.fixture(scope="module")
def choosing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, whose logits read what a TopK chose, as those of a second stage do."""
    folder = tmp_path_factory.mktemp("choosing") / "b"
    shutil.copytree(DATA / "signs", folder)
    graph = onnx.load(folder / FORWARD, load_external_data=False)
    ends = {end.name for end in opened(DATA / "signs").manifest.target().ends}
    at, last = next((k, one) for k, one in enumerate(graph.graph.node) if ends & set(one.output))
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "one"))
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
    made = [
        onnx.helper.make_node("TopK", [last.input[0], "one"], ["best", "places"]),
        onnx.helper.make_node("Mul", ["best", "nothing"], ["still"]),
        onnx.helper.make_node("Add", [last.input[0], "still"], ["read"]),
    ]
    last.input[0] = "read"
    for node in reversed(made):
        graph.graph.node.insert(at, node)
    onnx.save(graph, folder / FORWARD)
    write_manifest(folder, opened(DATA / "signs").manifest)
    return folder


def noisy(monkeypatch: pytest.MonkeyPatch, samples: int = 3) -> None:
    """Let hirescam be of noisy images, as the demo has no layer of pixels."""
    real = METHODS["hirescam"]
    assert isinstance(real, Method)
    monkeypatch.setitem(METHODS._things, "hirescam", dataclasses.replace(real, samples=samples))


def test_numbers_of_other_boxes_are_not_read(choosing: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (
        r"chooses its boxes in the middle of the model \(TopK\), so that in other images its logits are of other boxes,"
        r" and the method '{}' asks for the same ones\. Choose a method of one forward pass"
    )
    other, read = opened(choosing), []
    real = models.parse_graph
    monkeypatch.setattr(models, "parse_graph", lambda data: (read.append(1), real(data))[1])
    for _ in range(3):
        with pytest.raises(EngineError, match=words.format("score-cam")):
            Plan(other, Options(method="score-cam"))
    for method in ("hirescam", "integrated-gradients", "regional-gradients", "d-rise", "patch-search"):
        Plan(other, Options(method=method))
    assert len(read) == 1
    assert set(usable_methods(model)) - set(usable_methods(other)) == {"score-cam"}
    with pytest.raises(EngineError, match=r"\(TopK\), so that with other weights"):
        Weights(other)
    noisy(monkeypatch)
    with pytest.raises(EngineError, match=words.format("hirescam")):
        Plan(other, Options(method="hirescam"))
    Plan(model, Options(method="hirescam"))


def test_a_classifiers_logits_are_always_of_the_same_classes(choosing: Path) -> None:
    other = opened(choosing)
    outputs = dataclasses.replace(other.manifest.outputs, whole_image=True)
    other.manifest = dataclasses.replace(other.manifest, outputs=outputs)
    Plan(other, Options(method="score-cam"))


def test_methods_of_several_numbers_are_not_compared_with_shuffled_weights(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = METHODS["odam-combined"]
    assert isinstance(real, Method)
    monkeypatch.setitem(METHODS._things, "odam-combined", dataclasses.replace(real, targets=("logit",)))
    Plan(model, Options(method="odam-combined"))
    with pytest.raises(ArgumentError, match=r"the method 'odam-combined' is made of several numbers, of other"):
        Sanity(model, [Options(method="odam-combined")], 1, 0)


@pytest.mark.parametrize("method", ["finer-cam", "finer-hirescam"])
def test_classes_without_names_are_not_compared_and_it_says_how_to_name_them(method: str, model: Model) -> None:
    model.manifest = dataclasses.replace(model.manifest, labels=(), candidates=None)
    with pytest.raises(UnknownNameError, match=r"has no class names, .* Export the model again with class_names="):
        Plan(model, Options(method=method))
