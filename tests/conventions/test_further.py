"""Further rows of the table: read as published, exported with their default layer, and their gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import boxcam
from boxcam.errors import SourceError
from boxcam.export.heads.conventions.table import CONVENTIONS
from tests.conventions.files import Levels, model_of, write
from tests.conventions.further import FURTHER
from tests.conventions.reading import PLAIN, expected, outputs, picture, read, same
from tests.export.sources.onnx.plain import SIZE, Plain, export, pixels, tensor
from tests.messages import check_message

CASES = [(name, classes) for name, layout in FURTHER.items() for classes in layout.counts]
NAMED = ("centernet",)
"""Those whose maps cannot be told apart but by their names."""


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("written", ["as it is", "stripped"])
def test_it_is_read_as_published(name: str, classes: int, written: str, tmp_path: Path) -> None:
    layout = FURTHER[name]
    if written == "stripped" and name.startswith(NAMED):
        return
    path = write(layout, tmp_path / "model.onnx", classes, strip=written == "stripped")
    found = read(path, **layout.options)
    assert found.convention.name == CONVENTIONS[layout.entry].title
    same(found.found, expected(layout, layout.truth(outputs(path, found.image), classes)))


@pytest.mark.parametrize("name", FURTHER)
def test_the_default_layer_and_its_gradient(name: str, tmp_path: Path) -> None:
    """By numpy: the gradient of the best box's logit by the map that its head reads, a window of 3x3 cells."""
    layout = FURTHER[name]
    classes = 2 if 2 in layout.counts else 1
    proto = model_of(layout, classes)
    onnx.save(proto, str(tmp_path / "m.onnx"))
    boxcam.export(tmp_path / "m.onnx", output=tmp_path / "m.boxcam", preprocess=PLAIN, engine="onnx", **layout.options)
    model = boxcam.load(tmp_path / "m.boxcam")
    assert [tensor.name for tensor in model.runtime.layer("neck").tensors] == [
        f"neck.{k}" for k in range(len(layout.strides))
    ]
    explanation = model.explain(picture(), method="hirescam", top=1)
    net = Levels(classes, layout.strides)
    layout.build(net)
    kind = "score" if name.startswith("scrfd") else "cls"
    (part,) = explanation.parts[0]
    level = int(part.tensor.rpartition(".")[2])
    first, shift, second, last = net.weights[f"{kind}.{level}"]
    extended = onnx.ModelProto.FromString(proto.SerializeToString())
    extended.graph.output.append(onnx.helper.make_empty_tensor_value_info(part.tensor))
    onnx.save(extended, str(tmp_path / "e.onnx"))
    from boxcam.runtime.preprocess import prepare

    neck = outputs(tmp_path / "e.onnx", prepare(picture(), model.manifest.preprocess)[0])[part.tensor][0]
    number, _, channel, y, x = explanation.detections.origin[0]
    assert model.manifest.target().ends[number].name == f"{kind}.{level}"
    padded = np.pad(neck, ((0, 0), (1, 1), (1, 1)))
    hidden = (first * padded[:, y : y + 3, x : x + 3]).sum((1, 2, 3)) + shift
    logit = second[channel, :, 0, 0] @ np.maximum(hidden, 0) + last[channel]
    assert explanation.detections.logits[0] == pytest.approx(logit, abs=1e-4)
    gradient = np.zeros_like(padded)
    gradient[:, y : y + 3, x : x + 3] = np.einsum("k,kcij->cij", second[channel, :, 0, 0] * (hidden > 0), first)
    wanted, found = (gradient * padded).sum(0), np.zeros(padded.shape[1:])
    top, left = part.cells.corner
    height, width = part.cells.values.shape
    found[top + 1 : top + 1 + height, left + 1 : left + 1 + width] = part.cells.values
    assert np.allclose(found, wanted, atol=1e-4)
    assert np.abs(wanted).max() > 0


