"""Bundles that are broken, forged or in the way: one clear line, exit code 1, and nothing half-written."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import boxcam
from boxcam.bundle import seal
from tests.refused import Cli, everything, refused
from tests.touch import Touch


@pytest.fixture
def bundle(signs_bundle: Path, tmp_path: Path) -> Path:
    """A bundle to break."""
    return Path(shutil.copytree(signs_bundle, tmp_path / "b.boxcam"))


def edit_manifest(bundle: Path, **changes: Any) -> None:
    data = json.loads((bundle / "manifest.json").read_text())
    data.update(changes)
    (bundle / "manifest.json").write_text(json.dumps({**data, "seal": seal(data)}))


def forge(bundle: Path, name: str, data: bytes) -> None:
    """Put a file in that the manifest vouches for."""
    (bundle / name).write_bytes(data)
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    edit_manifest(bundle, files={**files, name: hashlib.sha256(data).hexdigest()})


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


BROKEN_BUNDLES: dict[str, tuple[Callable[[Path], object], str]] = {
    "not there": (shutil.rmtree, "does not exist. Make one with 'boxcam export'."),
    "a file": (lambda b: (shutil.rmtree(b), b.touch()), "is not a bundle"),
    "a folder of something else": (
        lambda b: (b / "manifest.json").unlink(),
        "is not a bundle: it has no manifest.json",
    ),
    "manifest cut off": (lambda b: os.truncate(b / "manifest.json", 300), "manifest.json cannot be read"),
    "manifest of another kind": (lambda b: (b / "manifest.json").write_text("[1]"), "does not state its format"),
    "forward graph lost": (lambda b: (b / "forward.onnx").unlink(), "has lost its file forward.onnx"),
    "gradient lost": (lambda b: (b / "gradient.neck.pt").unlink(), "has lost its file gradient.neck.pt"),
    "forward graph altered": (lambda b: flip(b / "forward.onnx"), "forward.onnx was altered"),
    "gradient altered": (lambda b: flip(b / "gradient.backbone.pt"), "backbone.pt was altered"),
    "forward graph cut off": (lambda b: os.truncate(b / "forward.onnx", 9999), "forward.onnx was altered"),
    "newer": (
        lambda b: edit_manifest(b, format=5, boxcam="9.9"),
        "has format 5, and this boxcam reads up to 4. Update",
    ),
}


@pytest.mark.parametrize("kind", BROKEN_BUNDLES)
def test_a_broken_bundle(kind: str, signs: Path, bundle: Path, tmp_path: Path, cli: Cli, capfd: Any) -> None:
    harm, expected = BROKEN_BUNDLES[kind]
    harm(bundle)
    done = cli("explain", bundle, signs / "images" / "cat.jpg", "-o", tmp_path / "out")
    message = refused(done, capfd)
    assert expected in message
    assert str(bundle) in message
    assert not (tmp_path / "out").exists()
    assert refused(cli("inspect", bundle), capfd) == message
    with pytest.raises(boxcam.BoxcamError, match=re.escape(expected)):
        boxcam.load(bundle)


FORGED: dict[str, tuple[str, bytes, str]] = {
    "forward graph": ("forward.onnx", b"garbage", "forward.onnx cannot be loaded by ONNX Runtime"),
    "gradient": ("gradient.neck.onnx", b"garbage", "neck.onnx cannot be loaded by ONNX Runtime"),
    "means of a gradient": ("gradient.neck.means.onnx", b"garbage", "neck.means.onnx cannot be loaded by ONNX Runtime"),
    "scripted gradient": ("gradient.neck.pt", b"garbage", "neck.pt cannot be loaded by PyTorch"),
    "gradient that is a pickle": ("gradient.neck.pt", pickle.dumps({"a": 1}), "neck.pt cannot be loaded by PyTorch"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_bundle_that_was_forged(kind: str, signs: Path, bundle: Path, tmp_path: Path, cli: Cli, capfd: Any) -> None:
    name, data, expected = FORGED[kind]
    forge(bundle, name, data)
    options = ["--engine", "torchscript" if name.endswith(".pt") else "auto"]
    options += ["--method", "gradcam" if "means" in name else "hirescam"]
    done = cli("explain", bundle, signs / "images" / "cat.jpg", "-o", tmp_path / "out", *options)
    assert expected in refused(done, capfd)
    assert not (tmp_path / "out").exists()


def test_loading_a_bundle_runs_no_pickle(signs: Path, bundle: Path, tmp_path: Path, cli: Cli, capfd: Any) -> None:
    import torch

    stream = io.BytesIO()
    torch.save({"a": Touch(tmp_path / "sentinel")}, stream)
    forge(bundle, "gradient.neck.pt", stream.getvalue())
    done = cli("explain", bundle, signs / "images" / "cat.jpg", "-o", tmp_path / "out", "--engine", "torchscript")
    assert "neck.pt cannot be loaded by PyTorch" in refused(done, capfd)
    assert not (tmp_path / "sentinel").exists()


def test_a_bundle_is_replaced_only_when_asked(signs: Path, bundle: Path, tmp_path: Path, cli: Cli, capfd: Any) -> None:
    before = everything(tmp_path)
    done = cli("export", signs / "config.py", signs / "signs.pth", "-o", bundle)
    assert f"bundle {bundle} exists. Replace it with --overwrite" in refused(done, capfd)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_what_is_no_bundle_is_never_replaced(
    options: list[str], signs: Path, tmp_path: Path, cli: Cli, capfd: Any
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    before = everything(tmp_path)
    done = cli("export", signs / "config.py", signs / "signs.pth", "-o", tmp_path / "thesis", *options)
    assert "exists and is not a bundle, so it is left alone" in refused(done, capfd)
    assert everything(tmp_path) == before


def test_a_failed_export_leaves_the_bundle_that_was_there(
    signs: Path, bundle: Path, tmp_path: Path, cli: Cli, capfd: Any
) -> None:
    before = everything(tmp_path)
    done = cli("export", signs / "config.py", signs / "signs.pth", "-o", bundle, "--overwrite", "--layer", "nekc")
    assert "has no layer 'nekc'. Did you mean 'neck'" in refused(done, capfd)
    assert everything(tmp_path) == before
