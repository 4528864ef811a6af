"""Images come in: from files, from arrays, and from the folders and patterns that a person names.

Pixels are what ``cv2.imread(path, cv2.IMREAD_COLOR)`` gives, because that is what the detector was trained on:

- turned upright by the EXIF orientation;
- grey becomes three equal channels, palettes are looked up, CMYK is converted;
- alpha is dropped, not blended (a TIFF's colours come multiplied by it);
- 16 bits become 8 by dropping the lower byte;
- of an animation or a document, the first frame or page (GIF needs OpenCV 4.12).

What OpenCV would read wrongly in silence is refused: files that were cut off, and pixels that are not 8 or 16 bits.
So is what is larger than `boxcam.limits` allows, by the size that its header states, before anything is decoded.
"""

from __future__ import annotations

import glob
import os
import stat
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from boxcam.budget import current
from boxcam.errors import InputError
from boxcam.filesystem import open_file
from boxcam.runtime import avif, headers
from boxcam.runtime.arrays import open_array
from boxcam.runtime.foreign import VIDEO, is_address, is_video, what_else
from boxcam.runtime.orientation import orientation, upright
from boxcam.types import Image

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"),
    *(".jp2", ".avif", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""What counts as an image in a folder or a pattern. A file that is named itself is read whatever it is called."""

ARRAY = ".npy"
"""What counts as one too for a model of other channels than three: maps and labels of colour pictures are arrays."""

MAX_SIDE, MAX_PIXELS = 1 << 20, 1 << 30
"""OpenCV's limits for a file that it reads."""

MAX_BYTES = 1 << 30
"""Of an image file."""

_logging: Any = getattr(cv2.utils, "logging", cv2)
"""Where OpenCV keeps its log level: in a module of its own from 4.13 on."""
_SILENT = 0
_log_level = threading.Lock()


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read an image file.

    Returns:
        uint8 [H, W, 3], BGR.

    Raises:
        InputError: there is no such file, or it is not an image that can be read whole.
    """
    data = _read(path)
    try:
        size = _check_whole(data)
        pixels = _decode(data)
        _check_stated(pixels, size)
    except _UnreadableError as error:
        raise InputError(f"{os.fspath(path)} {error}") from None
    return pixels


def check_array(image: object, name: str = "an image array") -> Image:
    """Check an image that was given as an array.

    Args:
        image: uint8 [H, W, 3] BGR, or [H, W] grey.
        name: what messages call it.

    Returns:
        uint8 [H, W, 3], BGR: a copy.

    Raises:
        InputError: it is anything else.
    """
    if not isinstance(image, np.ndarray):
        hint = " cv2.imread gives None for a file that it cannot read." if image is None else ""
        raise InputError(
            f"an image must be a path, a numpy array or a PIL image, not {type(image).__name__}. Pass a path, or uint8"
            f" [H, W, 3] in BGR order.{hint}"
        )
    if hasattr(image, "mask"):
        raise InputError(f"{name} with a mask cannot be used. Pass it with what is masked filled: image.filled(0).")
    image = np.asarray(image)  # classes of their own, such as np.matrix, have other rules for axes
    what = f"{name} of {image.dtype} {list(image.shape)} cannot be used"
    if image.ndim == 3 and image.shape[2] == 4:
        raise InputError(f"{what}: it has 4 channels. Drop the alpha channel: image[:, :, :3].")
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        raise InputError(f"{what}: its channels come first. Move them to the end: image.transpose(1, 2, 0).")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise InputError(f"{what}. Pass one image, uint8 [H, W, 3] in BGR order or [H, W] grey.")
    if image.dtype != np.uint8:
        raise InputError(
            f"{what}: pixels must be uint8, 0 to 255. Scale it to that range and convert it: image.astype(np.uint8)."
        )
    if 0 in image.shape:
        raise InputError(f"{what}: it has no pixels. Pass an image with a height and a width above 0.")
    if said := too_large(image.shape[1], image.shape[0]):
        raise InputError(f"{name} of {image.dtype} {list(image.shape)} {said}")
    plain = np.array(image, order="C")  # its own memory, as explanations outlive what a camera writes into next
    return plain if plain.ndim == 3 else np.repeat(plain[:, :, None], 3, axis=2)


def find_images(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    missing: list[InputError] | None = None,
    channels: int = 3,
) -> list[Path]:
    """The image files that a person means by files, folders and patterns.

    A file is taken as it is. A folder means the images in it, sorted by name, not those in folders below. A pattern
    (``*``, ``?``, ``[a-z]``, ``**`` for any depth) means the images it matches, sorted. Hidden files are left out
    unless named. A file that is named twice comes once, where it was first.

    For a model of other channels than three the arrays in folders and patterns are images too, if they have three axes,
    or for one channel two and pixels of uint8. Others, as of boxes or embeddings, are left out; one of three axes and
    other channels is refused when it is read, by its name.

    Args:
        inputs: what the person names.
        missing: gets an error for each input that does not exist or means no image, instead of its being raised.
        channels: how many the model takes.

    Raises:
        InputError: an input does not exist, or means no image.
    """
    found: dict[str, Path] = {}
    for given in [inputs] if isinstance(inputs, str | os.PathLike) else inputs:
        try:
            for path in _expand(os.fspath(given), channels):
                found.setdefault(os.path.abspath(path), path)
        except InputError as error:
            if missing is None:
                raise
            missing.append(error)
    return list(found.values())


class _UnreadableError(Exception):
    """Why a file cannot be read, as the rest of a sentence that begins with its name."""


def _expand(given: str, channels: int) -> list[Path]:
    path = Path(given)
    _check_local(given)
    if os.path.isdir(given):
        try:
            os.stat(os.path.join(path, "."))  # which takes the right to go into it
            images = [file for file in path.iterdir() if _is_image(file, channels) and not file.name.startswith(".")]
        except OSError as error:
            raise InputError(f"folder {given} cannot be read: {error.strerror}. Check its permissions.") from error
        if not images:
            raise InputError(f"folder {given} contains no image. Pass '{path}/**/*' for those in its subfolders.")
        return sorted(images)
    if os.path.exists(given):
        return [path]
    if glob.has_magic(given):
        images = _each_once(filter(partial(_is_image, channels=channels), map(Path, glob.iglob(given, recursive=True))))
        if not images:
            endings = EXTENSIONS if channels == 3 else (*EXTENSIONS, ARRAY)
            raise InputError(
                f"pattern {given} matches no image. Pass one that matches files ending in {', '.join(endings)}."
            )
        return sorted(images)
    name = given or "an empty name, '',"
    raise InputError(f"{name} does not exist. Pass an image, a folder, or a pattern in quotes.")


def _check_local(name: str) -> None:
    if is_address(name):
        raise InputError(f"{name} is an address on the network, and only files are read. Download it first.")


def _each_once(files: Iterable[Path]) -> list[Path]:
    """The files by their shortest paths: a link to a folder that leads back shows the same ones at every depth."""
    found: dict[str, Path] = {}
    for file in sorted(files, key=lambda file: len(file.parts)):
        found.setdefault(os.path.join(os.path.realpath(file.parent), file.name), file)
    return list(found.values())


def _is_image(path: Path, channels: int) -> bool:
    if channels != 3 and path.suffix.lower() == ARRAY:
        return _is_file(path) and _has_axes_of_an_image(path, channels)
    return path.suffix.lower() in EXTENSIONS and _is_file(path)


def _is_file(path: Path) -> bool:
    """Whether it is a file; what may not be looked at is taken for one, so that reading it says why it cannot be."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False


def _has_axes_of_an_image(path: Path, channels: int) -> bool:
    """Whether an array has as many axes as one of an image; a file that is no array is one to complain of."""
    try:
        array = open_array(path)
    except (OSError, ValueError):
        return True
    return array.ndim == 3 or (array.ndim == 2 and channels == 1 and array.dtype == np.uint8)


def _read(path: str | os.PathLike[str]) -> bytes:
    """The file's bytes. Python reads them: OpenCV cannot open every name on every system."""
    name = os.fspath(path)
    _check_local(name)
    try:
        if os.path.isdir(name):
            raise InputError(f"{name} is a folder, not an image. Pass one image file.")
        with open_file(name) as stream:
            beginning = stream.read(4096)
            if is_video(beginning):  # and it may be larger than the memory
                raise InputError(f"{name} {VIDEO}")
            data = beginning + stream.read(MAX_BYTES - len(beginning) + 1)
        if len(data) > MAX_BYTES:
            raise InputError(f"{name} is larger than {MAX_BYTES >> 20} MiB, which no image is. Pass one image file.")
        return data
    except FileNotFoundError:
        raise InputError(f"image {name} does not exist. Check the path.") from None
    except ValueError as error:
        raise InputError(f"image {name!r} cannot be read: {error}. Check the path.") from error
    except OSError as error:
        raise InputError(
            f"image {name} cannot be read: {error.strerror}. Check the path and its permissions."
        ) from error


def _decode(data: bytes) -> Image:
    """Decode a file that looks whole."""
    buffer = np.frombuffer(data, np.uint8)
    with _quiet():
        if data.startswith(headers.TIFF):
            _check_depth(_imdecode(buffer, cv2.IMREAD_UNCHANGED))
        turned = headers.is_webp(data)  # here, as not every version of OpenCV does it
        pixels = _imdecode(buffer, cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if turned else 0))
        if pixels is None:
            raise _UnreadableError(_UNKNOWN)
        if pixels.size == 0:
            raise _UnreadableError(_NO_PIXELS)
        if not pixels.any():
            _check_not_lost(_imdecode(buffer, cv2.IMREAD_UNCHANGED))
    if turned:
        pixels = upright(pixels, orientation(data))
    if data[4:8] == b"ftyp":
        try:
            pixels = avif.upright(np.asarray(pixels, np.uint8), data)
        except ValueError:
            raise _UnreadableError(_DAMAGED) from None
    return np.ascontiguousarray(pixels, np.uint8)


