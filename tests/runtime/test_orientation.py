"""Files are turned upright by their orientation, on every way that leads in."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from boxcam.runtime.images import read_image
from boxcam.runtime.orientation import orientation, upright
from boxcam.runtime.planes import read_planes

UPRIGHT = np.zeros((32, 64, 3), np.uint8)
UPRIGHT[:16, :32] = 255  # the upper left quarter is white
UPRIGHT[16:, :32] = 90
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT, 1),
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}
"""The image as a camera stores it that is held otherwise, by the orientation (CIPA DC-008, figure 4)."""


def exif(turned: int) -> Image.Exif:
    data = Image.Exif()
    data[0x112] = turned
    return data


def stored(turned: int, channels: int = 3) -> np.ndarray:
    pixels = np.ascontiguousarray(STORED[turned])
    return np.ascontiguousarray(pixels[..., [0, 1, 2, 0, 1, 2][:channels]])


def check(image: np.ndarray, channels: int) -> None:
    assert image.shape == (32, 64, channels)
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - UPRIGHT[..., :1]).max() < 60


KINDS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 95},
}


@pytest.mark.parametrize("turned", STORED)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_and_grey(kind: str, turned: int, channels: int, tmp_path: Path) -> None:
    Image.fromarray(stored(turned)).save(tmp_path / "a", kind, exif=exif(turned), **KINDS[kind])
    check(read_planes(tmp_path / "a", channels), channels)


@pytest.mark.parametrize("turned", STORED)
@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_with_alpha(turned: int, channels: int, tmp_path: Path) -> None:
    Image.fromarray(stored(turned, 4), "RGBA").save(tmp_path / "a.png", exif=exif(turned))
    check(read_planes(tmp_path / "a.png", channels), channels)


@pytest.mark.parametrize("turned", STORED)
@pytest.mark.parametrize("channels", [4, 5, 6])
def test_a_tiff_of_channels(turned: int, channels: int, tmp_path: Path) -> None:
    tags = [(274, 3, 1, turned, True)]
    tifffile.imwrite(
        tmp_path / "a.tif", stored(turned, channels), photometric="minisblack", planarconfig="contig", extratags=tags
    )
    check(read_planes(tmp_path / "a.tif", channels), channels)


@pytest.mark.parametrize("turned", STORED)
def test_a_webp_with_and_without_the_prefix_that_only_a_jpeg_has(turned: int, tmp_path: Path) -> None:
    data = exif(turned).tobytes()
    assert data.startswith(b"Exif\0\0")
    for form in (data, data[6:]):
        stream = io.BytesIO()
        Image.fromarray(stored(turned)).save(stream, "WEBP", exif=form, lossless=True)
        assert orientation(stream.getvalue()) == turned
        (tmp_path / "a.webp").write_bytes(stream.getvalue())
        check(read_image(tmp_path / "a.webp"), 3)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("stated", "expected"), [(0, 1), (1, 1), (6, 6), (8, 8), (9, 1)])
def test_other_tags_may_come_before_it(order: str, stated: int, expected: int) -> None:
    """Its entry is the third one of a directory that does not begin where the header ends."""
    entries = [(256, 4, 7), (259, 3, 1), (274, 3, stated)]
    packed = [
        struct.pack(order + "HHI", tag, kind, 1)
        + struct.pack(order + ("H" if kind == 3 else "I"), value).ljust(4, b"\0")
        for tag, kind, value in entries
    ]
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 12) + b"past"
    tiff += struct.pack(order + "H", 3) + b"".join(packed) + bytes(4)
    chunk = struct.pack(">I", len(tiff)) + b"eXIf" + tiff + bytes(4)
    other = struct.pack(">I", 3) + b"tEXtabc" + bytes(4)
    assert orientation(b"\x89PNG\r\n\x1a\n" + other + chunk) == expected
    odd = b"EXTR\3\0\0\0abc\0"  # chunks of a WebP have an even length
    webp = b"RIFF\0\0\0\0WEBP" + odd + b"EXIF" + struct.pack("<I", len(tiff)) + tiff
    assert orientation(webp) == expected


def test_what_states_no_orientation_is_upright() -> None:
    stream = io.BytesIO()
    Image.fromarray(UPRIGHT).save(stream, "PNG", exif=b"MM\0*\0\0")
    for data in (b"", b"\x89PNG", stream.getvalue(), stream.getvalue()[:40], b"RIFF\0\0\0\0WEBPEXIF\xff\0\0\0", b"P5"):
        assert orientation(data) == 1
    assert upright(UPRIGHT, 0) is UPRIGHT
    assert upright(UPRIGHT, None) is UPRIGHT


@pytest.mark.parametrize("turned", STORED)
def test_it_is_what_opencv_makes_of_a_png(turned: int) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (7, 5, 3), np.uint8)).save(
        stream, "PNG", exif=exif(turned)
    )
    buffer = np.frombuffer(stream.getvalue(), np.uint8)
    plain = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    assert (upright(plain, orientation(stream.getvalue())) == cv2.imdecode(buffer, cv2.IMREAD_COLOR)).all()
