"""Shuffled weights, and the maps of the same logits before and after."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

import boxcam
from boxcam.bundle import WEIGHTS, write_manifest
from boxcam.bundle.graph import parse_graph
from boxcam.commands.demo import DATA
from boxcam.errors import ArgumentError, EngineError, RunError
from boxcam.explain.again import explain_again
from boxcam.explain.explainer import explain, prepare
from boxcam.explain.methods import METHODS, Method
from boxcam.explain.options import Options
from boxcam.explain.path import forward_passes, path_parts
from boxcam.explain.sanity import randomised
from boxcam.explain.sanity.check import Sanity, agreement
from boxcam.explain.sanity.randomised import Weights
from boxcam.runtime.model import Model
from boxcam.types import Image

HEAD = 2
"""Layers of the demo's head, after the neck."""


@pytest.fixture(scope="module")
def model() -> Model:
    return boxcam.load(DATA / "signs", threads=1).runtime


@pytest.fixture(scope="module")
def street(signs: Path) -> Image:
    found = cv2.imread(str(signs / "images" / "street.jpg"))
    assert found is not None
    return found


def rows(*methods: str) -> list[Options]:
    return [Options(method=method, layer="neck", top=3) for method in methods]


def weights_of(weights: Weights, count: int, seed: int) -> dict[str, np.ndarray]:
    """The numbers of each layer's tensors in the file of a shuffled model."""
    found = {}

    def read(model: Model) -> None:
        data = (model.path / WEIGHTS).read_bytes()
        for weight in (weight for layer in weights.layers for weight in layer):
            found[weight.name] = np.frombuffer(data[weight.offset :][: weight.length], weight.dtype)

    weights.shuffled(count, seed, read)
    return found


def test_each_tensor_keeps_its_numbers_and_layers_are_shuffled_from_the_top(model: Model) -> None:
    weights = Weights(model)
    whole, two, again, all_of_them, other = (
        weights_of(weights, count, seed) for count, seed in ((0, 0), (2, 0), (2, 0), (99, 0), (2, 1))
    )
    top = {weight.name for layer in weights.layers[:2] for weight in layer}
    assert len(top) == 2
    for name, values in whole.items():
        assert np.array_equal(np.sort(all_of_them[name]), np.sort(values))
        assert not np.array_equal(all_of_them[name], values)
        assert np.array_equal(two[name], again[name])
        assert np.array_equal(
            two[name], all_of_them[name] if name in top else values
        )  # further layers change no others
        assert np.array_equal(two[name], other[name]) == (name not in top)


def test_nothing_that_is_untouched_changes_a_map(model: Model, street: Image) -> None:
    """No layer is shuffled: each correlation is 1. Of the head only: 1 for what does not look at the head."""
    asked = rows("gradcam", "hirescam", "eigencam", "layercam", "integrated-gradients")
    sanity = Sanity(model, asked, 1, 0)
    explanations = [explain(model, street, options) for options in asked]
    for count, alike in ((0, (True, True, True, True, True)), (HEAD, (False, False, True, False, False))):
        object.__setattr__(sanity, "counts", (count,))
        for of_box in sanity.measure(street, explanations, [0, 2]):
            for same, ((rank, structure),) in zip(alike, of_box, strict=True):
                assert (rank == pytest.approx(1, abs=1e-9)) == same
                assert (structure == pytest.approx(1, abs=1e-9)) == same
    assert all(rank < 0.9 for of_box in sanity.measure(street, explanations, [0]) for ((rank, _),) in of_box[:2])


def test_all_weights_shuffled_leave_little(model: Model, street: Image) -> None:
    asked = rows("gradcam", "hirescam")
    sanity = Sanity(model, asked, 4, 0)
    assert sanity.names == ("6/22", "11/22", "17/22", "22/22")
    assert Sanity(model, asked, 99, 0).counts == tuple(range(1, 23))
    explanations = [explain(model, street, options) for options in asked]
    found = np.array(sanity.measure(street, explanations, [0, 1, 2]))
    assert found.shape == (3, 2, 4, 2)
    assert np.abs(found[:, :, -1, 0].mean(axis=0)).max() < 0.4
    assert np.array_equal(found, np.array(Sanity(model, asked, 4, 0).measure(street, explanations, [0, 1, 2])))
    assert not np.array_equal(found, np.array(Sanity(model, asked, 4, 1).measure(street, explanations, [0, 1, 2])))


def opened(made: Model) -> None:
    prepare(made, Options(method="integrated-gradients", layer="neck"))


def completeness(model: Model, shuffled: Model, image: Image, layer: str, boxes: list[int]) -> np.ndarray:
    """What integrated gradients add up to, by the change of the logit: 1 only if gradients are those of the forward."""
    method, options = METHODS["integrated-gradients"], Options(method="integrated-gradients", layer=layer)
    assert isinstance(method, Method)
    of, at = model.predict(image), shuffled.layer(layer)
    passes = forward_passes(shuffled, image, shuffled.predict(image, [at], ends=True), [at], options, 64)
    parts = path_parts(shuffled, method, at, options, passes, boxes, lambda: None, of=of)
    totals = [sum(float(part.cells.values.sum(dtype=np.float64)) for part in of_box) for of_box in parts]
    start, end = (shuffled.at_origin(passed, of, boxes) for passed in (passes[0], passes[-1]))
    assert start is not None
    assert end is not None
    return np.array(totals) / (end - start)


