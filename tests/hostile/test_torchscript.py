"""TorchScript is a program: it runs where it is asked for by name, and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result

import boxcam
from boxcam.errors import EngineError
from boxcam.runtime.engines import TorchScriptEngine
from boxcam.runtime.sessions import Device
from boxcam.runtime.tensors import Tensors
from tests.hostile.made import PICTURE, bundle

Cli = Callable[..., Result]


class Writing(torch.nn.Module):
    """A gradient that writes into a file, as soon as it is run."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(
        self, features: list[torch.Tensor], context: list[torch.Tensor], origin: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        written = torch.from_file(self.target, True, 4, dtype=torch.uint8).fill_(33)
        places = torch.zeros([origin.size(0), 4]) * written.sum()
        return [torch.zeros([48, 1, 1])] * origin.size(0), places, origin


class Slow(torch.nn.Module):
    """A gradient that takes a moment, and threads."""

    def forward(
        self, features: list[torch.Tensor], context: list[torch.Tensor], origin: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        a = torch.ones([300, 300])
        for _ in range(20):
            a = a @ a * 1e-9
        return [torch.zeros([1, 1, 1])] * origin.size(0), torch.zeros([origin.size(0), 4]), origin


def forged(folder: Path, target: Path) -> Path:
    """A bundle whose only gradient is TorchScript that writes into a file."""
    module = torch.jit.script(Writing(str(target)))
    path = bundle(folder)
    module.save(str(path / "gradient.neck.pt"))
    (path / "gradient.neck.onnx").unlink()
    (path / "gradient.neck.means.onnx").unlink()
    for head in (*path.glob("head*.onnx"), path / "candidates.onnx", path / "selection.onnx"):
        head.unlink()

    def change(data: dict[str, Any]) -> None:
        data["layers"][0]["gradients"] = [
            {**data["layers"][0]["gradients"][0], "engine": "torchscript", "file": "gradient.neck.pt", "means": ""}
        ]
        data["layers"][0]["heads"] = []
        data["candidates"] = None
        data["files"] = dict.fromkeys(("forward.onnx", "gradient.neck.pt", "weights.bin", "sample.png"), "")

    return bundle(folder, change)


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    (tmp_path / "diary.txt").write_bytes(b"mine")
    return tmp_path / "diary.txt"


def test_auto_does_not_run_it(diary: Path, tmp_path: Path, cli: Cli) -> None:
    path = forged(tmp_path, diary)
    done = cli("explain", path, PICTURE, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "for layer 'neck' by torchscript only" in done.stderr
    assert "a program, which runs with all your rights" in done.stderr
    assert "pass --engine torchscript." in done.stderr
    with pytest.raises(EngineError, match=r'pass engine="torchscript"\.'):
        boxcam.load(path).explain(PICTURE)
    assert diary.read_bytes() == b"mine"
    assert boxcam.load(path).methods()[:2] == ("gradcam", "hirescam")  # by name they can be had
    assert diary.read_bytes() == b"mine"


def test_neither_does_looking_at_it(diary: Path, tmp_path: Path, cli: Cli) -> None:
    assert cli("inspect", forged(tmp_path, diary)).exit_code == 0
    assert diary.read_bytes() == b"mine"


def test_who_asks_for_it_by_name_gets_it(diary: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("explain", forged(tmp_path, diary), PICTURE, "-o", tmp_path / "out", "--engine", "torchscript")
    assert done.exit_code == 0, done.stderr
    assert diary.read_bytes() == b"!!!!"  # so the tests above could have failed


def test_threads_of_torch_are_as_many_as_before(tmp_path: Path) -> None:
    torch.jit.script(Slow()).save(str(tmp_path / "a.pt"))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        engines = [TorchScriptEngine(tmp_path / "a.pt", Device(threads=1 + n % 2)) for n in range(4)]
        tensors = Tensors({"a": np.zeros((1, 1, 1, 1), np.float32)})

        def run(engine: TorchScriptEngine) -> None:
            for _ in range(20):
                engine.patches(tensors, ["a"], [], np.zeros((1, 2), np.int64))

        threads = [threading.Thread(target=run, args=(engine,)) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