def _imdecode(buffer: npt.NDArray[np.uint8], flags: int) -> npt.NDArray[Any] | None:
    try:
        decoded: npt.NDArray[Any] | None = cv2.imdecode(buffer, flags)
    except cv2.error as error:
        if "CV_IO_MAX" in str(error):
            raise _UnreadableError(_TOO_LARGE) from None
        return None
    return decoded


def _check_depth(pixels: npt.NDArray[Any] | None) -> None:
    if pixels is not None and pixels.dtype not in (np.uint8, np.uint16):
        raise _UnreadableError(_RANGE.format(pixels.dtype))


def _check_not_lost(pixels: npt.NDArray[Any] | None) -> None:
    if pixels is not None and pixels.dtype == np.uint16 and pixels.any():
        raise _UnreadableError(
            f"has 16 bits but no value above {pixels.max()}, and would be read as black. Scale its values to 0 to"
            " 65535."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV from logging to stderr what is raised as an error here."""
    with _log_level:
        before = _logging.getLogLevel()
        _logging.setLogLevel(_SILENT)
        try:
            yield
        finally:
            _logging.setLogLevel(before)


# Some versions of OpenCV read half a file without a word, others print the decoder's complaint to stderr, past
# any log level. So the file's structure is followed to its end before it is decoded.

_CUT = "is truncated: it ends before the image does. Copy it again."
_DAMAGED = "is damaged: its parts do not fit together. Copy it again."
_UNKNOWN = "is damaged, or an image format that this OpenCV cannot read. Save it as PNG."
_NO_PIXELS = "has no pixels. Save it again."
_RANGE = "has {} pixels, whose range from black to white is unknown. Save it with 8 or 16 bits."
_TOO_LARGE = f"is too large: OpenCV reads up to {MAX_SIDE} pixels per side and {MAX_PIXELS} in total. Make it smaller."


def _check_whole(data: bytes) -> headers.Size:
    """Check what a file's own structure says about its length and size.

    Returns:
        The size that it states.

    Raises:
        _UnreadableError: it is empty, not an image, truncated, damaged, without pixels, or too large.
    """
    if not data:
        raise _UnreadableError("is empty. Copy it again.")
    if data.startswith(headers.FLOAT):
        raise _UnreadableError(_RANGE.format("floating-point" if data.startswith(headers.EXR) else "float32"))
    try:
        size = headers.size(data)
    except headers.TruncatedError:
        raise _UnreadableError(_CUT) from None
    except ValueError:
        raise _UnreadableError(_UNKNOWN) from None
    if size is None:
        raise _UnreadableError(what_else(data))
    _check_size(*size)
    if data.startswith(headers.PNG):
        _check_png(data)
    elif data.startswith(headers.JPEG):
        _check_jpeg(data, size)
    elif headers.is_webp(data) and len(data) < 8 + struct.unpack_from("<I", data, 4)[0]:
        raise _UnreadableError(_CUT)
    return size


def _check_stated(pixels: Image, size: headers.Size) -> None:
    """Refuse an image that is larger than its file states, turned or not: what was allowed was another one."""
    _check_size(pixels.shape[1], pixels.shape[0])
    if any(have > stated for have, stated in zip(sorted(pixels.shape[:2]), sorted(size), strict=True)):
        raise _UnreadableError(_DAMAGED)


def _check_png(data: bytes) -> None:
    """Walk the chunks to IEND; what follows it is nobody's business."""
    place, first = len(headers.PNG), True
    while place + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[place + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise _UnreadableError(_DAMAGED)
        if first and length != 13:
            raise _UnreadableError(_DAMAGED)
        if name == b"IEND":
            return
        place, first = end, False
    raise _UnreadableError(_CUT)


def _check_jpeg(data: bytes, size: headers.Size) -> None:
    """Refuse what is cut off, and what states more than it holds: by Huffman codes, 8x8 pixels take a bit or more."""
    try:
        arithmetic = headers.is_arithmetic(data)
    except headers.TruncatedError:
        raise _UnreadableError(_CUT) from None
    if len(data) * 8 < size[0] * size[1] // 64 and not arithmetic:
        raise _UnreadableError(_DAMAGED)


def too_large(width: int, height: int) -> str:
    """That an image has more pixels than `boxcam.limits` allows, as the rest of a sentence; nothing if it has not."""
    most = current().pixels
    if width * height <= most:
        return ""
    return (
        f"is too large: {width}x{height} pixels, and at most {most} are read. Make it smaller, or raise the limit with"
        " max_pixels=."
    )


def _check_size(width: int, height: int) -> None:
    """Refuse an image that is too large, or has no pixels.

    Raises:
        _UnreadableError: as it says.
    """
    if width == 0 or height == 0:
        raise _UnreadableError(_NO_PIXELS)
    if said := too_large(width, height):
        raise _UnreadableError(said)
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise _UnreadableError(_TOO_LARGE)
