"""Arguments of an export that no source recognises: what they are, and what to pass instead."""

from __future__ import annotations

from pathlib import Path

import pytest

import boxcam
from boxcam.errors import SourceError

CASES = {
    ("yolo11n.pt",): r"holds weights, .*yolo export model=yolo11n.pt format=onnx; .*torchvision:NAME yolo11n.pt",
    ("model.safetensors",): r"holds weights, .* CONFIG.py model.safetensors",
    ("model.engine",): r"compiled for one runtime\. Pass the ONNX file",
    ("saved.pb",): r"Convert it to ONNX with tf2onnx",
    ("inference.pdmodel",): r"Convert it to ONNX with paddle2onnx",
    ("https://example.org/yolo.zip",): r"Download it, and pass the file\.$",
    ("w.pth", "torchvision:resnet50"): r"are swapped\. Pass torchvision:resnet50 w\.pth\.$",
    ("w.pth", "config.py"): r"are swapped\. Pass config\.py w\.pth\.$",
    ("a.txt", "b.txt"): (
        r"Pass one of these: MODEL\.onnx \(kind onnx\), or torchvision:NAME WEIGHTS\.pth \(kind torchvision\), or"
        r" CONFIG\.py CHECKPOINT\.pth \(kind mmdet or mmyolo\)\. .* with source=\.$"
    ),
}


@pytest.mark.parametrize("arguments", CASES, ids=" ".join)
def test_what_to_pass_instead(arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in arguments:
        if "/" not in name and ":" not in name:
            (tmp_path / name).touch()
    (tmp_path / "config.py").write_text("model = dict(type='RetinaNet')\n")
    with pytest.raises(SourceError, match=CASES[arguments]) as caught:
        boxcam.export(*arguments, output=tmp_path / "b")
    assert str(caught.value).startswith(f"{' '.join(arguments)!r} is not a model of a known kind. ")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("name", ["yolo11n.pt", "model.engine", "saved.pb", "model.mlpackage", "model.onnx"])
def test_a_model_that_is_not_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as caught:
        boxcam.export(name, output=tmp_path / "b")
    assert str(caught.value) == f"{name} does not exist. Check the path."


@pytest.mark.parametrize("name", ["photos", "model.onnx", "model.pt", "best.engine"])
def test_a_folder_in_the_place_of_a_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(SourceError) as caught:
        boxcam.export(name, output=tmp_path / "b")
    assert str(caught.value) == f"{name} is a folder, not a model. Pass the model's file."
