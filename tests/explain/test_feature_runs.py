"""Ablation-CAM and Recipro-CAM: formulas by hand, and maps against runs of a graph that onnx's own tool cut out."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam.bundle import MANIFEST, Layer, seal, write_manifest
from boxcam.errors import ArgumentError, BundleError, EngineError, RunError, UnknownLayerError, UnknownNameError
from boxcam.explain.methods.ablationcam import ablationcam
from boxcam.explain.methods.reciprocam import reciprocam
from boxcam.export.source import SOURCES
from boxcam.runtime.heads import HeadGraph
from boxcam.runtime.model import Model
from tests.explain.cut import Cut, ablated, alone, features_of, whole_map
from tests.export import two_stage
from tests.export.bundles import PICTURE, export

METHODS = ("ablation-cam", "recipro-cam")


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES._things, "two", two_stage.way(two_stage.source()))
        return export(tmp_path_factory.mktemp("rest") / "two.boxcam", engine="onnx")


@pytest.fixture
def street(signs: Path) -> Path:
    return signs / "images" / "street.jpg"


def with_layer(model: Model, name: str, **fields: Any) -> Model:
    """The same bundle, opened anew, whose manifest says something else of a layer's heads."""
    other = boxcam.load(model.path, threads=1).runtime
    layers = [
        dataclasses.replace(one, heads=tuple(dataclasses.replace(head, **fields) for head in one.heads))
        if one.name == name
        else one
        for one in other.manifest.layers
    ]
    other.manifest = dataclasses.replace(other.manifest, layers=tuple(layers))
    return other


def maps(model: Any, picture: Any, **given: Any) -> Any:
    from boxcam.explain.explainer import explain
    from boxcam.explain.options import Options

    return explain(getattr(model, "runtime", model), picture, Options(**given)).maps


def test_a_channel_weighs_what_the_target_falls_without_it() -> None:
    features = np.float32([[[1, 0]], [[0, 1]], [[1, 1]]])
    # Of y = 4: without the first 1 is left, without the second 4, without the third 6: weights 3/4, 0, -1/2.
    assert ablationcam(features, 4.0, np.float64([1, 4, 6])).tolist() == [[0.25, 0]]
    # Of y = -2 a channel that it falls without counts for it all the same: (-2 + 4) / 2 = 1.
    assert ablationcam(features, -2.0, np.float64([-4, -2, -2])).tolist() == [[1, 0]]
    assert ablationcam(features, 0.0, np.float64([-3, 0, 0])).tolist() == [[3, 0]]


def test_a_cell_is_what_the_target_is_by_it_alone() -> None:
    found = reciprocam(np.zeros((1, 1, 3), np.float32), -2.0, np.float64([[-2, 1, -5]]))
    assert (found.tolist(), found.dtype) == ([[0, 3, -3]], np.float32)


@pytest.mark.parametrize("layer", ["neck", "backbone"])
def test_maps_of_the_demo_are_those_of_the_graph_that_was_cut_by_onnx(
    signs_bundle: Path, signs_model: boxcam.Model, street: Path, layer: str
) -> None:
    model = signs_model.runtime
    of = model.layer(layer)
    import cv2

    prediction = model.predict(cv2.imread(str(street)), of, rest=True)
    heads = {head.end: head for head in of.heads}
    box = 4 if layer == "neck" else 0
    end, *position = model.origin(prediction, [box])[0].tolist()
    name = model.manifest.target().ends[end].name
    features = features_of(model, prediction, of)
    reads = [*features, *heads[name].context]
    graph = model.head(of, name)
    assert graph is not None
    inputs = {one: features.get(one, prediction.outputs.get(one)) for one in (*graph.features, *heads[name].context)}
    cut = Cut(signs_bundle, list(inputs), name)
    found = {method: signs_model.explain(street, method=method, layer=layer, rank=box + 1) for method in METHODS}
    parts = {method: {part.tensor: part for part in of.parts[0]} for method, of in found.items()}
    assert set(parts["ablation-cam"]) == set(parts["recipro-cam"]) <= set(reads)
    for tensor in parts["ablation-cam"]:
        shape = features[tensor].shape[2:]
        want = ablated(cut, inputs, tensor, 0, position)
        assert whole_map(parts["ablation-cam"][tensor].cells, shape) == pytest.approx(want, abs=1e-4 * want.max())
        want = alone(cut, inputs, of, tensor, 0, position)
        got = whole_map(parts["recipro-cam"][tensor].cells, shape)
        assert want.any()
        assert got == pytest.approx(want, abs=1e-4 * np.abs(want).max())


def test_nothing_outside_of_a_box_s_window_counts(signs_model: boxcam.Model, street: Path) -> None:
    """What is run on windows alone is what is run on whole maps, of cells in a window or of all, together or alone."""
    model = signs_model.runtime
    assert {head.scope for head in model.layer("neck").heads} == {"window"}
    assert all(head.batch for head in model.layer("neck").heads)
    given = {"layer": "neck", "score": 0, "rank": [4, 6, 7]}  # of the map of 10 x 10 cells
    for method in METHODS:
        first = maps(model, street, method=method, **given)
        assert all(one.any() for one in first)
        for fields in ({"scope": "cells"}, {"scope": "map"}, {"scope": "map", "batch": False}):
            other = maps(with_layer(model, "neck", **fields), street, method=method, **given)
            assert np.allclose(other, first, rtol=1e-3, atol=1e-4 * float(np.abs(first).max()))


