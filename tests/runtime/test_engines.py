"""Gradient engines: found by name, the same result however boxes are grouped, and errors that say what is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam.errors import BoxcamWarning, EngineError, UnknownNameError
from boxcam.runtime.engines import ENGINES, OnnxEngine, TorchScriptEngine
from boxcam.runtime.images import read_image
from boxcam.runtime.sessions import Device
from boxcam.runtime.tensors import Tensors

CASES = {"onnx": OnnxEngine, "torchscript": TorchScriptEngine}


def test_every_engine_has_a_case() -> None:
    assert {name: ENGINES[name] for name in ENGINES} == CASES


ONE = Device(threads=1)


def tensors_of(explanation: boxcam.Explanation) -> list[list[str]]:
    """Which tensors each box's map is of."""
    return [[part.tensor for part in parts] for parts in explanation.parts]


def given(model: boxcam.Model, signs: Path, layer: str, engine: str = "torchscript") -> tuple[Any, Any, Any, Any]:
    """A layer's gradient, the tensors of a forward pass, the names of those that it needs, and the origin of boxes."""
    chosen = model.runtime.layer(layer)
    found = model.runtime.predict(read_image(signs / "images" / "cat.jpg"), chosen, engine)
    gradient = model.runtime.gradient(chosen, engine)
    names = [tensor.name for tensor in chosen.tensors], gradient.context
    return gradient, found.outputs, names, found.detections.origin


@pytest.mark.parametrize("layer", ["neck", "backbone"])
@pytest.mark.parametrize("engine", CASES)
def test_patches_are_the_same_one_by_one_and_together(
    engine: str, layer: str, signs: Path, signs_bundle: Path, signs_model: boxcam.Model
) -> None:
    gradient, tensors, names, origin = given(signs_model, signs, layer, engine)
    running = ENGINES[engine](signs_bundle / gradient.file, ONE)
    together = running.patches(tensors, *names, origin[:5])
    assert len(together) == 5
    for k, (patch,) in enumerate(together):
        ((alone,),) = running.patches(tensors, *names, origin[k : k + 1])
        assert (alone.tensor, alone.row, alone.corner) == (patch.tensor, patch.row, patch.corner)
        assert np.allclose(alone.gradient, patch.gradient, rtol=1e-3, atol=1e-5 * np.abs(patch.gradient).max())
        assert patch.gradient.dtype == np.float32
        assert patch.gradient.flags.c_contiguous
        assert patch.gradient.any()
        assert patch.row == 0
        assert patch.gradient.shape[0] == tensors[names[0][patch.tensor]].shape[1]
    assert running.patches(tensors, *names, origin[:0]) == []


@pytest.mark.parametrize("layer", ["neck", "backbone"])
def test_engines_agree(layer: str, signs: Path, signs_bundle: Path, signs_model: boxcam.Model) -> None:
    maps = {
        engine: boxcam.explain(signs_model, signs / "images" / "cat.jpg", method="hirescam", layer=layer, engine=engine)
        for engine in CASES
    }
    first, *others = maps.values()
    assert len(first) >= 3
    for other in others:
        assert tensors_of(other) == tensors_of(first)
        assert np.allclose(other.maps, first.maps, rtol=1e-3, atol=1e-5 * np.abs(first.maps).max())


@pytest.mark.parametrize("engine", CASES)
def test_inputs_are_left_alone_and_may_be_read_only(
    engine: str, signs: Path, signs_bundle: Path, signs_model: boxcam.Model
) -> None:
    gradient, tensors, names, origin = given(signs_model, signs, "neck", engine)
    running = ENGINES[engine](signs_bundle / gradient.file, ONE)
    expected = running.patches(tensors, *names, origin[[0, 2]])
    frozen = {name: np.asfortranarray(tensors[name].copy()) for name in tensors}
    for array in frozen.values():
        array.setflags(write=False)
    found = running.patches(Tensors(frozen), *names, origin[:4][::2])  # not contiguous either
    assert np.array_equal(found[0][0].gradient, expected[0][0].gradient)
    assert all(np.array_equal(frozen[name], tensors[name]) for name in tensors)


