"""Images for models that do not take three colours: grey ones, and ones of any number of channels.

Of one channel is a grey image, or the grey of a colour one, 0.299 R + 0.587 G + 0.114 B as OpenCV and Pillow round it.
An image of another number of channels comes from an array, a ``.npy`` file or a TIFF of as many, in their order there;
of four also from a PNG or an image of Pillow with alpha. None is dropped and none added.
"""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from boxcam.errors import InputError
from boxcam.runtime.arrays import NPY, open_array
from boxcam.runtime.headers import PNG, TIFF
from boxcam.runtime.images import check_array, read_image, too_large
from boxcam.runtime.orientation import orientation, upright
from boxcam.runtime.tiff import read_tiff
from boxcam.types import Image

_HIGH_BYTE = 8


def read_planes(path: str | os.PathLike[str], channels: int) -> Image:
    """Read an image file for a model that takes so many channels.

    Returns:
        uint8 [H, W, channels]: BGR of three.

    Raises:
        InputError: it cannot be read whole, or has another number of channels.
        PackageError: it is a TIFF, and tifffile is not installed.
    """
    name = os.fspath(path)
    begin = _beginning(name)
    if begin.startswith(NPY):
        return fitted(_from_npy(name), channels, f"{name}: the array")
    if channels in (1, 3):
        return fitted(read_image(path), channels, name)
    if begin.startswith(TIFF):
        return fitted(_bytes(read_tiff(name), name), channels, name)
    if channels == 4 and begin.startswith(PNG):
        read_image(path)  # which says what is wrong with it
        with open(name, "rb") as stream:
            data = stream.read()
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # which turns nothing
        if pixels is not None and pixels.ndim == 3 and pixels.shape[2] == 4:
            pixels = upright(pixels, orientation(data))
            return fitted(_bytes(np.ascontiguousarray(pixels[..., [2, 1, 0, 3]]), name), channels, name)
    return fitted(read_image(path), channels, name)


def read_colors(path: str | os.PathLike[str]) -> Image | None:
    """Read an image file of which it is not known yet how many channels are needed.

    Returns:
        uint8 [H, W, 3], BGR; None if it is an array or a TIFF, which may have others.

    Raises:
        InputError: it cannot be read whole.
    """
    return None if _beginning(os.fspath(path)).startswith((NPY, *TIFF)) else read_image(path)


def fitted(pixels: Any, channels: int, what: str, color: str = "BGR") -> Image:
    """Pixels for a model that takes so many channels.

    Args:
        pixels: an array, [H, W, C], or [H, W] grey.
        channels: of the model.
        what: the image, for messages.
        color: order of three channels, ``BGR`` or ``RGB``.

    Returns:
        uint8 [H, W, channels]: BGR of three.

    Raises:
        InputError: it is no such array, or has another number of channels.
    """
    if isinstance(pixels, np.ndarray) and not hasattr(pixels, "mask"):
        pixels = np.asarray(pixels)  # without a class of its own
    if (
        not isinstance(pixels, np.ndarray)
        or hasattr(pixels, "mask")
        or pixels.ndim not in (2, 3)
        or pixels.shape[-1] in (1, 3)
        or channels == 3
    ):
        single = isinstance(pixels, np.ndarray) and pixels.ndim == 3 and pixels.shape[-1] == 1
        pixels = check_array(pixels[:, :, 0] if single and channels != 3 else pixels, what)
        if channels == 3:
            return np.ascontiguousarray(pixels[..., ::-1]) if color == "RGB" else pixels
        if channels == 1:
            return np.asarray(cv2.cvtColor(pixels, _GREY[color]), np.uint8)[:, :, None]
    if pixels.ndim == 2 and channels == 1:
        return np.asarray(check_array(pixels, what)[:, :, :1])
    count = pixels.shape[2] if pixels.ndim == 3 else 1
    if count != channels:
        first = "Its channels come first: move them to the end with image.transpose(1, 2, 0)."
        turned = pixels.ndim == 3 and pixels.shape[0] == channels
        other = f"Pass an array, a .npy file or a TIFF of {channels} channels."
        if channels == 1:
            other = "Pass a grey image or one of three colours."
        raise InputError(f"{what} has {count} channels, and the model takes {channels}. {first if turned else other}")
    if pixels.dtype != np.uint8:
        raise InputError(
            f"{what} has pixels of type {pixels.dtype}, and they must be uint8, 0 to 255. Scale it to that range and"
            " convert it: image.astype(np.uint8)."
        )
    if 0 in pixels.shape:
        raise InputError(f"{what} has no pixels. Pass an image with a height and a width above 0.")
    if said := too_large(pixels.shape[1], pixels.shape[0]):
        raise InputError(f"{what} {said}")
    return np.ascontiguousarray(pixels)


_GREY = {"BGR": cv2.COLOR_BGR2GRAY, "RGB": cv2.COLOR_RGB2GRAY}


def picture_of(pixels: Image) -> Image:
    """What is drawn of an image, uint8 [H, W, 3] BGR: itself; of any number of channels the first three, as RGB.

    Of one or two channels it is the first one, in grey.
    """
    count = pixels.shape[2]
    if count == 3:
        return pixels
    return np.ascontiguousarray(pixels[:, :, [2, 1, 0]] if count > 3 else np.repeat(pixels[:, :, :1], 3, axis=2))


def words_of(channels: int) -> str:
    """What is to be said of a picture that is drawn of an image of so many channels; empty of three."""
    if channels == 3:
        return ""
    if channels == 1:
        return "drawn in grey, as the model gets it"
    if channels == 2:
        return "drawn in grey: the first of 2 channels"
    return f"drawn: the first three of {channels} channels, as red, green and blue"


def _from_npy(name: str) -> npt.NDArray[Any]:
    try:
        array = open_array(name)
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"{name} cannot be read as an array of numpy: {said}. Write it again with numpy.save."
        ) from error
    if array.ndim in (2, 3) and (said := too_large(array.shape[1], array.shape[0])):
        raise InputError(f"{name} {said}")
    return np.asarray(array)


def _bytes(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """16 bits become 8 by dropping the lower byte, as in images of three colours."""
    if pixels.dtype != np.uint16:
        return pixels
    if pixels.any() and pixels.max() < 1 << _HIGH_BYTE:
        raise InputError(
            f"{name} has 16 bits but no value above {pixels.max()}, and would be read as black. Scale its values to 0"
            " to 65535."
        )
    return (pixels >> _HIGH_BYTE).astype(np.uint8)


def _beginning(name: str) -> bytes:
    if not os.path.isfile(name):
        return b""
    try:
        with open(name, "rb") as stream:
            return stream.read(16)
    except OSError:
        return b""
