"""Models of grey images, and of images with four channels and more: exported and explained."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import boxcam
from boxcam.cli import main
from boxcam.errors import InputError
from tests.export.sources.onnx.plain import SIZE, Plain, check, export, pixels, tensor
from tests.messages import check_message

PRE = ("resize=stretch", "scale=0-1")
COLOR = pixels(3)
PLANES = pixels(6, seed=4)
GREY = np.uint8(  # by hand: 0.299 R + 0.587 G + 0.114 B, to the nearest
    np.round(COLOR[..., 2] * 0.299 + COLOR[..., 1] * 0.587 + COLOR[..., 0] * 0.114)
)


def classifier(path: Path, depth: int, last: bool = False) -> Plain:
    shape = (1, SIZE, SIZE, depth) if last else (1, depth, SIZE, SIZE)
    net = Plain(shape, depth=depth, last=last)
    net.logits()
    net.save(path)
    return net


@pytest.mark.parametrize("last", [False, True])
def test_a_grey_model_gets_colours_in_grey(last: bool, tmp_path: Path) -> None:
    net = classifier(tmp_path / "m.onnx", 1, last)
    model = export(tmp_path / "m.onnx", preprocess=PRE)
    spec = model.manifest.preprocess
    assert (spec.color, spec.channels, spec.layout) == ("GRAY", 1, "NHWC" if last else "NCHW")
    seen = cv2.cvtColor(COLOR, cv2.COLOR_BGR2GRAY)
    assert np.abs(seen.astype(int) - GREY).max() <= 1  # OpenCV's grey is fixed-point
    explanation = check(model, tensor(seen[..., None], [0]), net, COLOR)
    assert explanation.image.shape == (SIZE, SIZE, 3)
    assert np.array_equal(explanation.image, np.repeat(seen[..., None], 3, axis=2))
    assert explanation.query.drawn == "drawn in grey, as the model gets it"


def test_a_grey_image_is_itself_however_it_is_given(tmp_path: Path) -> None:
    net = classifier(tmp_path / "m.onnx", 1)
    model = export(tmp_path / "m.onnx", preprocess=(*PRE, "color=GRAY"))
    given = tensor(GREY[..., None], [0])
    cv2.imwrite(str(tmp_path / "grey.png"), GREY)
    np.save(tmp_path / "grey.npy", GREY)
    images: list[Any] = [GREY, GREY[..., None], np.repeat(GREY[..., None], 3, axis=2), PIL.Image.fromarray(GREY)]
    for image in (*images, tmp_path / "grey.png", tmp_path / "grey.npy"):
        check(model, given, net, image)
    turned = np.ascontiguousarray(COLOR[..., ::-1])
    assert np.array_equal(model.explain(turned, color="RGB").image, model.explain(COLOR).image)


@pytest.mark.parametrize("depth", [2, 4, 6])
@pytest.mark.parametrize("last", [False, True])
def test_an_array_of_as_many_channels(depth: int, last: bool, tmp_path: Path) -> None:
    net = classifier(tmp_path / "m.onnx", depth, last)
    planes = pixels(depth, seed=depth)
    model = export(tmp_path / "m.onnx", preprocess=PRE)
    assert (model.manifest.preprocess.color, model.manifest.preprocess.channels) == ("as given", depth)
    given = tensor(planes, range(depth))
    np.save(tmp_path / "planes.npy", planes)
    (tmp_path / "planes.tif").write_bytes(tiff(planes))
    for image in (planes, tmp_path / "planes.npy", tmp_path / "planes.tif"):
        explanation = check(model, given, net, image)
        first = planes[..., [2, 1, 0]] if depth > 2 else np.repeat(planes[..., :1], 3, axis=2)
        assert np.array_equal(explanation.image, first)
    assert boxcam.explain(model, planes).facts()["detections"]


def test_each_channel_has_a_mean_and_is_resized_alone(tmp_path: Path) -> None:
    """Of a picture of another size, bilinear by OpenCV, one channel after the other, padded with one value each."""
    net = classifier(tmp_path / "m.onnx", 5)
    keys = ("resize=fit", "pad=top-left", "pad_value=1,2,3,4,5", "scale=0-255", "mean=9,8,7,6,5", "std=10,20,30,40,50")
    model = export(tmp_path / "m.onnx", preprocess=keys)
    planes = np.random.default_rng(2).integers(0, 256, (40, 80, 5), dtype=np.uint8)
    given = np.empty((1, 5, SIZE, SIZE), np.float32)
    for c in range(5):
        given[0, c] = c + 1
        given[0, c, :16] = cv2.resize(np.ascontiguousarray(planes[..., c]), (SIZE, 16), interpolation=cv2.INTER_LINEAR)
        given[0, c] = (given[0, c] - (9 - c)) / (10 * (c + 1))
    check(model, given, net, planes)


def test_the_sample_and_the_command_line_have_as_many(tmp_path: Path) -> None:
    classifier(tmp_path / "m.onnx", 6)
    np.save(tmp_path / "s.npy", PLANES)
    words = [str(tmp_path / "m.onnx"), "--preprocess", "resize=stretch", "--preprocess", "scale=0-1"]
    sample = ["--sample", str(tmp_path / "s.npy")]
    done = CliRunner().invoke(main, ["inspect", *words, *sample])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(main, ["export", *words, *sample, "-q", "-o", str(tmp_path / "m.boxcam")])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(
        main, ["explain", str(tmp_path / "m.boxcam"), str(tmp_path / "s.npy"), "-o", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "s.png").exists()
    cv2.imwrite(str(tmp_path / "three.png"), COLOR)
    done = CliRunner().invoke(main, ["explain", str(tmp_path / "m.boxcam"), str(tmp_path / "three.png")])
    assert done.exit_code == 1
    assert "three.png has 3 channels, and the model takes 6. Pass an array, a .npy file or a TIFF" in done.output
    done = CliRunner().invoke(
        main, ["export", *words, "--sample", str(tmp_path / "three.png"), "-o", str(tmp_path / "n")]
    )
    assert done.exit_code == 1
    assert "three.png has 3 channels, and the model takes 6" in done.output


def test_the_pixels_are_a_layer_too(tmp_path: Path) -> None:
    classifier(tmp_path / "m.onnx", 6)
    model = export(tmp_path / "m.onnx", preprocess=PRE, layers=["image"])
    assert model.layer("image").tensors[0].channels == 6
    assert model.explain(PLANES, method="saliency").map(0).max() > 0


WRONG: dict[str, tuple[int, Any, str]] = {
    "three for six": (6, COLOR, "the image array has 3 channels, and the model takes 6. Pass an array"),
    "six for three": (3, PLANES, "cannot be used"),
    "six for one": (1, PLANES, "has 6 channels, and the model takes 1. Pass a grey image or one of three colours"),
    "first": (
        6,
        PLANES.transpose(2, 0, 1),
        r"Its channels come first: move them to the end .*Pass|channels come first",
    ),
    "floats": (6, PLANES / 255.0, "has pixels of type float64, and they must be uint8, 0 to 255. Scale it"),
    "empty": (6, PLANES[:0], "has no pixels. Pass an image with a height and a width above 0"),
    "no array": (6, "nowhere.npy", "nowhere.npy does not exist"),
}


@pytest.mark.parametrize("case", WRONG)
def test_images_of_another_number_are_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    depth, image, message = WRONG[case]
    classifier(tmp_path / "m.onnx", depth)
    model = export(tmp_path / "m.onnx", preprocess=(*PRE, "color=RGB") if depth == 3 else PRE)
    with pytest.raises(InputError, match=message):
        model.explain(image)


def tiff(
    planes: np.ndarray,
    *,
    order: str = "<",
    packed: bool = False,
    planar: bool = False,
    rows: int = 5,
    pages: bool = False,
) -> bytes:
    """A TIFF by its specification: strips of some rows, pixel by pixel, plane by plane, or page by page."""
    height, width, depth = planes.shape
    kind = planes.dtype.newbyteorder(order)
    images = [planes[..., c : c + 1] for c in range(depth)] if pages else [planes]
    data = bytearray(struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 0))
    link = 4
    for image in images:
        samples = image.shape[2]
        parts = [image[..., c : c + 1] for c in range(samples)] if planar else [image]
        strips = [part[y : y + rows] for part in parts for y in range(0, height, rows)]
        stored = [zlib.compress(s.astype(kind).tobytes()) if packed else s.astype(kind).tobytes() for s in strips]
        places = []
        for strip in stored:
            places.append(len(data))
            data += strip
        bits = [8 * planes.dtype.itemsize] * samples
        tags: list[tuple[int, list[int]]] = [
            (256, [width]), (257, [height]), (258, bits), (259, [8 if packed else 1]), (262, [1]), (273, places),
            (277, [samples]), (278, [rows]), (279, [len(one) for one in stored]), (284, [2 if planar else 1]),
        ]  # fmt: skip
        entries = []
        for tag, values in tags:
            entries.append((tag, values[0] if len(values) == 1 else len(data), len(values)))
            data += struct.pack(f"{order}{len(values)}I", *values) if len(values) > 1 else b""
        struct.pack_into(f"{order}I", data, link, len(data))
        data += struct.pack(f"{order}H", len(entries))
        for tag, value, count in entries:
            data += struct.pack(f"{order}HHII", tag, 4, count, value)
        link = len(data)
        data += bytes(4)
    return bytes(data)


STORED: dict[str, Callable[[np.ndarray], bytes]] = {
    "big-endian": lambda a: tiff(a, order=">"),
    "deflated": lambda a: tiff(a, packed=True),
    "plane by plane": lambda a: tiff(a, planar=True),
    "plane by plane, deflated": lambda a: tiff(a, planar=True, packed=True, order=">"),
    "page by page": lambda a: tiff(a, pages=True),
    "one strip": lambda a: tiff(a, rows=1000),
    "16 bits": lambda a: tiff(a.astype(np.uint16) * 256 + 77),
    "16 bits, big-endian, by plane": lambda a: tiff(a.astype(np.uint16) * 256, order=">", planar=True),
}


@pytest.mark.parametrize("case", STORED)
@pytest.mark.parametrize("depth", [4, 6])
def test_tiffs_as_they_are_stored(case: str, depth: int, tmp_path: Path) -> None:
    from boxcam.runtime.planes import read_planes

    (tmp_path / "a.tif").write_bytes(STORED[case](PLANES[..., :depth]))
    assert np.array_equal(read_planes(tmp_path / "a.tif", depth), PLANES[..., :depth])


def test_tiffs_that_other_libraries_write(tmp_path: Path) -> None:
    from boxcam.runtime.planes import read_planes

    alpha = np.concatenate([COLOR[..., ::-1], PLANES[..., :1]], axis=2)  # red, green, blue, alpha
    PIL.Image.fromarray(alpha).save(tmp_path / "alpha.tif", compression=None)
    PIL.Image.fromarray(alpha).save(tmp_path / "alpha.png")
    cv2.imwritemulti(str(tmp_path / "pages.tif"), [np.ascontiguousarray(PLANES[..., c]) for c in range(6)], [259, 1])
    assert np.array_equal(read_planes(tmp_path / "alpha.tif", 4), alpha)
    assert np.array_equal(read_planes(tmp_path / "alpha.png", 4), alpha)
    assert np.array_equal(read_planes(tmp_path / "pages.tif", 6), PLANES)


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut off": (lambda data: data[: len(data) // 2], "damaged or truncated"),
    "no rows": (
        lambda data: data.replace(struct.pack("<HHII", 278, 4, 1, 5), struct.pack("<HHII", 278, 4, 1, 0)),
        "TIFF",
    ),
    "too large": (
        lambda data: data.replace(struct.pack("<HHII", 256, 4, 1, SIZE), struct.pack("<HHII", 256, 4, 1, 1 << 28)),
        "is too large: 268435456x32 pixels",
    ),
    "no pages": (lambda data: data[:4] + b"\xff\xff\xff\x7f" + data[8:], "damaged or truncated"),
    "another packing": (
        lambda data: data.replace(b"\x03\x01\x04\0\x01\0\0\0\x01", b"\x03\x01\x04\0\x01\0\0\0\x05"),
        "compression 5",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_tiff_that_cannot_be_read_is_refused(case: str, tmp_path: Path) -> None:
    from boxcam.runtime.planes import read_planes

    change, message = BROKEN[case]
    (tmp_path / "a.tif").write_bytes(change(tiff(PLANES)))
    with pytest.raises(InputError, match=message) as caught:
        read_planes(tmp_path / "a.tif", 6)
    check_message(str(caught.value))
