"""How large an image is, as its file says before anything of it is decoded.

The formats are PNG (W3C), JPEG (ITU-T T.81), GIF89a, BMP, Netpbm, WebP (RFC 9649), TIFF 6 and BigTIFF, JPEG 2000
(ISO 15444-1) and AVIF (ISO 23008-12, see `boxcam.runtime.avif`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

from boxcam.runtime import avif

Size = tuple[int, int]
"""Width and height."""

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
GIF = (b"GIF87a", b"GIF89a")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
EXR = b"\x76\x2f\x31\x01"
FLOAT = (b"#?RADIANCE", b"#?RGBE", b"PF", b"Pf", EXR)
"""Radiance HDR, portable float maps and OpenEXR, whose pixels are floating-point numbers."""
_J2K = b"\xff\x4f\xff\x51"
# A search tries each byte of a file: what it tries there has to end at once, or a file of one letter takes minutes.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NUMBER = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*(\d+)")
_DIGITS = 20
"""Of a side, zeros in front included; a decoder reads all of them."""
_LINE = 4096
"""Bytes of a line that are looked at."""


class TruncatedError(ValueError):
    """A file ends before its header, or its structure, does."""


def size(data: bytes) -> Size | None:
    """Width and height that a file states, the largest of each if it states several; None if it is of another format.

    Raises:
        TruncatedError: it ends too early.
        ValueError: its header makes no sense.
    """
    for starts, read in _READERS:
        if data.startswith(starts):
            return _read(read, data)
    if is_webp(data):
        return _read(_webp, data)
    if data[4:8] == b"ftyp":
        return _read(avif.size, data)
    return None


def is_webp(data: bytes) -> bool:
    """Whether a file is a WebP, as far as its beginning tells."""
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def segments(data: bytes) -> Iterator[tuple[int, int]]:
    """The segments of a JPEG up to its end (EOI): each one's marker, and where its length stands.

    Raises:
        TruncatedError: there is no end.
    """
    place = 2
    while True:
        # Between segments there are only fill bytes; after a start of scan, coded data up to the next marker.
        marker = _MARKER.search(data, place)
        if marker is None:
            raise TruncatedError
        code, place = marker[1][0], marker.end()
        yield code, place
        if code == 0xD9:
            return
        if code in (0x01, 0xD8):
            continue
        if place + 2 > len(data):
            raise TruncatedError
        place += struct.unpack_from(">H", data, place)[0]


def is_arithmetic(data: bytes) -> bool:
    """Whether a JPEG has arithmetic codes, which may take less than a bit each.

    Raises:
        TruncatedError: it has no end.
    """
    return bool([code for code, _ in segments(data) if code in _FRAMES and code > 0xC8])


def _read(read: Callable[[bytes], Size], data: bytes) -> Size:
    try:
        return read(data)
    except (struct.error, IndexError, OverflowError) as error:  # the last of a place beyond what there can be
        raise TruncatedError from error


def _png(data: bytes) -> Size:
    if data[12:16] != b"IHDR":
        raise ValueError("no IHDR")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg(data: bytes) -> Size:
    """Of all frames, up to where the file is cut off; `segments` tells whether it is."""
    found: list[tuple[int, int]] = []
    try:
        for code, place in segments(data):
            if code in _FRAMES:
                found.append(struct.unpack_from(">HH", data, place + 3))
    except (TruncatedError, struct.error):
        if not found:
            raise
    if not found:
        raise ValueError("no frame")
    return max(width for _, width in found), max(height for height, _ in found)


def _gif(data: bytes) -> Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> Size:
    header = struct.unpack_from("<I", data, 14)[0]
    if header == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = (abs(side) for side in struct.unpack_from("<ii", data, 18))
    return width, height


def _netpbm(data: bytes) -> Size:
    place, sides = 2, []
    for _ in range(2):
        found = _NUMBER.match(data, place)
        if found is None or len(found[1]) > _DIGITS:
            raise ValueError("no size")
        place = found.end() + 1  # OpenCV takes the letter behind a number for its end, a ``#`` too
        sides.append(int(found[1]))
    return sides[0], sides[1]


def _pam(data: bytes) -> Size:
    """Of all lines up to ``ENDHDR``, the largest of each side."""
    sides: dict[bytes, int] = {}
    place = 0
    while True:
        end = data.find(b"\n", place)
        if end < 0:
            raise TruncatedError
        words = data[place : min(end, place + _LINE)].split()
        place = end + 1
        if words[:1] == [b"ENDHDR"]:
            break
        if words[:1] in ([b"WIDTH"], [b"HEIGHT"]):
            if len(words) < 2 or not words[1].isdigit() or len(words[1]) > _DIGITS:
                raise ValueError("no size")
            sides[words[0]] = max(int(words[1]), sides.get(words[0], 0))
    if len(sides) != 2:
        raise ValueError("no size")
    return sides[b"WIDTH"], sides[b"HEIGHT"]


def _webp(data: bytes) -> Size:
    kind = data[12:16]
    if kind == b"VP8X":
        canvas = int.from_bytes(data[24:30].ljust(6, b"\0"), "little")
        return (canvas & 0xFFFFFF) + 1, (canvas >> 24) + 1
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("no image")


_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}


def _tiff(data: bytes) -> Size:
    """Of the first directory; a side that stands there twice is the larger of them, as readers differ in which counts.

    A value of eight bytes has no room in an entry of the older kind, and stands elsewhere.
    """
    order, big = "<" if data.startswith(b"II") else ">", data[2:4] in (b"+\0", b"\0+")
    pointer, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    place = struct.unpack_from(order + pointer, data, 8 if big else 4)[0]
    entries = struct.unpack_from(order + count, data, place)[0]
    place += struct.calcsize(order + count)
    sides: dict[int, int] = {}
    for start in range(place, min(place + entries * entry, len(data)), entry):
        tag, kind = struct.unpack_from(order + "HH", data, start)
        if tag in (256, 257):
            if kind not in _TIFF_TYPES:
                raise ValueError("a size of a strange type")
            where = start + (12 if big else 8)
            if kind == 16 and not big:
                where = struct.unpack_from(order + "I", data, where)[0]
            sides[tag] = max(struct.unpack_from(order + _TIFF_TYPES[kind], data, where)[0], sides.get(tag, 0))
    if len(sides) != 2:
        raise ValueError("no size")
    return sides[256], sides[257]


def _jpeg2000(data: bytes) -> Size:
    """Of the codestream, which is the file or the content of its box ``jp2c``, or of the header before it if larger."""
    start, height, width = 0, 0, 0
    if not data.startswith(_J2K):
        for kind, first, last in avif.children(data, 0, len(data)):
            for inner, place, _ in avif.children(data, first, last) if kind == b"jp2h" else ():
                if inner == b"ihdr":
                    height, width = struct.unpack_from(">II", data, place)
        start = next((first for kind, first, _ in avif.children(data, 0, len(data)) if kind == b"jp2c"), len(data))
        if data[start : start + 4] != _J2K:
            raise ValueError("no codestream")
    # SIZ: length, capabilities, then the reference grid and the image's offset in it.
    right, bottom, left, top = struct.unpack_from(">IIII", data, start + 8)
    return max(right - left, width), max(bottom - top, height)


_READERS: tuple[tuple[bytes | tuple[bytes, ...], Callable[[bytes], Size]], ...] = (
    (PNG, _png),
    (JPEG, _jpeg),
    (GIF, _gif),
    (b"BM", _bmp),
    ((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"), _netpbm),
    (b"P7", _pam),
    (TIFF, _tiff),
    ((_J2K, b"\0\0\0\x0cjP  "), _jpeg2000),
)
"""How the files of a format begin, and how their size is read; WebP and AVIF do not begin with their names."""
