"""A TorchScript module finds its weights in the file next to it, and says so if they are not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from boxcam.bundle import PLACES, WEIGHTS
from boxcam.errors import EngineError
from boxcam.export.graphs.dequantized import Dequantized
from boxcam.export.graphs.weights import WeightsFile
from boxcam.export.torchscript.saving import save
from boxcam.runtime.engines import TorchScriptEngine, load_module


class Layer(torch.nn.Module):
    """A matrix of two kilobytes, another that it was rounded to, and numbers that stay with it."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.register_buffer("matrix", torch.from_numpy(rng.standard_normal((16, 32)).astype(np.float32)))
        self.register_buffer("rounded", torch.from_numpy(rng.standard_normal((32, 16)).astype(np.float16)).float())
        self.register_buffer("index", torch.arange(200).flip(0))
        self.register_buffer("one", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ self.matrix @ self.rounded * self.one)[self.index % 4]


def integers(kind: str, zero: int | None) -> Dequantized:
    """Numbers of another shape than the tensor that they mean, with a scale for each row."""
    rng = np.random.default_rng(2)
    scale = rng.uniform(0.001, 0.01, (32, 1)).astype(np.float32)
    info = np.iinfo(kind)
    whole = rng.integers(info.min, info.max + 1, (32, 16)).astype(kind)
    return Dequantized(whole, scale, None if zero is None else np.full((32, 1), zero, np.float32))


class Meant(torch.nn.Module):
    """A matrix that integers mean, laid out anew."""

    def __init__(self, of: Dequantized) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.from_numpy(of.real().reshape(16, 32)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.matrix


@pytest.fixture
def meant(tmp_path: Path) -> Path:
    """A module of integers with a zero point."""
    return written(tmp_path, integers("uint8", 131))


def written(folder: Path, of: Dequantized) -> Path:
    with WeightsFile(folder / WEIGHTS, [of]) as weights:
        save(torch.jit.script(Meant(of).eval()), folder / "layer.pt", weights)
    return folder / "layer.pt"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    layer = Layer().eval()
    with WeightsFile(tmp_path / WEIGHTS) as weights:
        weights.place(np.arange(300, dtype=np.uint8))  # so that nothing else begins at 0
        weights.place(layer.get_buffer("rounded").half().numpy())
        save(torch.jit.script(layer), tmp_path / "layer.pt", weights)
    return tmp_path / "layer.pt"


def places(file: Path) -> dict[str, Any]:
    extra = {PLACES: ""}
    torch.jit.load(str(file), _extra_files=extra)
    found: dict[str, Any] = json.loads(extra[PLACES])
    return found


def test_large_constants_are_read_from_the_weights(file: Path) -> None:
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((4, 16)).astype(np.float32))
    assert torch.equal(load_module(file)(x), Layer()(x))
    found = places(file)
    assert {name: (place["type"], place["narrow"]) for name, place in found.items()} == {
        "matrix": ("float32", False),
        "rounded": ("float32", True),  # it is what the float16 one is in float32, which is there
        "index": ("int64", False),
    }
    assert all(place["offset"] % 64 == 0 for place in found.values())
    data = file.with_name(WEIGHTS).read_bytes()
    for name, dtype in (("matrix", np.float32), ("rounded", np.float16), ("index", np.int64)):
        there = np.frombuffer(data, dtype, getattr(Layer(), name).numel(), found[name]["offset"])
        assert np.array_equal(there, getattr(Layer(), name).numpy().astype(dtype).reshape(-1))


@pytest.mark.parametrize(("kind", "zero"), [("int8", None), ("uint8", 131), ("int16", -9), ("uint16", 30000)])
def test_of_integers_the_file_has_these(kind: str, zero: int | None, tmp_path: Path) -> None:
    """To the last bit the numbers are those that they mean; of a kind that not every PyTorch has, these are kept."""
    of = integers(kind, zero)
    file = written(tmp_path, of)
    (matrix,) = (buffer for _, buffer in load_module(file).named_buffers())
    assert np.array_equal(matrix.numpy(), of.real().reshape(16, 32))
    (place,) = places(file).values()
    assert place["type"] == ("float32" if kind == "uint16" else kind)
    assert ("zero" in place) is (zero is not None and kind != "uint16")
    size = file.with_name(WEIGHTS).stat().st_size
    assert size <= {"int8": 512 + 128, "uint8": 512 + 256, "int16": 1024 + 256, "uint16": 2048}[kind]