def test_it_works_where_the_caller_has_turned_gradients_off(
    signs: Path, signs_bundle: Path, signs_model: boxcam.Model
) -> None:
    import torch

    gradient, tensors, names, origin = given(signs_model, signs, "neck")
    running = ENGINES["torchscript"](signs_bundle / gradient.file, ONE)
    expected = running.patches(tensors, *names, origin[:1])
    with torch.no_grad():
        found = running.patches(tensors, *names, origin[:1])
    assert np.array_equal(found[0][0].gradient, expected[0][0].gradient)


def test_torch_is_missing(signs_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        EngineError, match=r"PyTorch is needed, and is not installed here. Install it with: pip install torch"
    ):
        TorchScriptEngine(signs_bundle / "gradient.neck.pt")


def test_a_file_that_torch_cannot_load_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "neck.pt").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(EngineError, match=r"neck\.pt cannot be loaded by PyTorch \d") as caught:
        TorchScriptEngine(tmp_path / "neck.pt")
    assert "\n" not in str(caught.value)


def test_an_engine_is_opened_once(signs_model: boxcam.Model) -> None:
    layer = signs_model.runtime.layer("neck")
    by_onnx, by_torch = (signs_model.runtime.gradient(layer, engine) for engine in ("onnx", "torchscript"))
    assert signs_model.runtime.engine(by_onnx) is signs_model.runtime.engine(signs_model.runtime.gradient(layer))
    assert signs_model.runtime.engine(by_torch) is signs_model.runtime.engine(by_torch)
    assert signs_model.runtime.engine(by_onnx) is not signs_model.runtime.engine(by_torch)
    other = signs_model.runtime.gradient(signs_model.runtime.layer("backbone"))
    assert signs_model.runtime.engine(by_onnx) is not signs_model.runtime.engine(other)


def test_engines_that_are_not_there(signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = signs_model.runtime.layer("neck")
    assert signs_model.runtime.gradient(layer).engine == signs_model.runtime.gradient(layer, "onnx").engine == "onnx"
    with pytest.raises(UnknownNameError, match=r"no engine 'torchscrip'\. Did you mean 'torchscript'\?"):
        signs_model.runtime.gradient(layer, "torchscrip")
    monkeypatch.setitem(ENGINES._things, "another", TorchScriptEngine)
    with pytest.raises(
        EngineError,
        match=r"has no 'another' gradient of 'logit' for layer 'neck' \(engines that have one: onnx, torchscript\)",
    ):
        signs_model.runtime.gradient(layer, "another")


def test_torch_is_left_as_it_was_and_its_modes_do_not_matter(
    signs: Path, signs_bundle: Path, signs_model: boxcam.Model
) -> None:
    import torch

    gradient, tensors, names, origin = given(signs_model, signs, "neck")
    running = TorchScriptEngine(signs_bundle / gradient.file, ONE)
    expected = running.patches(tensors, *names, origin[:2])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            found = running.patches(tensors, *names, origin[:2])
            assert torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for (one,), (other,) in zip(found, expected, strict=True):
        assert np.allclose(one.gradient, other.gradient, rtol=1e-3, atol=1e-7)
    with torch.no_grad():
        with pytest.raises(EngineError, match=r"the gradient .* failed"):
            running.patches(tensors, names[0][:1], names[1], origin[:2])
        assert not torch.is_grad_enabled()


def test_torchscript_on_a_gpu_says_that_it_stays_on_the_cpu(signs_model: boxcam.Model, signs_bundle: Path) -> None:
    file = signs_bundle / signs_model.runtime.gradient(signs_model.runtime.layer("neck"), "torchscript").file
    with pytest.warns(BoxcamWarning, match="engine=.torchscript. computes gradients on the CPU only, not on cuda"):
        TorchScriptEngine(file, Device("cuda"))
