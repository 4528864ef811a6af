"""`boxcam.Model` hands on what it is given, each argument to its own place, and takes models and paths for what they
are."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam import model as module
from boxcam.bundle import MANIFEST
from boxcam.errors import ArgumentError, BundleError
from boxcam.model import Model, open_model

GIVEN: dict[str, Any] = {
    "method": "d-rise", "layer": ("image",), "fuse": "mean", "target": "score", "engine": "onnx", "score": 0.25,
    "top": 3, "classes": ("a",), "rank": (2,), "at": (1.0, 2.0, 3.0, 4.0), "against": "b",
    "masks": 11, "passes": 12, "samples": 13, "noise": 0.5, "seed": 14,
}  # fmt: skip
NOTHING = {**dict.fromkeys(GIVEN), "engine": "auto"}


class Runtime:
    """What a bundle's graphs would be; it remembers how it was opened."""

    layers, device, providers = ("neck", "roi"), "cuda", ("A", "B")

    def __init__(self, path: Any, **given: Any) -> None:
        if "missing" in os.fspath(path):
            raise BundleError(f"bundle {path} does not exist. Check the path.")
        self.path, self.given = Path(path), given
        targets = SimpleNamespace(name="logit"), SimpleNamespace(name="score")
        self.manifest = SimpleNamespace(labels=("a", "b"), targets=targets, preprocess=SimpleNamespace(channels=4))
        self.seen: list[Any] = []

    def detect(self, pixels: Any) -> Any:
        self.seen.append(pixels)
        return "found"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module.runtime_model, "Model", Runtime)
    return Model("some/b.boxcam", threads=3, device="cuda", providers=("A",))


def test_it_is_opened_as_it_is_asked_for(model: Any) -> None:
    assert model.runtime.path == Path("some/b.boxcam")
    assert model.runtime.given == {"threads": 3, "device": "cuda", "providers": ("A",)}
    assert Model(Path("b")).runtime.given == {"threads": 0, "device": "cpu", "providers": ()}


def test_what_it_tells_of_itself(model: Any) -> None:
    assert repr(model) == "<Model b.boxcam: 2 classes, layers neck, roi, on cuda>"
    model.manifest.labels = ("a",)
    assert repr(model) == "<Model b.boxcam: 1 class, layers neck, roi, on cuda>"
    model.manifest.labels = ()
    assert repr(model) == "<Model b.boxcam: classes without names, layers neck, roi, on cuda>"
    assert (model.path, model.layers, model.device) == (Path("some/b.boxcam"), ("neck", "roi"), "cuda")
    assert (model.providers, model.names, model.targets) == (("A", "B"), (), ("logit", "score"))
    assert model.manifest is model.runtime.manifest


def test_a_picture_is_read_with_its_channels_and_in_its_order(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_image", lambda *given: given)
    assert model.detect("a.png") == "found"
    assert model.detect("a.png", color="RGB") == "found"
    assert model.runtime.seen == [("a.png", "BGR", 4), ("a.png", "RGB", 4)]


@pytest.mark.parametrize(("given", "options"), [(GIVEN, GIVEN), ({}, NOTHING)])
def test_every_option_is_handed_on(
    given: dict[str, Any], options: dict[str, Any], model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def explain(*of: Any, **more: Any) -> str:
        asked.append((*of, more))
        return "maps"

    monkeypatch.setattr(module.explainer, "explain", explain)
    monkeypatch.setattr(module.explainer, "prepare", lambda *of: asked.append(of))
    monkeypatch.setattr(module.explainer, "usable_methods", lambda of: (of, "gradcam"))
    assert model.explain("a.png", **given, color="RGB", progress=print) == "maps"
    model.explain("a.png", **given)
    model.prepare(**given)
    first, second, prepared = asked
    assert (first[0], first[1], first[3]) == (model.runtime, "a.png", {"color": "RGB", "progress": print})
    assert second[3] == {"color": "BGR", "progress": None}
    assert prepared[0] is model.runtime
    for one in (first[2], second[2], prepared[1]):
        assert asdict(one) == options
    assert model.methods() == (model.runtime, "gradcam")


def test_what_is_no_path(model: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        Model(b"b.boxcam")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "a bundle is given by its path, not by a value of type bytes. Pass the bundle's folder."
    )


def test_what_else_was_given_is_said_if_it_can_be_told(model: Any, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        Model("missing.boxcam")
    (tmp_path / "missing.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"is not a bundle: a bundle is a folder\. 'boxcam inspect"):
        Model(tmp_path / "missing.onnx")


def test_models_and_paths_are_opened(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_model(model, "a.png") is model.runtime
    assert open_model(model.runtime, "a.png") is model.runtime
    for path in ("other.boxcam", Path("other.boxcam")):
        opened = open_model(path, "a.png")
        assert (type(opened), opened.path) == (Runtime, Path("other.boxcam"))


def test_a_model_in_the_place_of_the_image(model: Any, tmp_path: Path) -> None:
    bundle, other = tmp_path / "b.boxcam", tmp_path / "c.boxcam"
    for folder in (bundle, other):
        folder.mkdir()
        (folder / MANIFEST).write_text("{}")
    swapped = "the model and the image are swapped. Pass the model first, then the image."
    for image in (model, model.runtime, str(bundle), bundle):
        with pytest.raises(ArgumentError) as caught:
            open_model("a.png", image)
        assert str(caught.value) == swapped
    with pytest.raises(ArgumentError) as caught:
        open_model(str(bundle), model)
    assert str(caught.value) == swapped
    assert open_model(bundle, other).path == bundle  # both are bundles: the first one is the model
    assert open_model(bundle, tmp_path).path == bundle
    assert open_model(bundle, np.zeros((4, 4, 3), np.uint8)).path == bundle
    (tmp_path / "folder" / MANIFEST).mkdir(parents=True)  # no file
    assert open_model(tmp_path / "a.png", tmp_path / "folder").path == tmp_path / "a.png"


@pytest.mark.parametrize(("given", "kind"), [(None, "NoneType"), (3, "int"), (b"b", "bytes")])
def test_what_is_no_model(given: Any, kind: str, model: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        open_model(given, "a.png")
    assert str(caught.value) == (
        f"a model cannot be a value of type {kind}. Pass what boxcam.load returns, or a bundle's path."
    )


def test_load_is_the_same(model: Any) -> None:
    found = boxcam.load("b", threads=2)
    assert (type(found), found.runtime.given["threads"]) == (Model, 2)
