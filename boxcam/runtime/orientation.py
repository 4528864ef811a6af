"""How an image lies by its EXIF data, where OpenCV does not turn it upright itself.

That is a PNG whose alpha is kept, and a WebP in versions of OpenCV before 4.12. The orientation is tag 274 of the
first directory, 1 to 8 (CIPA DC-008, 4.6.4 A); in a PNG it is in the chunk ``eXIf``, in a WebP in ``EXIF``.
"""

from __future__ import annotations

import struct
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from boxcam.runtime.headers import PNG, is_webp

_TAG, _SHORT = 274, 3
_PREFIX = b"Exif\0\0"
"""Which writers of WebP leave before the data, as it is in a JPEG."""
T = TypeVar("T", bound=np.generic)


def orientation(data: bytes) -> int:
    """The orientation that a PNG or a WebP states, 1 to 8; 1, upright, if it states none that can be read."""
    if data.startswith(PNG):
        found = _chunk(data, len(PNG), b"eXIf", ">I4s", swapped=False)
    elif is_webp(data):
        found = _chunk(data, 12, b"EXIF", "<4sI", swapped=True)
    else:
        return 1
    return _of_exif(found.removeprefix(_PREFIX))


def upright(pixels: npt.NDArray[T], stated: object) -> npt.NDArray[T]:
    """Pixels [H, W, …] turned and mirrored so that they stand as the orientation says; a view of them."""
    image = pixels
    if stated in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if stated in (3, 4, 7, 8):
        image = image[::-1]
    if stated in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


def _chunk(data: bytes, place: int, wanted: bytes, form: str, *, swapped: bool) -> bytes:
    """The content of the first chunk of a name; nothing if there is none.

    Args:
        data: the file.
        place: where the first chunk begins.
        wanted: the name.
        form: of a chunk's head.
        swapped: whether the name comes before the length, as in a RIFF, whose chunks are padded to an even length.
    """
    while place + 8 <= len(data):
        head: tuple[Any, Any] = struct.unpack_from(form, data, place)
        length, name = head[::-1] if swapped else head
        if name == wanted:
            return data[place + 8 : place + 8 + length]
        place += 8 + length + (length & 1 if swapped else 4)
    return b""


def _of_exif(data: bytes) -> int:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return 1
    try:
        place = struct.unpack_from(order + "I", data, 4)[0]
        for entry in range(struct.unpack_from(order + "H", data, place)[0]):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", data, place + 2 + 12 * entry)
            if (tag, kind, count) == (_TAG, _SHORT, 1):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
