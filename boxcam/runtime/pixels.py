"""An image as a user gives it: a file, an array, or a picture of Pillow. The order of channels is never guessed."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, Literal

import numpy as np

from boxcam.errors import ArgumentError, BoxcamWarning, InputError
from boxcam.runtime.images import check_array, too_large
from boxcam.runtime.planes import fitted, read_planes
from boxcam.types import Image

Order = Literal["BGR", "RGB"]
COLORS = ("BGR", "RGB")
_PILLOW_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
"""Those of 8 bits, which Pillow itself converts to RGB without loss of range."""
_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}
"""Those that Pillow converts to one other mode only, and that one."""
_ORIENTATION = 0x0112


def load_image(image: Any, color: str = "BGR", channels: int = 3) -> Image:
    """Read or check an image.

    Args:
        image: a file's path; an array, uint8 [H, W, 3] or [H, W] grey; or a ``PIL.Image.Image``, whose pixels are taken
            as they are (files are turned upright by their EXIF orientation, pictures of Pillow are not).
        color: order of an array's channels, ``BGR`` or ``RGB``. A file's and Pillow's are known.
        channels: how many the model takes, see `boxcam.runtime.planes`.

    Returns:
        uint8 [H, W, channels]: BGR of three.

    Raises:
        ArgumentError: the order is neither of the two.
        InputError: the image cannot be read, or it is something else.

    Warns:
        BoxcamWarning: a picture of Pillow lies on its side, or it is unknown whether it does.
    """
    check_color(color)
    if isinstance(image, str | os.PathLike):
        return read_planes(image, channels)
    if _is_pillow(image):
        return _from_pillow(image, channels)
    if isinstance(image, list | tuple | set) and any(map(_is_image, image)):
        raise InputError(
            f"one image is explained at a time, not a {type(image).__name__} of them. Load the model once, and call"
            " explain() for each image."
        )
    if channels == 3:
        pixels = check_array(image)
        return np.ascontiguousarray(pixels[..., ::-1]) if color == "RGB" else pixels
    return fitted(image, channels, "an image array", color)


def order_of(image: Any, color: Order) -> Order:
    """The order of channels of an image as it was given: that of a picture of Pillow is RGB, whatever else is said."""
    return "RGB" if _is_pillow(image) else color


def check_color(color: object) -> None:
    """Refuse what is no order of channels.

    Raises:
        ArgumentError: it is neither ``BGR`` nor ``RGB``.
    """
    if color not in COLORS:
        raise ArgumentError(
            f"color={color!r} is not an order of channels. Pass 'BGR', as cv2.imread gives it, or 'RGB'."
        )


def _is_image(one: object) -> bool:
    return isinstance(one, str | os.PathLike | np.ndarray) or _is_pillow(one)


def _is_pillow(image: object) -> bool:
    pillow = sys.modules.get("PIL.Image")  # who has such a picture has loaded it
    return pillow is not None and isinstance(image, pillow.Image)


def _from_pillow(picture: Any, channels: int = 3) -> Image:
    if picture.mode in _PREMULTIPLIED:
        raise InputError(
            f"an image of Pillow's mode {picture.mode!r} cannot be used: its colours are multiplied by its alpha."
            f" Convert it: image.convert({_PREMULTIPLIED[picture.mode]!r})."
        )
    if picture.mode not in _PILLOW_MODES:
        raise InputError(
            f"an image of Pillow's mode {picture.mode!r} cannot be used: its pixels do not have 8 bits. Scale them to 0"
            " to 255 and convert it to 'RGB'."
        )
    if said := too_large(*picture.size):
        raise InputError(f"the image of Pillow {said}")
    try:
        picture.load()
    except MemoryError:
        raise
    except Exception as error:  # each of Pillow's decoders raises what it stumbles over
        raise InputError(f"the image of Pillow cannot be read: {error}. Is its file complete?") from error
    _warn_of_orientation(picture)
    bands = len(picture.getbands())
    if channels not in (1, 3) and bands == channels:
        return fitted(np.asarray(picture), channels, "the image of Pillow")
    return fitted(check_array(np.asarray(picture.convert("RGB"))[..., ::-1]), channels, "the image of Pillow")


def _warn_of_orientation(picture: Any) -> None:
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - its reader raises what it stumbles over
        warnings.warn(
            f"the EXIF data of the image of Pillow cannot be read ({error}), so whether it lies on its side is unknown:"
            " it is explained as it lies.",
            BoxcamWarning,
            stacklevel=4,
        )
        return
    if orientation in range(2, 9):
        warnings.warn(
            "the image of Pillow lies on its side or is mirrored, as its EXIF orientation says, and is explained as it"
            " lies. To turn it upright: PIL.ImageOps.exif_transpose(image).",
            BoxcamWarning,
            stacklevel=4,
        )
