"""TIFF files of any number of channels, which OpenCV reads only up to four, and with alpha multiplied in.

tifffile reads them, an extra of boxcam: strips or tiles, of 8 or 16 bits a sample, as they are or deflated, the
channels pixel by pixel, plane by plane, or page by page, turned upright. What a stranger's file may do to it is looked
at first: it inflates a strip to whatever comes out (2 MB made 4 GB), takes parts that a file does not have for black,
and knows no limit of pixels. See Adobe's TIFF 6.0, sections 2 and 3, and BigTIFF.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import math
import os
import struct
import types
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.errors import InputError, PackageError
from boxcam.filesystem import read_file
from boxcam.runtime.images import too_large
from boxcam.runtime.orientation import upright

MAX_BYTES = 1 << 31
"""Of an image, unpacked."""

_PLAIN, _DEFLATED = (1,), (8, 32946)
_ADVICE = "Save it as an array with numpy.save (.npy), uint8 [height, width, channels]."
_MOST_PAGES = 4096
_ORIENTATION = 274
_WRONG = (
    *(ArithmeticError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError),
    *(OSError, struct.error, zlib.error),
)
"""What tifffile raises at files that are no whole TIFFs."""


def read_tiff(name: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read a TIFF.

    Returns:
        uint8 or uint16 [H, W, C], the channels in the order of the file.

    Raises:
        InputError: it is cut off, too large, or stored in a way that is not read here.
        PackageError: tifffile is not installed.
    """
    try:
        data = read_file(name, MAX_BYTES)
    except OSError as error:
        raise InputError(f"image {name} cannot be read: {error.strerror}. Check its permissions.") from error
    tifffile = _library(os.fspath(name))
    pages: list[npt.NDArray[Any]] = []
    left = MAX_BYTES
    try:
        with _quiet(), tifffile.TiffFile(io.BytesIO(data)) as file:
            for number, page in enumerate(itertools.islice(file.pages, _MOST_PAGES + 1)):
                left -= _size(page, os.fspath(name))
                if left < 0 or number == _MOST_PAGES:
                    raise InputError(f"{name} has {number + 1} pages or more, which are too large. {_ADVICE}")
                _check_parts(page, data)
                pixels = _planes(page.asarray(maxworkers=1).reshape(page.shaped))
                pages.append(upright(pixels, page.tags.valueof(_ORIENTATION)))
        return np.concatenate(pages, axis=2)
    except (*_WRONG, tifffile.TiffFileError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{name} is a TIFF that is damaged or truncated ({said}). Copy it again.") from error


def _library(name: str) -> types.ModuleType:
    try:
        import tifffile
    except ImportError as error:
        raise PackageError(
            f"{name} is a TIFF of channels that are no colours, and reading those needs tifffile, which is not"
            " installed here. Install boxcam's 'tiff' extra: pip install 'boxcam[tiff]'.",
            name="tifffile",
        ) from error
    return tifffile


def _size(page: Any, name: str) -> int:
    """Bytes of a page's pixels, of what its tags say.

    Raises:
        InputError: it is stored in another way than is read here, or is too large.
    """
    if page.dtype not in (np.uint8, np.uint16) or page.bitspersample not in (8, 16):
        raise InputError(f"{name} does not have 8 or 16 bits a channel, without sign. {_ADVICE}")
    if page.compression not in (*_PLAIN, *_DEFLATED) or page.predictor not in (1, 2) or page.fillorder != 1:
        raise InputError(
            f"{name} is stored with compression {int(page.compression)} and predictor {int(page.predictor)}, which"
            f" boxcam does not read of {page.samplesperpixel} channels. {_ADVICE}"
        )
    sides = [(page.imagewidth, page.imagelength)]
    if page.is_tiled:
        sides.append((page.tilewidth, page.tilelength))
    for width, height in sides:
        if words := too_large(width, height):
            raise InputError(f"{name} {words}")
    size = page.imagewidth * page.imagelength * page.samplesperpixel * page.dtype.itemsize
    if not 0 < size <= MAX_BYTES or page.imagedepth != 1:
        raise InputError(
            f"{name} has {page.imagelength}x{page.imagewidth} pixels of {page.samplesperpixel} channels. Pass one of a"
            " size that fits memory."
        )
    return int(size)


def _check_parts(page: Any, data: bytes) -> None:
    """See that all strips or tiles are in the file, and that none holds more than it may.

    Raises:
        ValueError: it is otherwise.
    """
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(parts) != math.prod(page.chunked):
        raise ValueError("strips that are missing")
    down, across = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    most = (down if page.is_tiled else min(down, page.imagelength)) * across * samples * page.dtype.itemsize
    for offset, count in parts:
        if not (offset > 0 and count > 0 and offset + count <= len(data)):
            raise ValueError("a strip that is not in the file")
        if page.compression in _DEFLATED:
            packed = memoryview(data)[offset : offset + count]
            if len(zlib.decompressobj().decompress(packed, most + 1)) > most:
                raise ValueError("a strip of more pixels than the image has")


def _planes(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pixels [planes, 1, H, W, samples], one of the first and the last being 1, as [H, W, C]."""
    return pixels[:, 0].transpose(1, 2, 0, 3).reshape(*pixels.shape[2:4], -1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile from logging what is raised as an error here."""
    logger = logging.getLogger("tifffile")
    logger.addFilter(_never)
    try:
        yield
    finally:
        logger.removeFilter(_never)


def _never(record: logging.LogRecord) -> bool:
    return False
