"""Whatever is wrong with what a person gives: one clear line, exit code 1, and nothing half-written."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import pickle
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result
from PIL import Image

import boxcam
from boxcam.bundle import seal
from tests.messages import check_message

Cli = Callable[..., Result]


def everything(folder: Path) -> dict[str, bytes | None]:
    """All files and folders below a folder, with what the files hold."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(done: Result, capfd: pytest.CaptureFixture[str]) -> str:
    """The message, after checking that it is one line, that it is all there is, and that nothing broke."""
    assert isinstance(done.exception, SystemExit), done.exception
    assert (done.exit_code, done.stdout) == (1, "")
    assert tuple(capfd.readouterr()) == ("", "")  # nor did a library write past Python's streams
    assert re.fullmatch(r"boxcam: [^\n\r\x1b]{20,900}\n", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    return check_message(done.stderr)


# Images


def encode(image: Any, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


NOISE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated.jpg": (lambda: encode(NOISE, "JPEG")[:-500], "is truncated"),
    "truncated.png": (lambda: encode(NOISE, "PNG")[:-500], "is truncated"),
    "empty.jpg": (lambda: b"", "is empty"),
    "zero-pixel.png": (lambda: png(0, 7), "has no pixels"),
    "text.jpg": (lambda: b"not an image at all", "is not an image"),
    "float.tiff": (lambda: bytes(cv2.imencode(".tiff", NOISE.astype(np.float32))[1]), "has float32 pixels"),
    "dark-16-bit.png": (
        lambda: bytes(cv2.imencode(".png", NOISE[..., 0].astype(np.uint16))[1]),
        "has 16 bits but no value above",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_image(name: str, signs_bundle: Path, tmp_path: Path, cli: Cli, capfd: Any) -> None:
    make, expected = BROKEN[name]
    (tmp_path / name).write_bytes(make())
    done = cli("explain", signs_bundle, tmp_path / name, "-o", tmp_path / "out", "-q")
    assert refused(done, capfd).startswith(f"boxcam: {tmp_path / name} {expected}")
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("name", ["missing.jpg", "", "no/folder/*.jpg", "empty-folder"])
def test_an_input_that_is_not_there(name: str, signs_bundle: Path, tmp_path: Path, cli: Cli, capfd: Any) -> None:
    (tmp_path / "empty-folder").mkdir()
    given = tmp_path / name if name else ""
    done = cli("explain", signs_bundle, given, "-o", tmp_path / "out")
    assert re.search("does not exist|matches no image|contains no image", refused(done, capfd))
    assert not (tmp_path / "out").exists()


def test_a_folder_in_which_some_files_are_broken(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli, capfd: Any
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, (make, _) in BROKEN.items():
        (folder / name).write_bytes(make())
    for name in ("a.jpg", "zz.jpg"):  # before and after the broken ones
        shutil.copy(signs / "images" / "cat.jpg", folder / name)
    done = cli("explain", signs_bundle, folder, "-o", tmp_path / "out", "--top", "1", "--threads", "1")
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 1
    first, second, last = done.stdout.splitlines()
    assert (first[:6], second[:6]) == ("a.jpg:", "zz.jpg")
    assert last == f"wrote the results of 2 of {2 + len(BROKEN)} pictures to {tmp_path / 'out'}"
    lines = done.stderr.splitlines()
    assert len(lines) == len(BROKEN)
    for name, line in zip(sorted(BROKEN), lines, strict=True):
        assert line.startswith(f"boxcam: {folder / name} {BROKEN[name][1]}")
    written = [name + end for name in ("a", "zz") for end in (".json", ".npz", ".png")]
    assert sorted(os.listdir(tmp_path / "out")) == written
    assert tuple(capfd.readouterr()) == ("", "")


def test_images_that_a_person_would_expect_to_work(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli, capfd: Any
) -> None:
    picture = np.array(Image.open(signs / "images" / "cat.jpg"))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    alpha = np.full(grey.shape, 77, np.uint8)
    (tmp_path / "in").mkdir()
    files = {
        "plain.png": encode(picture, "PNG"),
        "rgba.png": encode(np.dstack([picture, alpha]), "PNG"),
        "sixteen.png": bytes(cv2.imencode(".png", picture[..., ::-1].astype(np.uint16) * 256 + 9)[1]),
        "grey.png": encode(grey, "PNG"),
        "grey16.png": bytes(cv2.imencode(".png", grey.astype(np.uint16) * 256 + 9)[1]),
        "cmyk.jpg": encode(Image.fromarray(picture).convert("CMYK"), "JPEG", quality=98),
    }
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    done = cli("explain", signs_bundle, tmp_path / "in", "-o", tmp_path / "out", "--top", "3", "--threads", "1")
    assert (done.exit_code, done.stderr, *capfd.readouterr()) == (0, "", "", "")
    maps, boxes = {}, {}
    for name in files:
        with np.load(tmp_path / "out" / f"{Path(name).stem}.npz") as file:
            maps[name], boxes[name] = file["maps"], file["boxes"]
    for same in (("plain.png", "rgba.png"), ("plain.png", "sixteen.png"), ("grey.png", "grey16.png")):
        assert np.array_equal(*(boxes[name] for name in same))
        assert np.array_equal(*(maps[name] for name in same))
    assert len(boxes["plain.png"]) == len(boxes["cmyk.jpg"]) == 3
    assert np.abs(boxes["plain.png"] - boxes["cmyk.jpg"]).max() < 3


# Layers, classes, places to write to


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--layer", "nekc"], "has no layer 'nekc'. Did you mean 'neck'? There are: neck, backbone."),
        (["--layer", "roi"], "has no layer 'roi'. There are: neck, backbone."),
        (["--class", "stopp"], "has no class 'stopp'. Did you mean 'stop'? There are: stop, give way, speed limit,"),
        (["--class", "7"], "has no class '7'. There are: stop,"),
    ],
)
def test_a_name_that_the_bundle_does_not_know(
    options: list[str], expected: str, signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli, capfd: Any
) -> None:
    done = cli("explain", signs_bundle, signs / "images", "-o", tmp_path / "out", *options)
    assert expected in refused(done, capfd)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["file", "file/below", "file/far/below"])
def test_a_folder_that_cannot_be_written(
    place: str, signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli, capfd: Any
) -> None:
    (tmp_path / "file").write_text("mine")
    before = everything(tmp_path)
    done = cli("explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path / place)
    assert re.search(r"cannot write .*(Not a directory|it is a file).* Choose another folder\.", refused(done, capfd))
    done = cli("export", signs / "config.py", signs / "signs.pth", "-o", tmp_path / place)
    assert re.search(r"(cannot write|exists and is not a bundle).* --output\.", refused(done, capfd))
    assert everything(tmp_path) == before


def test_a_result_that_cannot_be_written(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli, capfd: Any) -> None:
    (tmp_path / "cat.npz").mkdir()  # where a file has to go
    (tmp_path / "cat.npz" / "mine").touch()
    before = everything(tmp_path)
    done = cli("explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path, "--top", "1")
    assert f"would replace {tmp_path / 'cat.npz'}, which boxcam did not write" in refused(done, capfd)
    assert everything(tmp_path) == before
    (tmp_path / "cat.json").write_text('{"boxcam": "0.1.0", "detections": []}')  # as if among earlier results
    done = cli("explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path, "--top", "1", "-q")
    assert f"cannot write {tmp_path / 'cat'}.*: " in refused(done, capfd)
    assert sorted(os.listdir(tmp_path)) == ["cat.json", "cat.npz"]  # nothing is put in place if not all can be
    assert everything(tmp_path)["cat.npz/mine"] == b""


# Bundles


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


# What an export is made of


class Touch:
    """Makes a file when it is unpickled by anything that trusts it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.file}'",)


@pytest.fixture
def export(signs: Path, tmp_path: Path, cli: Cli, capfd: Any) -> Callable[..., str]:
    """Export something that cannot be exported; returns the message. Nothing may be left behind."""

    def run(*options: str | Path, config: Any = signs / "config.py", checkpoint: Any = signs / "signs.pth") -> str:
        before = everything(tmp_path)
        done = cli("export", config, checkpoint, "-o", tmp_path / "x.boxcam", *options)
        message = refused(done, capfd)
        assert everything(tmp_path) == before
        return message

    return run


def saved(file: Path, thing: Any, **options: Any) -> Path:
    import torch

    torch.save(thing, file, **options)
    return file


def weights(signs: Path) -> Any:
    import torch

    return torch.load(signs / "signs.pth", weights_only=True)["state_dict"]


def test_a_pickle_is_never_executed(tmp_path: Path, export: Callable[..., str]) -> None:
    sentinel = tmp_path / "sentinel"
    for thing in ({"state_dict": {}, "meta": Touch(sentinel)}, Touch(sentinel), {"state_dict": {"a": Touch(sentinel)}}):
        for zipped in (True, False):
            file = saved(tmp_path / "evil.pth", thing, _use_new_zipfile_serialization=zipped)
            message = export(checkpoint=file)
            assert re.search(r"evil.pth is refused: it holds (posix|os|nt)\.system, and unpickling that", message)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Touch(sentinel)))
    export(checkpoint=tmp_path / "evil.pth")
    assert not sentinel.exists()
    pickle.loads((tmp_path / "evil.pth").read_bytes())
    assert sentinel.exists()  # so it would have been seen


def test_other_objects_are_refused_by_name(tmp_path: Path, export: Callable[..., str]) -> None:
    import datetime

    file = saved(tmp_path / "c.pth", {"state_dict": {}, "meta": {"time": datetime.date(2020, 1, 1)}})
    assert "it holds datetime.date, and" in export(checkpoint=file)
    file = saved(tmp_path / "c.pth", {"state_dict": {}, "meta": {"folder": Path("a")}})
    assert "it holds pathlib.PosixPath, and" in export(checkpoint=file)


def test_a_file_that_is_no_checkpoint(signs: Path, tmp_path: Path, export: Callable[..., str]) -> None:
    import torch

    assert "nowhere.pth does not exist" in export(checkpoint=tmp_path / "nowhere.pth")
    file = tmp_path / "c.pth"
    file.write_text("hello")
    assert "is not a PyTorch checkpoint" in export(checkpoint=file)
    file.write_bytes(b"")
    assert "is not a PyTorch checkpoint" in export(checkpoint=file)
    whole = (signs / "signs.pth").read_bytes()
    for length in (100, len(whole) // 2, len(whole) - 10):
        file.write_bytes(whole[:length])
        assert "is damaged or truncated" in export(checkpoint=file)
    old = saved(file, {"state_dict": {"a": torch.zeros(99)}}, _use_new_zipfile_serialization=False).read_bytes()
    for length in (10, 60, len(old) - 10):
        file.write_bytes(old[:length])
        assert "is damaged or truncated" in export(checkpoint=file)
    assert "holds a list, not a dictionary" in export(checkpoint=saved(file, [1, 2]))
    assert "has no 'state_dict' of tensors" in export(checkpoint=saved(file, {"epoch": 3}))
    assert "has no 'state_dict' of tensors" in export(checkpoint=saved(file, {"state_dict": {"a": 3}}))


def test_a_checkpoint_that_does_not_fit_its_config(signs: Path, tmp_path: Path, export: Callable[..., str]) -> None:
    text = (signs / "config.py").read_text()
    other = tmp_path / "other.py"
    other.write_text(text.replace("depth=18", "depth=34"))
    message = export(config=other)
    assert f"checkpoint {signs / 'signs.pth'} does not fit config {other}" in message
    assert re.search(r"\d+ missing \(first: backbone\.layer1\.2\.conv1\.weight\)", message)
    assert "Use the config that the checkpoint was trained with." in message
    other.write_text(text.replace("feat_channels=48", "feat_channels=32"))
    assert "of another shape (first: bbox_head.cls_convs.0.conv.weight)" in export(config=other)

    state = weights(signs)
    short = {name: value for name, value in state.items() if not name.endswith("retina_cls.bias")}
    message = export(checkpoint=saved(tmp_path / "c.pth", {"state_dict": short}))
    assert "1 missing (first: bbox_head.retina_cls.bias)" in message
    long = {**state, "neck.extra": state["bbox_head.retina_cls.bias"]}
    assert "1 unknown (first: neck.extra)" in export(checkpoint=saved(tmp_path / "c.pth", {"state_dict": long}))
    bad = {**state, "bbox_head.retina_cls.bias": state["bbox_head.retina_cls.bias"] * float("nan")}
    assert "not finite (first: bbox_head" in export(checkpoint=saved(tmp_path / "c.pth", bad))


CONFIGS = {
    "empty": ("", "has no 'model'"),
    "no model": ("work_dir = 'x'\n", "has no 'model'"),
    "model is a name": ("model = 'RetinaNet'\n", "has no 'model'"),
    "model without a type": ("model = dict(backbone=dict(type='ResNet'))\n", "has no 'model'"),
    "syntax error": ("model = dict(type='RetinaNet'\n", "cannot be read: SyntaxError"),
    "fails": ("raise RuntimeError('two\\nlines')\n", "cannot be read: RuntimeError: two lines"),
    "base is missing": ("_base_ = './nowhere.py'\n", "cannot be read: "),
    "binary": ("\0\1\2", "cannot be read: "),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_that_describes_no_detector(kind: str, tmp_path: Path, export: Callable[..., str]) -> None:
    text, expected = CONFIGS[kind]
    (tmp_path / "c.py").write_text(text)
    message = export(config=tmp_path / "c.py")
    assert f"config {tmp_path / 'c.py'}" in message
    assert expected in message


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("dict(type='ResNet', depth=18)", "describes a ResNet, which is not an mmdet detector"),
        ("dict(type='FPN', in_channels=[8], out_channels=8, num_outs=1)", "describes a FPN, which is not an mmdet"),
        ("dict(type='RetinaNett')", "cannot be built: .*RetinaNett"),
        ("dict(type='RetinaNet', depth=18)", "cannot be built: .*depth"),
        ("dict(type='RetinaNet', backbone=dict(type='ResNet', depth=17))", "cannot be built: "),
    ],
)
def test_a_model_that_is_no_detector(
    model: str, expected: str, signs: Path, tmp_path: Path, export: Callable[..., str]
) -> None:
    text = (signs / "config.py").read_text()
    (tmp_path / "c.py").write_text(f"{text}\nmodel = {model}\n")
    message = export(config=tmp_path / "c.py")
    assert re.search(expected, message)
    assert f"config {tmp_path / 'c.py'}" in message


def test_arguments_that_are_no_source(
    signs: Path, tmp_path: Path, export: Callable[..., str], cli: Cli, capfd: Any
) -> None:
    assert "nowhere.py does not exist" in export(config=tmp_path / "nowhere.py")
    unknown = export(config=tmp_path / "a.txt")
    assert "is not a model of a known kind. Pass one of these: MODEL.onnx (kind onnx), or torchvision:" in unknown
    swapped = export(config=signs / "signs.pth", checkpoint=signs / "config.py")
    assert f"The two are swapped. Pass {signs / 'config.py'} {signs / 'signs.pth'}." in swapped
    assert "is not a model of a known kind" in refused(cli("export", signs / "config.py", "-o", tmp_path / "x"), capfd)
    assert "is two files, in this order. Pass CONFIG.py CHECKPOINT.pth" in refused(
        cli("export", signs / "config.py", "-o", tmp_path / "x", "--source", "mmdet"), capfd
    )
    assert "there is no source 'mmdett'. Did you mean 'mmdet'?" in export("--source", "mmdett")


def test_an_unknown_layer(export: Callable[..., str]) -> None:
    message = export("--layer", "neck", "--layer", "bakcbone")
    assert "has no layer 'bakcbone'. Did you mean 'backbone'" in message
    assert re.search(r"There are: .*backbone.*neck", message)


def test_a_sample_that_cannot_be_read(tmp_path: Path, export: Callable[..., str]) -> None:
    assert "nowhere.jpg does not exist" in export("--sample", tmp_path / "nowhere.jpg")
    (tmp_path / "a.jpg").touch()
    assert "a.jpg is empty" in export("--sample", tmp_path / "a.jpg")


@pytest.mark.parametrize("shape", ["320", "320x", "x320", "0x320", "320x-1", "320x320x3", "axb", "²x2", "99999x99999"])
def test_a_shape_that_is_none(shape: str, signs: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("export", signs / "config.py", signs / "signs.pth", "-o", tmp_path / "x", "--shape", shape)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is not a height and a width" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_shape_that_the_model_cannot_take(export: Callable[..., str]) -> None:
    assert "--shape 300x320: this model needs multiples of 32. Pass --shape 320x320" in export("--shape", "300x320")


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


def test_an_operator_that_only_a_compiled_mmcv_has(signs: Path, tmp_path: Path, export: Callable[..., str]) -> None:
    from boxcam.export.sources.openmmlab.compat import bridged
    from boxcam.export.sources.openmmlab.config import read_config
    from boxcam.export.sources.openmmlab.export import build

    if importlib.util.find_spec("mmcv._ext") is not None:
        return  # then nothing is missing
    text = (signs / "config.py").read_text()
    file = tmp_path / "c.py"
    file.write_text(
        text.replace('type="FPN"', 'type="FPN_CARAFE"').replace('        add_extra_convs="on_output",\n', "")
    )
    with bridged():
        state = build(read_config(str(file)), str(file)).state_dict()
    message = export(config=file, checkpoint=saved(tmp_path / "c.pth", {"state_dict": state}))
    assert "the model calls mmcv's operator 'carafe_forward', which mmcv-lite does not have" in message