INTEGERS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "real numbers with a scale": (lambda place: place.update(type="float32", shape=[16, 4]), "float32 needs no scale"),
    "a scale beyond the end": (lambda place: place["scale"].update(offset=1 << 40), "are not in"),
    "a scale of more rows": (lambda place: place["scale"].update(shape=[2, 16, 1]), "must match the size"),
    "a zero point of words": (lambda place: place.update(zero="none"), "'matrix' are not described"),
    "no scale": (lambda place: place.update(scale=None), "'matrix' are not described"),
    "another shape": (lambda place: place.update(real=[16, 16]), "shape"),
    "no shape": (lambda place: place.pop("real"), "'matrix' are not described"),
}


@pytest.mark.parametrize("case", INTEGERS)
def test_integers_without_a_meaning_are_refused(case: str, meant: Path) -> None:
    harm, expected = INTEGERS[case]
    found = places(meant)
    module = torch.jit.load(str(meant))
    harm(found["matrix"])
    torch.jit.save(module, str(meant), _extra_files={PLACES: json.dumps(found)})
    before = meant.with_name(WEIGHTS).read_bytes()
    with pytest.raises(EngineError, match=rf"layer\.pt cannot be loaded by PyTorch \d.*({expected})"):
        TorchScriptEngine(meant)
    assert meant.with_name(WEIGHTS).read_bytes() == before


def test_in_double_precision_and_back(file: Path) -> None:
    """As finite differences need it; the file is not written to."""
    before = file.with_name(WEIGHTS).read_bytes()
    module = load_module(file)
    module.double().float()
    for _, buffer in module.named_buffers():
        buffer.zero_()
    assert file.with_name(WEIGHTS).read_bytes() == before


def test_a_module_with_nothing_large_needs_no_weights(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / "plain.pt"))
    assert load_module(tmp_path / "plain.pt")(torch.tensor([-1.0, 1.0])).tolist() == [0.0, 1.0]


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "beyond the end": (lambda found: found["matrix"].update(offset=1 << 40), "2048 bytes at 1099511627776 are not in"),
    "before the beginning": (lambda found: found["matrix"].update(offset=-64), "2048 bytes at -64 are not in"),
    "a shape that is too large": (lambda found: found["matrix"].update(shape=[1 << 40, 1 << 40]), "are not in"),
    "a shape below nothing": (lambda found: found["matrix"].update(shape=[-16, 32]), "are not in"),
    "another type": (lambda found: found["matrix"].update(type="int32"), "type"),
    "no type": (lambda found: found["matrix"].update(type="load"), "there is no type 'load'"),
    "no offset": (lambda found: found["matrix"].pop("offset"), "'matrix' are not described as they should be"),
    "an offset of words": (lambda found: found["matrix"].update(offset="0"), "'matrix' are not described"),
    "another name": (lambda found: found.update(other=found.pop("matrix")), "'other' are not described"),
    "a list": (lambda found: found.update(matrix=[0]), "'matrix' are not described"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_has_no_meaning_is_refused(case: str, file: Path) -> None:
    harm, expected = DAMAGE[case]
    found = places(file)
    module = torch.jit.load(str(file))
    harm(found)
    torch.jit.save(module, str(file), _extra_files={PLACES: json.dumps(found)})
    with pytest.raises(EngineError, match=rf"layer\.pt cannot be loaded by PyTorch \d.*{expected}"):
        TorchScriptEngine(file)


@pytest.mark.parametrize("text", ["[1]", "{", "3", '"matrix"'])
def test_a_list_of_weights_that_is_none(text: str, file: Path) -> None:
    module = torch.jit.load(str(file))
    torch.jit.save(module, str(file), _extra_files={PLACES: text})
    with pytest.raises(EngineError, match=r"layer\.pt cannot be loaded by PyTorch \d"):
        TorchScriptEngine(file)


def test_weights_that_are_lost(file: Path) -> None:
    file.with_name(WEIGHTS).unlink()
    with pytest.raises(EngineError, match=r"layer\.pt cannot be loaded by PyTorch \d"):
        TorchScriptEngine(file)
