"""Images that are larger than they look, and things that are no files."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import boxcam
from boxcam.errors import BoxcamError, InputError, SourceError
from boxcam.export.preprocessing.parse import parse
from boxcam.export.sources import class_names
from boxcam.runtime import headers
from boxcam.runtime.images import read_image
from boxcam.runtime.pixels import load_image
from tests.hostile.made import BUNDLE, bundle

FLAT = np.full((24, 36, 3), 200, np.uint8)


def encode(kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(FLAT).save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def resized_png(data: bytes, width: int, height: int) -> bytes:
    header = struct.pack(">II", width, height) + data[24:29]
    return data[:8] + chunk(b"IHDR", header) + data[33:]


def patched(data: bytes, place: int, *sides: bytes) -> bytes:
    new = b"".join(sides)
    return data[:place] + new + data[place + len(new) :]


def resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    place = next(place for code, place in headers.segments(data) if code in (0xC0, 0xC2))
    return patched(data, place + 3, struct.pack(">HH", height, width))


def resized_tiff(data: bytes, width: int, height: int) -> bytes:
    start = struct.unpack_from("<I", data, 4)[0]
    for entry in range(struct.unpack_from("<H", data, start)[0]):
        place = start + 2 + 12 * entry
        tag = struct.unpack_from("<H", data, place)[0]
        if tag in (256, 257):
            data = patched(data, place + 2, struct.pack("<HII", 4, 1, width if tag == 256 else height))
    return data


def resized_avif(data: bytes, width: int, height: int) -> bytes:
    place = data.index(b"ispe")
    return patched(data, place + 8, struct.pack(">II", width, height))


# A file of each format that states another size than it has: where the size stands is that of the format's standard.
SIDE = 20_000
FORMATS: dict[str, tuple[Callable[[], bytes], Callable[[bytes, int, int], bytes]]] = {
    "png": (lambda: encode("PNG"), resized_png),
    "jpeg": (lambda: encode("JPEG"), resized_jpeg),
    "progressive jpeg": (lambda: encode("JPEG", progressive=True), resized_jpeg),
    "gif": (lambda: encode("GIF"), lambda data, w, h: patched(data, 6, struct.pack("<HH", w, h))),
    "bmp": (lambda: encode("BMP"), lambda data, w, h: patched(data, 18, struct.pack("<ii", w, h))),
    "bmp from above": (lambda: encode("BMP"), lambda data, w, h: patched(data, 18, struct.pack("<ii", w, -h))),
    "ppm": (lambda: encode("PPM"), lambda data, w, h: data.replace(b"36 24", b"%d %d" % (w, h))),
    "pam": (
        lambda: bytes(cv2.imencode(".pam", FLAT)[1]),
        lambda data, w, h: data.replace(b"WIDTH 36", b"WIDTH %d" % w).replace(b"HEIGHT 24", b"HEIGHT %d" % h),
    ),
    "webp": (
        lambda: encode("WEBP"),
        lambda data, w, h: patched(data, 26, struct.pack("<HH", min(w, 16383), min(h, 16383))),
    ),
    "lossless webp": (
        lambda: encode("WEBP", lossless=True),
        lambda data, w, h: patched(data, 21, struct.pack("<I", (min(w, 16384) - 1) | (min(h, 16384) - 1) << 14)),
    ),
    "extended webp": (
        lambda: encode("WEBP", exif=b"Exif\0\0II*\0"),
        lambda data, w, h: patched(data, 24, (w - 1).to_bytes(3, "little"), (h - 1).to_bytes(3, "little")),
    ),
    "tiff": (lambda: encode("TIFF"), resized_tiff),
    "jp2": (
        lambda: encode("JPEG2000"),
        lambda data, w, h: patched(data, data.index(b"\xff\x4f\xff\x51") + 8, struct.pack(">II", w, h)),
    ),
    "j2k": (
        lambda: encode("JPEG2000", no_jp2=True),
        lambda data, w, h: patched(data, data.index(b"\xff\x4f\xff\x51") + 8, struct.pack(">II", w, h)),
    ),
    "avif": (lambda: encode("AVIF"), resized_avif),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_the_size_of_every_format_is_known_before_it_is_decoded(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, resize = FORMATS[kind]
    (tmp_path / "a").write_bytes(make())
    assert headers.size(make()) == (36, 24)
    assert read_image(tmp_path / "a").shape == FLAT.shape
    with boxcam.limits(max_pixels=36 * 24 - 1), pytest.raises(InputError, match="36x24 pixels, and at most 863 are"):
        read_image(tmp_path / "a")
    with boxcam.limits(max_pixels=36 * 24):
        read_image(tmp_path / "a")

    def never(*given: Any) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(cv2, "imdecode", never)
    (tmp_path / "a").write_bytes(resize(make(), SIDE, SIDE))
    with pytest.raises(InputError, match=r"is too large: .* Make it smaller, or raise the limit with max_pixels="):
        read_image(tmp_path / "a")


@pytest.mark.parametrize("turned", range(1, 9))
def test_an_avif_is_turned_upright(turned: int, tmp_path: Path) -> None:
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32] = 255  # the upper left quarter is white
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[turned]
    exif = Image.Exif()
    exif[0x112] = turned  # Pillow writes it as the file's own properties
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.avif", exif=exif, quality=95)
    image = read_image(tmp_path / "a.avif")
    assert image.shape == upright.shape
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - upright).max() < 60


def test_a_jpeg_whose_data_cannot_hold_what_it_states(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(resized_jpeg(encode("JPEG"), 12_000, 12_000))  # within the limit of pixels
    with pytest.raises(InputError, match="is damaged"):
        read_image(tmp_path / "a.jpg")


def test_a_picture_of_pillow_has_the_same_limit(tmp_path: Path) -> None:
    with boxcam.limits(max_pixels=100), pytest.raises(InputError, match="Pillow is too large: 36x24"):
        boxcam.load(BUNDLE).detect(Image.fromarray(FLAT))


def test_the_command_line_has_the_limit_too(cli: Any, tmp_path: Path) -> None:
    Image.fromarray(FLAT).save(tmp_path / "a.png")
    done = cli("explain", BUNDLE, tmp_path / "a.png", "-o", tmp_path / "out", "--max-pixels", "863")
    assert done.exit_code == 1
    assert "at most 863 are read. Make it smaller, or raise the limit with --max-pixels." in done.stderr
    done = cli("explain", BUNDLE, tmp_path / "a.png", "-o", tmp_path / "out", "--max-pixels", "864")
    assert done.exit_code == 0


# What is no file. Whoever opens a named pipe waits for ever, and /dev/zero has no end.


def pipe(path: Path) -> str:
    os.mkfifo(path)
    return "a named pipe"


def plug(path: Path) -> str:
    socket.socket(socket.AF_UNIX).bind(str(path))
    return "a socket"


def device(path: Path) -> str:
    path.symlink_to("/dev/zero")
    return "a device"


THINGS: dict[str, Callable[[Path], str]] = {"pipe": pipe, "socket": plug, "device": device}
USES: dict[str, Callable[[Path], object]] = {
    "image.png": read_image,
    "names.txt": class_names.read,
    "settings.yaml": lambda path: parse([str(path)], (1, 3, 32, 32), None, None),
    "settings.json": lambda path: parse([str(path)], (1, 3, 32, 32), None, None),
}


@pytest.fixture
def alarm() -> Iterator[None]:
    with boxcam.limits(timeout=20):
        yield


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("name", USES)
def test_what_is_no_file_is_refused_at_once(
    name: str, thing: str, tmp_path: Path, alarm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    kind = THINGS[thing](Path(name))
    with pytest.raises(BoxcamError, match=f"it is {kind}, not a file"):
        USES[name](Path(name))


@pytest.mark.parametrize("thing", THINGS)
def test_a_manifest_that_is_no_file(thing: str, tmp_path: Path, alarm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundle(tmp_path)
    (path / "manifest.json").unlink()
    monkeypatch.chdir(path)
    kind = THINGS[thing](Path("manifest.json"))
    with pytest.raises(BoxcamError, match=rf"it is {kind}, not a file|is a link, not a file"):
        boxcam.load(path)


READERS: dict[str, Callable[[Path], object]] = {"long.txt": USES["names.txt"], "long.yaml": USES["settings.yaml"]}


def test_files_without_an_end_are_not_read_to_it(tmp_path: Path) -> None:
    with open(tmp_path / "long.txt", "wb") as file:
        file.truncate(1 << 34)  # it takes no room on disk
    with open(tmp_path / "long.yaml", "wb") as file:
        file.truncate(1 << 34)
    for given in READERS:
        with pytest.raises(SourceError, match=r"it is larger than the \d+ MiB that such a file may have"):
            READERS[given](tmp_path / given)
    path = bundle(tmp_path)
    with open(path / "manifest.json", "wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(BoxcamError, match="it is larger than the 64 MiB"):
        boxcam.load(path)
    with open(tmp_path / "long.jpg", "wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(1 << 34)
    with pytest.raises(InputError, match="which no image is"):
        read_image(tmp_path / "long.jpg")


def test_little_memory_is_taken_by_a_small_file_that_states_much(tmp_path: Path) -> None:
    rows = zlib.compress(bytes(1 + 13_300 // 8 + 1) * 13_300, 9)
    header = struct.pack(">IIBBBBB", 13_300, 13_300, 1, 0, 0, 0, 0)  # just under the limit, of one bit each
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(data)
    assert len(data) < 100_000
    code = (
        "import sys; from boxcam.runtime.images import read_image; print(read_image(sys.argv[1]).shape);"
        " print([int(line.split()[1]) >> 10 for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")], capture_output=True, text=True, check=True
    )
    shape, megabytes = done.stdout.split("\n")[:2]
    assert shape == "(13300, 13300, 3)"
    assert int(megabytes) < 2500


# More pixels than are allowed, by files whose headers are read in two ways.


def netpbm() -> bytes:
    return b"P6\n0000000000036 24\n255\n" + FLAT.tobytes()


def jp2_behind_another() -> bytes:
    data = encode("JPEG2000")
    fake = b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 41, 0, 5, 5, 0, 0)
    box = struct.pack(">I", 24 + len(fake)) + b"uuid" + bytes(16) + fake
    cut = 12 + struct.unpack_from(">I", data, 12)[0]
    return data[:cut] + box + data[cut:]


def tiff_of_two_sizes() -> bytes:
    """36x24 by the first entries, 5x5 by the second ones; OpenCV takes the first."""
    tags = [(256, 36), (256, 5), (257, 24), (257, 5), (258, 8), (259, 1), (262, 1), (273, 8 + 2 + 120 + 4)]
    tags += [(278, 24), (279, 36 * 24)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + b"\x09" * (36 * 24)


TWO_SIZES = {"netpbm": netpbm, "jp2": jp2_behind_another, "tiff": tiff_of_two_sizes}


@pytest.mark.parametrize("kind", TWO_SIZES)
def test_the_limit_holds_for_a_file_that_states_two_sizes(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(TWO_SIZES[kind]())
    assert read_image(tmp_path / "a").shape == FLAT.shape
    with boxcam.limits(max_pixels=36 * 24 - 1), pytest.raises(InputError, match="36x24 pixels, and at most 863 are"):
        read_image(tmp_path / "a")


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_decoded_is_compared_with_what_was_stated(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a header is misread in: pixels of another size are none of the image that was allowed."""
    make, _ = FORMATS[kind]
    (tmp_path / "a").write_bytes(make())
    monkeypatch.setattr(headers, "size", lambda data: (24, 36))  # of one that is turned
    assert read_image(tmp_path / "a").shape == FLAT.shape
    monkeypatch.setattr(headers, "size", lambda data: (36, 23))
    with pytest.raises(InputError, match="is damaged: its parts do not fit together"):
        read_image(tmp_path / "a")
    with boxcam.limits(max_pixels=36 * 23), pytest.raises(InputError, match="36x24 pixels, and at most 828 are"):
        read_image(tmp_path / "a")


@pytest.mark.parametrize("array", [FLAT, FLAT[..., 0], np.zeros((24, 36, 6), np.uint8)], ids=["colours", "grey", "six"])
def test_an_array_has_the_same_limit(array: np.ndarray) -> None:
    channels = array.shape[2] if array.ndim == 3 else 3
    with boxcam.limits(max_pixels=36 * 24):
        assert load_image(array, channels=channels).shape == (24, 36, channels)
    with boxcam.limits(max_pixels=36 * 24 - 1), pytest.raises(InputError, match="36x24 pixels, and at most 863 are"):
        load_image(array, channels=channels)
