"""Images, names and folders that cannot be used: one clear line, exit code 1, and nothing half-written."""

from __future__ import annotations

import io
import os
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
from PIL import Image

from tests.refused import Cli, everything, refused


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
    first, second, last, _ = done.stdout.splitlines()
    assert (first[:6], second[:6]) == ("a.jpg:", "zz.jpg")
    assert last == f"wrote the results of 2 of {2 + len(BROKEN)} pictures to {tmp_path / 'out'}"
    lines = done.stderr.splitlines()
    assert len(lines) == len(BROKEN)
    for name, line in zip(sorted(BROKEN), lines, strict=True):
        assert line.startswith(f"boxcam: {folder / name} {BROKEN[name][1]}")
    written = [name + end for name in ("a", "zz") for end in (".json", ".npz", ".png")]
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*written, "index.html"])
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
