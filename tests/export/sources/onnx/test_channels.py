"""Models of grey images, and of images with four channels and more: exported and explained."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from click.testing import CliRunner

import boxcam
from boxcam.cli import main
from boxcam.errors import InputError
from boxcam.runtime.images import find_images
from boxcam.runtime.planes import read_planes
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


def test_arrays_in_folders_and_patterns_are_images_of_such_models(tmp_path: Path) -> None:
    """But not arrays of other axes, and not for a model of colours."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    np.save(folder / "a.npy", PLANES)
    np.save(folder / "boxes.npy", np.zeros((3, 4), np.float32))
    np.save(folder / "b.NPY.npy", PLANES)
    (folder / "c.tif").write_bytes(tiff(PLANES))
    classifier(tmp_path / "six.onnx", 6)
    export(tmp_path / "six.onnx", preprocess=PRE)
    bundle = next(path.parent for path in tmp_path.rglob("manifest.json"))
    for given in (folder, folder / "*"):
        out = tmp_path / f"out {len(given.name)}"
        done = CliRunner().invoke(main, ["explain", str(bundle), str(given), "-o", str(out)])
        assert done.exit_code == 0, done.output
        assert sorted(path.name for path in out.glob("*.json")) == ["a.json", "b.NPY.json", "c.json"]
    found = [path.name for path in find_images(folder, channels=1)]
    assert found == ["a.npy", "b.NPY.npy", "c.tif"]
    assert [path.name for path in find_images(folder)] == ["c.tif"]
    (folder / "d.npy").write_bytes(b"none")
    assert "d.npy" in [path.name for path in find_images(folder, channels=6)]  # to be complained of
    np.save(folder / "e.npy", PLANES[..., :5])
    done = CliRunner().invoke(main, ["explain", str(bundle), str(folder), "-o", str(tmp_path / "more")])
    assert done.exit_code == 1
    assert "d.npy" in done.output
    assert "e.npy: the array has 5 channels, and the model takes 6" in done.output
    with pytest.raises(InputError, match=r"matches files ending in .*\.npy\."):
        find_images(str(folder / "*.txt"), channels=6)


def test_the_pixels_are_a_layer_too(tmp_path: Path) -> None:
    classifier(tmp_path / "m.onnx", 6)
    model = export(tmp_path / "m.onnx", preprocess=PRE, layers=["image"])
    assert model.runtime.layer("image").tensors[0].channels == 6
    assert model.explain(PLANES, method="saliency").map(0).max() > 0


WRONG: dict[str, tuple[int, Any, str]] = {
    "three for six": (6, COLOR, "an image array has 3 channels, and the model takes 6. Pass an array"),
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
    upright: int = 1,
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
            (274, [upright]), (277, [samples]), (278, [rows]), (279, [len(one) for one in stored]),
            (284, [2 if planar else 1]),
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
    (tmp_path / "a.tif").write_bytes(STORED[case](PLANES[..., :depth]))
    assert np.array_equal(read_planes(tmp_path / "a.tif", depth), PLANES[..., :depth])


def test_tiffs_that_other_libraries_write(tmp_path: Path) -> None:
    alpha = np.concatenate([COLOR[..., ::-1], PLANES[..., :1]], axis=2)  # red, green, blue, alpha
    PIL.Image.fromarray(alpha).save(tmp_path / "alpha.tif", compression=None)
    PIL.Image.fromarray(alpha).save(tmp_path / "alpha.png")
    cv2.imwritemulti(str(tmp_path / "pages.tif"), [np.ascontiguousarray(PLANES[..., c]) for c in range(6)], [259, 1])
    assert np.array_equal(read_planes(tmp_path / "alpha.tif", 4), alpha)
    assert np.array_equal(read_planes(tmp_path / "alpha.png", 4), alpha)
    assert np.array_equal(read_planes(tmp_path / "pages.tif", 6), PLANES)


WRITTEN: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (16, 16)},
    "tiles, deflated by differences": {"tile": (16, 16), "compression": "zlib", "predictor": True},
    "BigTIFF": {"bigtiff": True, "compression": "zlib", "rowsperstrip": 7},
    "planes in tiles, big-endian": {"tile": (16, 32), "planarconfig": "separate", "byteorder": ">"},
}


@pytest.mark.parametrize("case", WRITTEN)
def test_tiffs_that_tifffile_writes(case: str, tmp_path: Path) -> None:
    options = {"photometric": "minisblack", "planarconfig": "contig", **WRITTEN[case]}
    stored = np.ascontiguousarray(PLANES.transpose(2, 0, 1) if options["planarconfig"] == "separate" else PLANES)
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    assert np.array_equal(read_planes(tmp_path / "a.tif", 6), PLANES)