def test_offsets_without_anchors_are_refused(tmp_path: Path) -> None:
    """Also when they are named, as earlier advice had it."""
    net = Levels(2)
    FURTHER["ssd, priors stored"].build(net)
    net.constants = [constant for constant in net.constants if constant.name != "stored"]
    onnx.save(net.proto({"loc": 1, "conf": 1}), str(tmp_path / "m.onnx"))
    for names in ({}, {"boxes": "loc", "scores": "conf"}, {"boxes": "loc"}):
        with pytest.raises(
            SourceError, match=r"the boxes loc \[1, \d+, 4\] are offsets from anchors .* with decode="
        ) as caught:
            read(tmp_path / "m.onnx", background="first", **names)
        check_message(str(caught.value))


def test_anchors_may_be_an_output_as_they_are(tmp_path: Path) -> None:
    """An output that no node makes."""
    layout = FURTHER["efficientdet"]
    proto = model_of(layout)
    (node,) = (one for one in proto.graph.node if one.output[0] == "anchors")
    (stored,) = (one for one in proto.graph.initializer if one.name == node.input[0])
    stored.name = "anchors"
    proto.graph.node.remove(node)
    onnx.save(proto, str(tmp_path / "m.onnx"))
    found = read(tmp_path / "m.onnx")
    same(found.found, expected(layout, layout.truth(outputs(tmp_path / "m.onnx", found.image), 3)))


ONE = {
    "[1, 1]": lambda net: net.node(
        "Sigmoid",
        [net.node("Slice", [net.logits(name="all"), np.array([0]), np.array([1]), np.array([1])])[0]],
        name="p",
    ),
    "[1]": lambda net: net.node(
        "Squeeze",
        [net.Sigmoid(net.Slice(net.logits(name="all"), np.array([0]), np.array([1]), np.array([1]))), np.array([1])],
        name="p",
    ),
    "[1, 1, 1, 1]": lambda net: net.node(
        "Sigmoid",
        [
            net.Reshape(
                net.Slice(net.logits(name="all"), np.array([0]), np.array([1]), np.array([1])), np.array([1, 1, 1, 1])
            )
        ],
        name="p",
    ),
}


@pytest.mark.parametrize("case", ONE)
def test_a_classifier_of_one_class(case: str, tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE))
    ONE[case](net)
    path = net.save(tmp_path / "m.onnx", ["p"])
    image = pixels()
    model = export(path, class_names=["yes"])
    (score,) = outputs(path, tensor(image)).values()
    explanation = model.explain(image, score=0.0)
    assert [(box.name, round(box.score, 5)) for box in explanation] == [("yes", round(float(score.reshape(-1)[0]), 5))]
    features = outputs_of_map(path, tensor(image))
    expected_map = np.maximum((net.matrix[:, 0, None, None] / features[0].size * features).sum(0), 0)
    assert np.allclose(explanation.parts[0][0].cells.values, expected_map, atol=1e-5)


def test_a_single_number_without_a_sigmoid_is_asked_for(tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE))
    net.node("Slice", [net.logits(name="all"), np.array([0]), np.array([1]), np.array([1])], name="p")
    path = net.save(tmp_path / "m.onnx", ["p"])
    with pytest.raises(
        SourceError, match=r"p \[1, 1\] may be a score for one class, but nothing .* convention="
    ) as caught:
        export(path)
    check_message(str(caught.value))
    image = pixels()
    (logit,) = outputs(path, tensor(image)).values()
    found = export(path, convention="classifier-one").detect(image)
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-float(logit.reshape(-1)[0]))), abs=1e-6)


@pytest.mark.parametrize("shape", [(1, -1, 1, 1), (1, 1, 1, -1)])
@pytest.mark.parametrize("done", [False, True])
def test_a_classifier_whose_scores_are_a_map_of_one_pixel(shape: tuple[int, ...], done: bool, tmp_path: Path) -> None:
    from tests.export.sources.onnx.plain import check

    net = Plain((1, 3, SIZE, SIZE))
    logits = net.logits(name="all")
    given = net.Softmax(logits, axis=1) if done else logits
    net.node("Reshape", [given, np.array(shape)], name="p")
    check(export(net.save(tmp_path / "m.onnx", ["p"])), tensor(pixels()), net, pixels())


def outputs_of_map(path: Path, given: np.ndarray) -> np.ndarray:
    model = onnx.load(str(path))
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("seen"))
    onnx.save(model, str(path.with_name("with_map.onnx")))
    found: np.ndarray = outputs(path.with_name("with_map.onnx"), given)["seen"][0]
    return found