def test_windows_are_all_that_is_run(signs_model: boxcam.Model, street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, sizes = HeadGraph._several, []

    def counting(self: Any, tensors: Any, row: int, changed: Any) -> Any:
        sizes.extend([one[self.features[0]].shape for one in changed])
        return real(self, tensors, row, changed)

    monkeypatch.setattr(HeadGraph, "_several", counting)
    said: list[tuple[int, int]] = []
    signs_model.explain(street, method="recipro-cam", layer="neck", top=1, progress=lambda *of: said.append(of))
    assert set(sizes) == {(48, 5, 5)}
    assert len(sizes) <= 26
    assert (said[0], said[-1]) == ((0, 2125), (2125, 2125))


@pytest.mark.parametrize("method", METHODS)
def test_proposals_are_run_row_by_row(two_stages: Path, method: str) -> None:
    loaded = boxcam.load(two_stages, threads=1)
    model = loaded.runtime
    layer = model.layer("roi")
    (head,) = layer.heads
    assert (head.batch, head.scope, head.file) == (True, "map", "head.roi.onnx")
    prediction = model.predict(PICTURE, layer)
    origins = model.origin(prediction, range(len(prediction.detections)))
    features = features_of(model, prediction, layer)
    cut = Cut(two_stages, list(features), "logits")
    found = loaded.explain(PICTURE, method=method, layer="roi", score=0)
    assert len(found) == two_stage.FOUND
    for box, (_, row, *_rest) in enumerate(origins.tolist()):
        position = origins[box, 1:].tolist()
        (part,) = found.parts[box]
        if method == "ablation-cam":
            want = ablated(cut, features, "pooled", row, position)
        else:
            want = alone(cut, features, layer, "pooled", row, position)
        assert part.cells.values == pytest.approx(want, abs=1e-4 * float(np.abs(want).max()))
    whole = maps(with_layer(model, "roi", batch=False), PICTURE, method=method, layer="roi", score=0)
    assert whole == pytest.approx(found.maps, abs=1e-4 * float(np.abs(whole).max()))


def test_where_boxes_are_chosen_after_the_layer_it_is_refused(two_stages: Path) -> None:
    model = boxcam.load(two_stages, threads=1)
    assert [bool(layer.heads) for layer in model.manifest.layers] == [True, False, False]
    for method in METHODS:
        assert method in model.methods()
        for layer in ("neck", "early"):
            words = rf"'{method}' runs the model again from layer '{layer}' on, and the model chooses its boxes after"
            with pytest.raises(UnknownNameError, match=words + r" it \(RoiAlign\), so .* Choose another layer \(roi\)"):
                model.prepare(method=method, layer=layer)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_feature_map_or_not_there_is_refused(signs_model: boxcam.Model, method: str) -> None:
    with pytest.raises(UnknownLayerError, match="'nek'"):
        signs_model.prepare(method=method, layer="nek")
    words = (
        r"is one of feature maps, and layer 'image' is the image\. Choose another layer \(neck, backbone\), or another"
    )
    with pytest.raises(UnknownNameError, match=rf"the method '{method}' {words}"):
        signs_model.prepare(method=method, layer="image")
    with pytest.raises(ArgumentError, match=rf"the method '{method}' has no masks"):
        signs_model.prepare(method=method, masks=3)


@pytest.fixture
def earlier(two_stages: Path, tmp_path: Path) -> Path:
    """A bundle as an earlier boxcam wrote it."""
    folder = Path(shutil.copytree(two_stages, tmp_path / "earlier"))
    data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for layer in data["layers"]:
        for head in layer.pop("heads"):
            (folder / head["file"]).unlink()
            del data["files"][head["file"]]
    data["seal"] = seal(data)
    (folder / MANIFEST).write_text(json.dumps(data), encoding="utf-8")
    return folder


def test_a_bundle_of_an_earlier_boxcam_is_read_and_asks_to_be_exported_again(earlier: Path) -> None:
    model = boxcam.load(earlier, threads=1)
    assert all(layer.heads == () for layer in model.manifest.layers)
    assert model.explain(PICTURE, layer="roi", method="gradcam", score=0).maps.any()
    assert not set(METHODS) & set(model.methods())
    for method in METHODS:
        words = r"from layer '{}' on, and {}.* If an earlier boxcam exported the bundle, export the model again; otherw"
        with pytest.raises(EngineError, match=words.format("roi", "bundle .*earlier has no graph for that")):
            model.explain(PICTURE, layer="roi", method=method, score=0)
        with pytest.raises(
            EngineError, match=words.format("neck", r"the model chooses its boxes after it \(RoiAlign\)")
        ):
            model.explain(PICTURE, layer="neck", method=method, score=0)


def changed(bundle: Path, folder: Path, **fields: Any) -> Path:
    """A bundle whose manifest says something else of the head."""
    copy = Path(shutil.copytree(bundle, folder))
    manifest = boxcam.load(bundle, threads=1).manifest
    first, *others = manifest.layers
    layers: tuple[Layer, ...] = (
        dataclasses.replace(first, heads=(dataclasses.replace(first.heads[0], **fields),)),
        *others,
    )
    write_manifest(copy, dataclasses.replace(manifest, layers=layers))
    return copy


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"file": "head.other.onnx"}, r"has no hash of head\.other\.onnx"),
        ({"file": "manifest.json"}, "the file of a head ends in .onnx"),
        ({"end": "pooled"}, "no target is taken from 'pooled'"),
        ({"scope": "window", "batch": False}, "a graph that is run on windows takes a batch"),
        ({"context": ("a", "a")}, "'a' is there twice"),
        ({"scope": "cell"}, "'cell' is none of"),
        ({"context": ("missing",)}, "lacks missing, which the manifest lists"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(two_stages: Path, tmp_path: Path, fields: Any, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        boxcam.load(changed(two_stages, tmp_path / "b", **fields), threads=1)


@pytest.mark.parametrize("file", ["gradient.roi.onnx", "forward.onnx"])
def test_another_graph_in_its_place_is_refused(two_stages: Path, tmp_path: Path, file: str) -> None:
    model = boxcam.load(changed(two_stages, tmp_path / "b", file=file), threads=1)
    for call in (model.prepare, lambda **given: model.explain(PICTURE, score=0, **given)):
        with pytest.raises(BundleError, match="is not the graph from layer 'roi' to logits that the manifest lists"):
            call(method="ablation-cam", layer="roi")


def test_a_row_of_another_proposal_is_refused(two_stages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = boxcam.load(two_stages, threads=1)
    real = type(model.runtime).origin

    def other(*given: Any) -> Any:
        found = real(*given).copy()
        found[:, 1] = (found[:, 1] + 1) % two_stage.PROPOSALS
        return found

    def patches(self: Any, prediction: Any, layer: Any, boxes: Any, *given: Any, **more: Any) -> Any:
        origin = real(self, prediction, boxes)
        more.pop("means")
        return self.patches_at(prediction, layer, origin, *given, **more)

    monkeypatch.setattr(type(model.runtime), "patches", patches)
    monkeypatch.setattr(type(model.runtime), "origin", other)
    with pytest.raises(RunError, match=r"gives row \d+ for row \d+ of pooled\. Export the model again"):
        model.explain(PICTURE, layer="roi", method="ablation-cam", score=0)


def test_a_target_without_a_graph_of_its_own_is_refused(two_stages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = boxcam.load(two_stages, threads=1)
    monkeypatch.setattr(type(model.runtime), "head", lambda *given: None)
    with pytest.raises(EngineError, match="no graph of the model from layer 'roi' to logits, which the method 'rec"):
        model.explain(PICTURE, layer="roi", method="recipro-cam", score=0)


@pytest.mark.parametrize(("cut", "shape"), [(np.s_[:, :0], r"\[1, 0\]"), (np.s_[..., None, None], r"\[1, 3, 1, 1\]")])
def test_an_output_without_the_box_s_place_is_refused(
    two_stages: Path, monkeypatch: pytest.MonkeyPatch, cut: Any, shape: str
) -> None:
    model = boxcam.load(two_stages, threads=1)
    real = HeadGraph._several
    monkeypatch.setattr(HeadGraph, "_several", lambda *given: (one[cut] for one in real(*given)))
    with pytest.raises(RunError, match=rf"gives {shape}, which has no place \[0, \d+\]\. Export the model again"):
        model.explain(PICTURE, layer="roi", method="ablation-cam", score=0)


def test_numbers_that_are_none_are_refused(two_stages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = boxcam.load(two_stages, threads=1)
    real = HeadGraph._several
    monkeypatch.setattr(HeadGraph, "_several", lambda *given: (one * np.nan for one in real(*given)))
    with pytest.raises(RunError, match="NaN or infinite"):
        model.explain(PICTURE, layer="roi", method="ablation-cam", score=0)


def test_the_window_of_a_whole_gradient_is_not_what_a_number_depends_on(
    signs_model: boxcam.Model, street: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is where the gradient is not zero: all cells are tried then, and the map is the same."""
    expected = maps(signs_model, street, method="recipro-cam", layer="neck")
    real, tried = Model.gradient, []
    monkeypatch.setattr(Model, "gradient", lambda *given: dataclasses.replace(real(*given), form="whole"))
    run = HeadGraph.run
    monkeypatch.setattr(HeadGraph, "run", lambda self, *given: (tried.append(1) or one for one in run(self, *given)))
    found = maps(signs_model, street, method="recipro-cam", layer="neck")
    assert len(tried) > 400  # cells of a level of 20x20
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(np.abs(expected).max()))
