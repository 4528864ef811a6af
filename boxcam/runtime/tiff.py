"""TIFF files of any number of channels, which OpenCV reads only up to four, and with alpha multiplied in.

Read is what scientific tools write: strips or pages, of 8 or 16 bits a sample, as they are or deflated, the channels
pixel by pixel, plane by plane, or page by page. See Adobe's TIFF 6.0, sections 2 and 3.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.errors import InputError
from boxcam.filesystem import read_file
from boxcam.runtime.images import too_large

TIFF = (b"II*\0", b"MM\0*")
MAX_BYTES = 1 << 31
"""Of an image, unpacked."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _OFFSETS, _SAMPLES = 256, 257, 258, 259, 273, 277
_ROWS, _COUNTS, _PLANAR, _PREDICTOR, _TILES, _FORMAT = 278, 279, 284, 317, 322, 339
_TYPES = {1: "B", 3: "H", 4: "I"}
_PLAIN, _DEFLATED = (1,), (8, 32946)
_ADVICE = "Save it as an array with numpy.save (.npy), uint8 [height, width, channels]."
_MOST_PAGES = 4096


def read_tiff(name: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read a TIFF.

    Returns:
        uint8 or uint16 [H, W, C], the channels in the order of the file.

    Raises:
        InputError: it is cut off, or stored in a way that is not read here.
    """
    try:
        data = read_file(name, MAX_BYTES)
    except OSError as error:
        raise InputError(f"image {name} cannot be read: {error.strerror}. Check its permissions.") from error
    try:
        pages: list[npt.NDArray[Any]] = []
        for page in _pages(data):
            pages.append(_pixels(data, page, os.fspath(name)))
            if sum(one.nbytes for one in pages) > MAX_BYTES:
                raise InputError(f"{name} has {len(pages)} pages or more, which are too large. {_ADVICE}")
        return np.concatenate(pages, axis=2)
    except (struct.error, zlib.error, KeyError, IndexError, ValueError) as error:
        raise InputError(f"{name} is a TIFF that is damaged or truncated ({error}). Copy it again.") from error


def _pages(data: bytes) -> Iterator[Mapping[int, tuple[int, ...]]]:
    """The tags of each page."""
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    seen: set[int] = set()
    while place and place not in seen and len(seen) < _MOST_PAGES:
        seen.add(place)
        (count,) = struct.unpack_from(f"{order}H", data, place)
        tags: dict[int, tuple[int, ...]] = {-1: (0 if order == "<" else 1,)}
        for entry in range(count):
            tag, kind, number, _ = struct.unpack_from(f"{order}HHII", data, place + 2 + 12 * entry)
            if kind in _TYPES:
                letter = _TYPES[kind]
                at = place + 10 + 12 * entry
                if number * struct.calcsize(letter) > 4:
                    (at,) = struct.unpack_from(f"{order}I", data, at)
                if number > len(data):
                    raise ValueError("a list that is longer than the file")
                tags[tag] = struct.unpack_from(f"{order}{number}{letter}", data, at)
        yield tags
        (place,) = struct.unpack_from(f"{order}I", data, place + 2 + 12 * count)


def _pixels(data: bytes, page: Mapping[int, tuple[int, ...]], name: str) -> npt.NDArray[Any]:
    """The pixels of a page, [H, W, C]."""
    width, height, samples = page[_WIDTH][0], page[_HEIGHT][0], page.get(_SAMPLES, (1,))[0]
    bits, packing = set(page.get(_BITS, (1,))), page.get(_COMPRESSION, (1,))[0]
    if bits not in ({8}, {16}) or set(page.get(_FORMAT, (1,))) != {1}:
        raise InputError(f"{name} does not have 8 or 16 bits a channel, without sign. {_ADVICE}")
    if packing not in (*_PLAIN, *_DEFLATED) or page.get(_PREDICTOR, (1,))[0] != 1 or _TILES in page:
        how = "in tiles" if _TILES in page else f"with compression {packing} and a predictor of its own"
        raise InputError(f"{name} is stored {how}, which boxcam does not read of {samples} channels. {_ADVICE}")
    if words := too_large(width, height):
        raise InputError(f"{name} {words}")
    dtype = np.dtype(np.uint8 if bits == {8} else (">u2" if page[-1][0] else "<u2"))
    if width * height * samples * dtype.itemsize > MAX_BYTES or 0 in (width, height, samples):
        raise InputError(
            f"{name} has {height}x{width} pixels of {samples} channels. Pass one of a size that fits memory."
        )
    by_plane = page.get(_PLANAR, (1,))[0] == 2 and samples > 1
    rows = max(min(page.get(_ROWS, (height,))[0], height), 1)
    depth, planes = (1, samples) if by_plane else (samples, 1)
    strips = -(-height // rows)
    result = np.empty((planes, height, width, depth), dtype)
    for number, (offset, length) in enumerate(zip(page[_OFFSETS], page[_COUNTS], strict=True)):
        plane, strip = divmod(number, strips)
        first, last = strip * rows, min((strip + 1) * rows, height)
        size = (last - first) * width * depth * dtype.itemsize
        packed = data[offset : offset + length]
        if packing in _DEFLATED:
            packed = zlib.decompressobj().decompress(packed, size)
        if len(packed) < size:
            raise ValueError("a strip that ends early")
        result[plane, first:last] = np.frombuffer(packed[:size], dtype).reshape(last - first, width, depth)
    if len(page[_OFFSETS]) != strips * planes:
        raise ValueError("strips that are missing")
    return (
        result[0].astype(dtype.newbyteorder("="))
        if planes == 1
        else result[..., 0].transpose(1, 2, 0).astype(dtype.newbyteorder("="))
    )