@pytest.mark.parametrize("turned", range(1, 9))
def test_tiffs_are_turned_upright_as_opencv_turns_them(turned: int, tmp_path: Path) -> None:
    wide = PLANES[:20, :, :3]
    (tmp_path / "three.tif").write_bytes(tiff(wide, upright=turned).replace(RULE, COLORS))
    (tmp_path / "six.tif").write_bytes(tiff(PLANES[:20], upright=turned))
    three = read_planes(tmp_path / "three.tif", 3)
    assert three.shape == ((32, 20, 3) if turned > 4 else (20, 32, 3))
    assert np.array_equal(read_planes(tmp_path / "six.tif", 6)[..., :3], three[..., ::-1])


RULE, COLORS = (struct.pack("<HHII", 262, 4, 1, value) for value in (1, 2))


def test_what_is_read_by_a_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(PLANES))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(boxcam.errors.PackageError, match=r"pip install 'boxcam\[tiff\]'") as caught:
        read_planes(tmp_path / "a.tif", 6)
    assert caught.value.name == "tifffile"
    check_message(str(caught.value))
    cv2.imwrite(str(tmp_path / "three.tif"), COLOR)
    assert np.array_equal(read_planes(tmp_path / "three.tif", 3), COLOR)  # which OpenCV reads


def bomb() -> bytes:
    """A small file whose only strip inflates to 512 MiB."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
    whole = tiff(PLANES, packed=True, rows=1000)
    place = struct.unpack_from("<I", whole, whole.index(struct.pack("<HHI", 273, 4, 1)) + 8)[0]
    at = whole.index(struct.pack("<HHI", 273, 4, 1)) + 8
    count = whole.index(struct.pack("<HHI", 279, 4, 1)) + 8
    assert place == 8
    changed = bytearray(whole)
    struct.pack_into("<I", changed, at, len(whole))
    struct.pack_into("<I", changed, count, len(data))
    return bytes(changed) + data


def many_tags() -> bytes:
    """A file whose 500 tags of its own each have the same 8 million numbers."""
    body = bytearray(tiff(PLANES)) + bytes(1 << 24)
    first = len(body)
    (old,) = struct.unpack_from("<I", body, 4)
    (count,) = struct.unpack_from("<H", body, old)
    own = b"".join(struct.pack("<HHII", 40_000 + i, 3, 1 << 23, 1000) for i in range(500))
    struct.pack_into("<I", body, 4, first)
    return bytes(body + struct.pack("<H", count + 500) + body[old + 2 : old + 2 + 12 * count] + own + bytes(4))


@pytest.mark.parametrize(("make", "message"), [(bomb, "a strip of more pixels than"), (many_tags, "")])
def test_little_memory_is_taken_by_a_tiff_that_states_much(
    make: Callable[[], bytes], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.tif").write_bytes(make())
    code = (
        "import sys, tifffile; from boxcam.errors import InputError; from boxcam.runtime.planes import read_planes\n"
        "def most(): return [int(s.split()[1]) >> 10 for s in open('/proc/self/status') if s.startswith('VmHWM')][0]\n"
        "before = most()\n"
        "try: read_planes(sys.argv[1], 6)\n"
        "except InputError as error: print(error)\n"
        "print(most() - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.tif")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    said, _, megabytes = done.stdout.strip().rpartition("\n")
    assert message in said
    assert bool(said) == bool(message)
    assert int(megabytes) < 100


def without_a_strip(data: bytes) -> bytes:
    """The second strip's place is none: tifffile takes such ones for black."""
    place = data.index(struct.pack("<II", 8, 8 + 5 * SIZE * 6))
    return data[: place + 4] + bytes(4) + data[place + 8 :]


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
    "no strip": (without_a_strip, "a strip that is not in the file"),
    "another packing": (
        lambda data: data.replace(b"\x03\x01\x04\0\x01\0\0\0\x01", b"\x03\x01\x04\0\x01\0\0\0\x05"),
        "compression 5",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_tiff_that_cannot_be_read_is_refused(case: str, tmp_path: Path) -> None:
    change, message = BROKEN[case]
    (tmp_path / "a.tif").write_bytes(change(tiff(PLANES)))
    with pytest.raises(InputError, match=message) as caught:
        read_planes(tmp_path / "a.tif", 6)
    check_message(str(caught.value))
