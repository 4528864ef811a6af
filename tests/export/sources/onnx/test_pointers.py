"""Pointers of Git LFS where a file is expected."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import boxcam
from boxcam.errors import BoxcamError, SourceError
from tests.export.sources.onnx.plain import SIZE, Plain, export
from tests.export.sources.onnx.prompted import prompted
from tests.messages import check_message

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"


def test_pointers_of_git_lfs_are_named(tmp_path: Path) -> None:
    for name in ("m.onnx", "w.pth", "words.npy", "names.txt", "p.yaml"):
        (tmp_path / name).write_bytes(POINTER)
    said = r"is a pointer of Git LFS, not the file itself\. Download it with 'git lfs pull'"
    with pytest.raises(SourceError, match=rf"m\.onnx {said}") as caught:
        export(tmp_path / "m.onnx")
    check_message(str(caught.value))
    with pytest.raises(SourceError, match=rf"w\.pth {said}"):
        boxcam.export("torchvision:resnet18", tmp_path / "w.pth", output=tmp_path / "o.boxcam")
    prompted(tmp_path / "n.onnx")
    with pytest.raises(SourceError, match=rf"words\.npy {said}"):
        export(tmp_path / "n.onnx", inputs=[f"words={tmp_path / 'words.npy'}"])
    net = Plain((1, 3, SIZE, SIZE))
    net.logits()
    path = net.save(tmp_path / "c.onnx")
    with pytest.raises(SourceError, match=rf"names\.txt {said}"):
        export(path, class_names=tmp_path / "names.txt")
    with pytest.raises(SourceError, match=rf"p\.yaml {said}"):
        export(path, preprocess=[str(tmp_path / "p.yaml")])
    model = export(path)
    forward = model.path / "forward.onnx"
    forward.write_bytes(POINTER)
    with pytest.raises(BoxcamError, match=rf"forward\.onnx {said}"):
        boxcam.load(model.path)


def test_weights_beside_a_file_may_be_a_pointer(tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE))
    net.logits()
    path = net.save(tmp_path / "m.onnx")
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").write_bytes(POINTER)
    with pytest.raises(SourceError, match=r"weights\.bin, with the weights of .*m\.onnx, is a pointer of Git LFS"):
        export(path)