def test_gradients_are_those_of_the_shuffled_forward_pass(model: Model, street: Image) -> None:
    for count in (HEAD, 22):
        shuffled = Weights(model).shuffled(count, 0, opened)
        other = shuffled.predict(street).detections
        assert len(other) != len(model.predict(street).detections)  # it is another model
        assert np.allclose(completeness(model, shuffled, street, "neck", [0, 1]), 1, atol=0.15)


def with_a_copy(bundle: Path, folder: Path) -> Path:
    """The demo, whose gradient keeps a kernel once more, with its axes in another order."""
    shutil.copytree(bundle, folder)
    forward = parse_graph((folder / "forward.onnx").read_bytes())
    kernel = forward.weights["bbox_head.cls_convs.0.conv.weight"]
    graph = onnx.load(folder / "gradient.neck.onnx", load_external_data=False)
    (tensor,) = (
        one for one in graph.graph.initializer for entry in one.external_data if entry.value == str(kernel.offset)
    )
    data = (folder / WEIGHTS).read_bytes()
    values = np.frombuffer(data[kernel.offset :][: kernel.length], np.float32).reshape(kernel.shape)
    (folder / WEIGHTS).write_bytes(data + values.transpose(3, 1, 0, 2).tobytes())
    graph.graph.node.insert(0, onnx.helper.make_node("Transpose", ["copy"], [tensor.name], perm=[2, 1, 3, 0]))
    tensor.name = "copy"
    tensor.dims[:] = [kernel.shape[axis] for axis in (3, 1, 0, 2)]
    for entry in tensor.external_data:
        entry.value = str(len(data)) if entry.key == "offset" else entry.value
    onnx.save(graph, folder / "gradient.neck.onnx")
    write_manifest(folder, boxcam.load(bundle).manifest)
    return folder


def test_gradients_that_keep_copies_of_weights_are_shuffled_too(model: Model, street: Image, tmp_path: Path) -> None:
    copied = boxcam.load(with_a_copy(model.path, tmp_path / "copied"), threads=1).runtime
    weights = Weights(copied)
    assert len(weights._copies) == 1
    shuffled = weights.shuffled(HEAD, 0, opened)
    found = completeness(copied, shuffled, street, "neck", [0, 1])
    assert np.allclose(found, 1, atol=0.15)
    assert np.allclose(found, completeness(model, Weights(model).shuffled(HEAD, 0, opened), street, "neck", [0, 1]))
    weights._copies.clear()
    wrong = weights.shuffled(HEAD, 0, opened)
    assert not np.allclose(completeness(copied, wrong, street, "neck", [0, 1]), 1, atol=0.5)


def test_a_map_that_cannot_be_made_is_no_number(model: Model, street: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise RunError("a box of infinite size")

    asked = rows("hirescam")
    monkeypatch.setattr("boxcam.explain.sanity.check.explain_again", fail)
    (((pair,),),) = Sanity(model, asked, 1, 0).measure(street, [explain(model, street, asked[0])], [0])
    assert all(map(math.isnan, pair))


def test_the_same_model_explains_the_same_numbers(model: Model, street: Image) -> None:
    for method in ("gradcam", "hirescam", "integrated-gradients", "regional-gradients"):
        options = Options(method=method, layer="neck", top=2)
        again = explain_again(model, street, options, model.predict(street), [0, 1])
        assert np.array_equal(again.maps, explain(model, street, options).maps)


def test_agreement_is_a_symmetric_matrix(model: Model, street: Image) -> None:
    explanations = [explain(model, street, options) for options in rows("gradcam", "hirescam", "gradcam")]
    found = np.array(agreement(explanations, 0))
    assert np.array_equal(found, found.T)
    assert np.diag(found) == pytest.approx(1)
    assert found[0, 2] == pytest.approx(1)
    assert found[0, 1] < 0.9


# What is refused


def test_methods_without_a_logit_are_refused(model: Model) -> None:
    with pytest.raises(
        ArgumentError, match=r"sanity= compares gradients of the same logit, and the method 'd-rise' is made"
    ):
        Sanity(model, [Options(method="d-rise")], 2, 0)


def test_models_that_cannot_be_shuffled_are_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "selecting_operator", lambda target: "RoiAlign")
    with pytest.raises(
        EngineError, match=r"chooses its boxes in the middle of the model \(RoiAlign\).* Leave out sanity="
    ):
        Weights(model)
    monkeypatch.undo()
    monkeypatch.setattr(randomised, "weight_layers", lambda graph, ends: ())
    with pytest.raises(EngineError, match=r"has no weights of 1 KB or more"):
        Weights(model)
    monkeypatch.undo()
    forward = parse_graph((model.path / "forward.onnx").read_bytes())
    without = {name: one for name, one in forward.weights.items() if one.name != "bbox_head.retina_cls.weight"}
    real = randomised.parse_graph
    graphs = iter([type(forward)(forward.nodes, without)])
    monkeypatch.setattr(randomised, "parse_graph", lambda data: next(graphs, None) or real(data))
    with pytest.raises(
        EngineError, match=r"keeps weights in a form of its own \(boxcam\.gradient.*\), which cannot be"
    ):
        Weights(model)


def test_no_room_for_the_weights(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = Weights(model)

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(randomised.shutil, "copyfile", full)
    with pytest.raises(RunError, match=r"cannot be written into .*: No space left on device\. Make room there"):
        weights.shuffled(1, 0, lambda model: None)
