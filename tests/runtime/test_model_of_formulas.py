"""A bundle's model whose session and engines are stand-ins: what is run, for what, and what is made of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from boxcam.bundle import Layer, Manifest
from boxcam.errors import EngineError, RunError, UnknownLayerError, UnknownNameError
from boxcam.runtime import model as module
from boxcam.runtime.model import Model, Prediction
from boxcam.types import Patch
from tests.runtime.formulas import (
    ARRAYS,
    FORWARD,
    MANIFEST,
    NECK,
    PATH,
    PLACE,
    ROI,
    Session,
    gradient,
)


class Engine:
    """Gives what it is asked for."""

    opened: list[Any] = []  # noqa: RUF012 - of all of them

    def __init__(self, path: Path, device: Any) -> None:
        self.path = path
        self.opened.append((path, device))

    def patches(self, outputs: Any, features: Any, context: Any, origin: Any) -> Any:
        yield self.path.name, outputs, features, context, origin.tolist()


def model(manifest: Manifest = MANIFEST, **others: Any) -> Any:
    made: Any = object.__new__(Model)
    made.path, made.manifest, made._session = PATH, manifest, Session(**others)
    made._device = SimpleNamespace(threads=3, name="cuda", providers=("A", "B"))
    made._engines, made._selecting = {}, {}
    return made


@pytest.fixture(autouse=True)
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(Engine, "opened", [])
    for name in ("onnx", "torchscript"):
        monkeypatch.setitem(module.ENGINES._things, name, Engine)
    return Engine.opened


IMAGE = np.zeros((1, 3, 16, 48), np.float32)
ALWAYS = ["boxes", "scores", "labels", "origin", "logit"]
LAYER = {"p3", "p4", "onnx.logit.plain", "onnx.logit.guided"}


@pytest.mark.parametrize(
    ("given", "names", "keep"),
    [
        ({}, ALWAYS, set()),
        ({"layers": NECK}, [*ALWAYS, *sorted(LAYER)], LAYER),
        ({"layers": [NECK]}, [*ALWAYS, *sorted(LAYER)], LAYER),
        ({"layers": (), "extra": ("flat", "boxes", "map")}, [*ALWAYS, "flat", "map"], set()),
        ({"ends": True}, [*ALWAYS, "flat", "map"], {"flat", "map"}),
        ({"target": "score"}, [*ALWAYS, "where", "much"], set()),
        ({"target": "score", "ends": True}, [*ALWAYS, "where", "much"], {"scores"}),
        (
            {"target": ("score", None), "layers": NECK, "ends": True},
            [*ALWAYS, "where", "much", *sorted({*LAYER, "onnx.score.plain", "flat", "map"})],
            {*LAYER, "onnx.score.plain", "flat", "map", "scores"},
        ),
        (
            {"layers": [ROI, NECK], "engine": "torchscript"},
            [*ALWAYS, "p3", "p4", "pooled", "rois", "torchscript.logit.plain"],
            {"p3", "p4", "pooled", "rois", "torchscript.logit.plain"},
        ),
    ],
)
def test_a_pass_gives_what_is_needed_and_keeps_what_gradients_read(
    given: dict[str, Any], names: list[str], keep: set[str]
) -> None:
    made = model()
    found = made.forward(IMAGE, PLACE, **given)
    ((fed, asked, kept),) = made._session.asked
    assert list(fed) == ["image"]
    assert fed["image"] is IMAGE
    assert (asked, kept) == (names, keep)
    assert found.rows.tolist() == [2, 4, 0, 1, 3]
    assert found.detections.scores.tolist() == ARRAYS["scores"][[2, 4, 0, 1, 3]].tolist()
    assert found.detections.boxes[0].tolist() == [2, 4, 6, 12]  # the image is twice as high as the model's input
    assert found.transform is PLACE
    assert set(found.outputs) == set(names)


def test_an_image_is_prepared_and_its_boxes_are_found() -> None:
    made = model()
    picture = np.full((16, 48, 3), 9, np.uint8)
    found = made.predict(picture, NECK, "torchscript", "score", ends=True)
    ((fed, asked, keep),) = made._session.asked
    assert fed["image"].shape == (1, 3, 16, 48)
    assert (fed["image"] == 9).all()
    assert set(asked) == {*ALWAYS, "where", "much", "p3", "p4", "torchscript.score.plain"}
    assert keep == {"p3", "p4", "torchscript.score.plain", "scores"}
    assert found.detections.boxes[0].tolist() == [2, 2, 6, 6]
    assert made.detect(picture).scores.tolist() == found.detections.scores.tolist()
    assert made._session.asked[-1][1] == ALWAYS
    assert set(made.predict(picture, NECK).outputs) == {*ALWAYS, *LAYER}


def test_a_layer_of_several_groups_and_a_bundle_without_the_ends() -> None:
    made = model()
    del made._session.outputs["map"]
    made.forward(IMAGE, PLACE, ends=True)
    assert made._session.asked[-1][1:] == ([*ALWAYS, "flat"], {"flat"})


def test_a_target_has_a_number_for_each_box() -> None:
    made = model(much=np.zeros(4, np.float32))
    made.forward(IMAGE, PLACE)
    with pytest.raises(RunError) as caught:
        made.forward(IMAGE, PLACE, target="score")
    assert str(caught.value) == f"{FORWARD}: much does not have one number for each box. Export the model again."
    with pytest.raises(RunError, match=r"forward\.onnx: where is int64 \[4, 2\]"):
        model(where=ARRAYS["where"][:4]).forward(IMAGE, PLACE, target="score")
    with pytest.raises(RunError, match=r"forward\.onnx: p4 is \[1, 4, 2, 3\], and .* 3 channels"):
        model(p4=np.zeros((1, 4, 2, 3), np.float32)).forward(IMAGE, PLACE, NECK)


def test_numbers_that_cannot_be_are_those_of_the_forward_graph() -> None:
    with pytest.raises(RunError) as caught:
        model(scores=np.float32([0.5, 0.25, np.nan, 0.1, 0.6])).forward(IMAGE, PLACE)
    assert str(caught.value).startswith(f"{FORWARD} gives scores that are NaN")


def prediction(made: Any = None, **given: Any) -> Prediction:
    found: Prediction = (made or model()).forward(IMAGE, PLACE, NECK, ends=True, **given)
    return found


def test_where_the_targets_of_boxes_are_and_what_they_are_in_another_pass() -> None:
    made = model()
    seen = prediction(made)
    origin = made.origin(seen, [1, 0, 3])  # rows 4, 2, 1
    assert origin.tolist() == [[0, 1, 0, 0], [1, 0, 0, 1], [1, 0, 1, 2]]
    assert origin.dtype == np.int64
    assert made.origin(seen, []).shape == (0, 4)
    assert made.values(seen).tolist() == [12, 14, 10, 11, 13]
    assert made.values(seen).dtype == np.float32
    other = prediction(model(flat=np.float32([20, 21, 22, 23]), map=np.float32([[[25, 26, 27], [28, 29, 30]]])))
    numbers = made.at_origin(other, seen, [1, 0, 3])
    assert numbers.tolist() == [21, 26, 30]
    assert numbers.dtype == np.float32
    assert made.at_origin(made.forward(IMAGE, PLACE, extra=("map",)), seen, [0]) is None  # only one of both
    double = made.at_origin(prediction(model(flat=np.arange(4.0), map=ARRAYS["map"].astype(float))), seen, [1])
    assert (double.tolist(), double.dtype) == ([1], np.float32)
    scored = made.forward(IMAGE, PLACE, target="score", ends=True)
    assert made.values(scored, "score") == pytest.approx([0.75, 0.6, 0.5, 0.25, 0.1], abs=1e-3)
    assert made.origin(scored, [0], "score").tolist() == [[0, 2]]
    assert made.at_origin(scored, scored, [0, 4], "score") == pytest.approx([0.75, 0.1])


def test_patches_are_asked_for_in_portions_of_the_boxes_that_are_meant(engines: list[Any]) -> None:
    made = model()
    seen = prediction(made)
    found = list(made.patches(seen, NECK, [0, 1, 2, 3, 4]))
    rows = ARRAYS["origin"][[2, 4, 0, 1, 3]].tolist()
    assert [one[4] for one in found] == [rows[:2], rows[2:4], rows[4:]]
    assert {(name, tuple(features), context) for name, _, features, context, _ in found} == {
        ("onnx.logit.plain", ("p3", "p4"), ("onnx.logit.plain",))
    }
    assert all(outputs is seen.outputs for _, outputs, *_ in found)
    assert engines == [(PATH / "onnx.logit.plain", made._device)]
    assert [one[0] for one in made.patches(seen, NECK, [0], means=True)] == ["onnx.means"]
    assert [one[0] for one in made.patches(seen, NECK, [0], rules="guided")] == ["onnx.logit.guided"]
    assert [one[0] for one in made.patches(seen, NECK, [0], rules="guided", means=True)] == ["onnx.logit.guided"]
    assert [one[0] for one in made.patches(seen, NECK, [0], "torchscript")] == ["torchscript.logit.plain"]
    scored = made.forward(IMAGE, PLACE, NECK, target="score")
    (one,) = made.patches(scored, NECK, [0], target="score")
    assert (one[0], one[4]) == ("onnx.score.plain", [[0, 2]])
    assert len(engines) == 5  # each is opened once
    assert [one[0] for one in made.patches_at(seen, NECK, np.int64([[0, 1, 0, 0]]))] == ["onnx.logit.plain"]
    assert made.engine(made.gradient(NECK)).path.name == "onnx.logit.plain"
    assert list(made.patches(seen, NECK, [])) == []


def test_patches_of_the_boxes_of_another_pass_and_of_any_numbers(engines: list[Any]) -> None:
    made = model()
    seen = prediction(made)
    other = prediction(model(scores=np.float32([0.9, 0.8, 0.7, 0.6, 0.5])))
    (one,) = made.patches(other, NECK, [0], of=seen)
    assert one[4] == [[1, 0, 0, 1]]
    assert one[1] is other.outputs
    whole = Layer("neck", "map", NECK.tensors, (gradient(boxes_at_once=0),))
    found = list(made.patches_at(seen, whole, np.int64([[0, 1], [0, 2]])))
    assert [one[4] for one in found] == [[[0, 1]], [[0, 2]]]


WITH = "(engines that have one: {}). Export the model again with it, or pass another engine=."


@pytest.mark.parametrize(
    ("layer", "given", "said"),
    [
        (
            ROI,
            {},
            " has a gradient of 'logit' for layer 'roi' by torchscript only. That is a program, which runs with all"
            ' your rights: if you trust where the bundle comes from, pass engine="torchscript".',
        ),
        (ROI, {"engine": "onnx"}, f" has no 'onnx' gradient of 'logit' for layer 'roi' {WITH.format('torchscript')}"),
        (
            ROI,
            {"rules": "guided"},
            f" has no 'auto' gradient by guided rules of 'logit' for layer 'roi' {WITH.format('none')}",
        ),
        (ROI, {"target": "score"}, f" has no 'auto' gradient of 'score' for layer 'roi' {WITH.format('none')}"),
    ],
)
def test_gradients_that_are_not_there(layer: Layer, given: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError) as caught:
        model().gradient(layer, **given)
    assert str(caught.value) == f"bundle b.boxcam{said}"


def test_engines_that_have_one_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.ENGINES._things, "third", Engine)
    with pytest.raises(EngineError) as caught:
        model().gradient(NECK, "third")
    assert str(caught.value) == (
        f"bundle b.boxcam has no 'third' gradient of 'logit' for layer 'neck' {WITH.format('torchscript, onnx')}"
    )


def test_gradients_by_name() -> None:
    made = model()
    assert made.gradient(NECK).file == "onnx.logit.plain"  # though another one comes first
    assert made.gradient(NECK, "torchscript").file == "torchscript.logit.plain"
    assert made.gradient(ROI, "torchscript").file == "torchscript.logit.plain"
    assert made.gradient(NECK, "onnx", "score").file == "onnx.score.plain"
    assert made.gradient(NECK, target="logit", rules="guided").file == "onnx.logit.guided"
    for given in ({"engine": "onx"}, {"target": "logits"}):
        with pytest.raises(UnknownNameError):
            made.gradient(NECK, **given)


def test_layers_by_name_and_what_a_pass_can_give() -> None:
    made = model()
    assert (made.layers, made.layer(), made.layer("neck"), made.layer("roi")) == (("neck", "roi"), NECK, NECK, ROI)
    with pytest.raises(UnknownLayerError) as caught:
        made.layer("nek")
    assert str(caught.value) == (
        "bundle b.boxcam has no layer 'nek'. Did you mean 'neck'? There are: neck, roi. To explain another layer,"
        " export the model again with layers=."
    )
    assert made.outputs == tuple(made._session.outputs)
    assert (made.device, made.providers) == ("cpu", ("CPUExecutionProvider",))


def test_features_and_where_their_cells_lie() -> None:
    made = model()
    seen = made.forward(IMAGE, PLACE, [NECK, ROI], "torchscript")
    cells = np.zeros((3, 1, 1), np.float32)
    fine, coarse = Patch(0, 0, (0, 0), cells), Patch(1, 0, (0, 0), cells)
    assert made.activation(seen, NECK, coarse).tolist() == ARRAYS["p4"][0].tolist()
    assert made.activation(seen, ROI, Patch(0, 2, (0, 0), cells)).tolist() == ARRAYS["pooled"][2].tolist()
    grid = made.grid(seen, NECK, fine)  # the image is twice as high as the model's input
    assert (grid.y, grid.x, grid.cell_height, grid.cell_width) == (0, 0, 8, 8)
    assert (grid.rows, grid.columns) == ((0, 4), (0, 6))
    grid = made.grid(seen, NECK, coarse)
    assert (grid.y, grid.x, grid.cell_height, grid.cell_width) == (-4, -2, 16, 16)
    grid = made.grid(seen, ROI, Patch(0, 1, (0, 0), cells))
    assert (grid.y, grid.x, grid.cell_height, grid.cell_width) == (8, 8, 8, 4)
    assert grid.bounds == (8, 8, 16, 24)
    seen.outputs["rois"][1, 0] = np.nan
    with pytest.raises(RunError) as caught:
        made.grid(seen, ROI, Patch(0, 1, (0, 0), cells))
    said = str(caught.value)
    assert said.startswith(f"{FORWARD}: where the cells of pooled lie cannot be told (")
    assert said.endswith("). Export the model again.")


def test_the_operator_that_selects_boxes_is_read_once(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("TopK", ["x", "k"], ["flat", "i"]),
        onnx.helper.make_node("Relu", ["x"], ["scores"]),
        onnx.helper.make_node("Relu", ["x"], ["map"]),
    ]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [])), tmp_path / "forward.onnx")
    made = model()
    made.path = tmp_path
    assert made.selecting_operator("score") is None
    assert made.selecting_operator() == "TopK"
    (tmp_path / "forward.onnx").unlink()
    assert (made.selecting_operator(), made.selecting_operator("logit")) == ("TopK", "TopK")
    assert made.selecting_operator("score") is None


def test_another_bundle_is_opened_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    made = model()
    monkeypatch.setattr(module, "Model", lambda *given, **more: asked.append((given, more)))
    made.like("other")
    assert asked == [(("other",), {"threads": 3, "device": "cuda", "providers": ("A", "B")})]


@pytest.mark.parametrize("providers", [("CPUExecutionProvider",), ("CUDAExecutionProvider", "CPUExecutionProvider")])
def test_gradients_run_where_the_forward_pass_does(providers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    class Opened(Session):
        def __init__(self, path: Path, device: Any) -> None:
            super().__init__()
            self.providers = providers
            opened.append((path, device))

    monkeypatch.setattr(module, "Session", Opened)
    monkeypatch.setattr(module, "Device", lambda *given: given)
    monkeypatch.setattr(module.bundle, "read", lambda path: MANIFEST if path == PATH else None)
    made = Model(str(PATH), threads=2, device="cuda", providers=("A",))
    assert opened == [(PATH / "forward.onnx", ("cuda", 2, ("A",)))]
    assert made._device == (("cpu", 2) if len(providers) == 1 else ("cuda", 2, ("A",)))
    assert (made.path, made.manifest) == (PATH, MANIFEST)
    assert isinstance(made.engine(made.gradient(NECK)), Engine)
    assert (made._engines.keys(), made._selecting) == ({"onnx.logit.plain"}, {})
    opened.clear()
    Model(PATH)
    assert opened == [(PATH / "forward.onnx", ("cpu", 0, ()))]
