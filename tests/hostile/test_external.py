"""External data: nothing outside of the model's folder is read, however the model and the place are named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import boxcam
from boxcam.errors import SourceError
from boxcam.export.sources.onnx import file
from tests.hostile.made import model

SECRET = np.arange(32, dtype=np.float32).tobytes()


def outside(made: onnx.ModelProto, location: str, name: str = "w") -> None:
    """Let a constant's numbers lie in another file."""
    tensor = next(tensor for tensor in made.graph.initializer if tensor.name == name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(SECRET)))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def written(folder: Path, made: onnx.ModelProto) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return folder / "model.onnx"


LOCATIONS: dict[str, Callable[[Path], str]] = {
    "an absolute path": lambda folder: str(folder.parent / "secret.bin"),
    "a path upwards": lambda folder: "../secret.bin",
    "a path down and up": lambda folder: "inner/../../secret.bin",
    "a symbolic link": lambda folder: str((folder / "link.bin").symlink_to(folder.parent / "secret.bin") or "link.bin"),
    "a linked folder": lambda folder: str((folder / "up").symlink_to(folder.parent) or "up/secret.bin"),
    "a hard link": lambda folder: str(os.link(folder.parent / "secret.bin", folder / "hard.bin") or "hard.bin"),
    "nothing": lambda folder: "",
}


@pytest.mark.parametrize("named", ["model.onnx", "./model.onnx", "{}/model.onnx"])
@pytest.mark.parametrize("kind", LOCATIONS)
def test_a_file_elsewhere_is_not_read(kind: str, named: str, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "secret.bin").write_bytes(SECRET)
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    made = model()
    outside(made, LOCATIONS[kind](folder))
    written(folder, made)
    monkeypatch.chdir(folder)
    with pytest.raises(SourceError, match="keeps its weights in") as caught:
        boxcam.export(named.format(folder), output=tmp_path / "b", preprocess="imagenet")
    assert str(caught.value).endswith(".")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("named", ["model.onnx", "./model.onnx", "{}/model.onnx"])
@pytest.mark.parametrize("location", ["w.bin", "inner/w.bin", "./w.bin", "link.bin"])
def test_a_file_in_the_folder_or_below_is_read(named: str, location: str, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("w.bin", "inner/w.bin"):
        (tmp_path / name).write_bytes(SECRET)
    (tmp_path / "link.bin").symlink_to("w.bin")
    made = model()
    outside(made, location)
    written(tmp_path, made)
    monkeypatch.chdir(tmp_path)
    read = file.read(named.format(tmp_path))
    assert read.graph.initializers["w"].const_value.numpy().tobytes() == SECRET


def test_a_model_that_is_a_link_has_its_data_where_it_points_to(tmp_path: Path) -> None:
    """So do the caches of model hubs: both files are links into one folder, under other names."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    snapshot.mkdir()
    made = model()
    outside(made, "model.onnx_data")
    written(blobs, made).rename(blobs / "1f")
    (blobs / "2e").write_bytes(SECRET)
    (snapshot / "model.onnx").symlink_to(blobs / "1f")
    (snapshot / "model.onnx_data").symlink_to(blobs / "2e")
    read = file.read(str(snapshot / "model.onnx"))
    assert read.graph.initializers["w"].const_value.numpy().tobytes() == SECRET


@pytest.mark.parametrize("where", ["a constant", "a branch", "a function"])
def test_data_of_every_part_of_a_model_is_looked_at(where: str, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "secret.bin").write_bytes(SECRET)
    made = model()
    held = onnx.parser.parse_node("k = Constant <value = float[4, 8] {}> ()".replace("{}", "{" + "0," * 31 + "0}"))
    held.attribute[0].t.CopyFrom(made.graph.initializer[1])
    held.attribute[0].t.ClearField("name")
    graph = onnx.ModelProto()
    graph.graph.initializer.append(held.attribute[0].t)
    graph.graph.initializer[0].name = "w"
    outside(graph, "../secret.bin")
    held.attribute[0].t.CopyFrom(graph.graph.initializer[0])
    if where == "a constant":
        made.graph.node.insert(0, held)
    elif where == "a branch":
        inner = onnx.helper.make_graph([held], "inner", [], [onnx.helper.make_tensor_value_info("k", 1, [4, 8])])
        yes = onnx.helper.make_node("Constant", [], ["yes"], value=onnx.helper.make_tensor("", 9, [], [True]))
        chosen = onnx.helper.make_node("If", ["yes"], ["z"], then_branch=inner, else_branch=inner)
        made.graph.node.insert(0, chosen)
        made.graph.node.insert(0, yes)
    else:
        opsets = [onnx.helper.make_opsetid("", 17)]
        made.functions.append(onnx.helper.make_function("own", "f", [], ["k"], [held], opsets))
        made.graph.node.insert(0, onnx.helper.make_node("f", [], ["z"], domain="own"))
        made.opset_import.append(onnx.helper.make_opsetid("own", 1))
    (tmp_path / "model").mkdir()
    written(tmp_path / "model", made)
    monkeypatch.chdir(tmp_path / "model")
    with pytest.raises(SourceError, match="not in its own folder"):
        file.read("model.onnx")
