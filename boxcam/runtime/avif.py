"""What an AVIF file says of its image: its size, and how it is turned upright.

An AVIF's image is turned by properties of its own, ``irot`` and ``imir`` (ISO 23008-12, 6.5.10 and 6.5.12), and not by
the orientation in its EXIF; OpenCV's decoder does not apply them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from boxcam.types import Image

_DEPTH = 4
_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes that hold boxes, and how many bytes come before these."""
_PRIMARY, _PROPERTIES, _ASSOCIATIONS = (b"meta", b"pitm"), (b"meta", b"iprp", b"ipco"), (b"meta", b"iprp", b"ipma")
"""Where these boxes stand, by the boxes that they lie in: elsewhere they say nothing."""
Box = tuple[bytes, int, int]
"""Kind, start and end of the content."""


def size(data: bytes) -> tuple[int, int]:
    """Width and height, the largest of all images in the file: of a grid, its tiles and the whole are.

    Raises:
        ValueError: it does not say.
    """
    found = [struct.unpack_from(">II", data, start + 4) for kind, start, _ in _boxes(data) if kind == b"ispe"]
    if not found:
        raise ValueError("no ispe")
    return max(width for width, _ in found), max(height for _, height in found)


def upright(pixels: Image, data: bytes) -> Image:
    """The decoded image turned and mirrored as its file says.

    Raises:
        ValueError: what the file says of that ends too early.
    """
    turns, axis = _orientation(data)
    turned = np.rot90(pixels, turns)
    if axis is not None:
        turned = turned[::-1] if axis == 0 else turned[:, ::-1]
    return turned


def _orientation(data: bytes) -> tuple[int, int | None]:
    """Quarter turns of the primary item, anticlockwise, and what is mirrored then.

    Returns:
        The number of turns, and 0 if top and bottom are exchanged, 1 if left and right are, None if nothing is.
    """
    primary = next((_primary(data, *place) for place in _at(data, _PRIMARY)), 0)
    container = next(_at(data, _PROPERTIES), None)
    if container is None:
        return 0, None
    mine = {number for place in _at(data, _ASSOCIATIONS) for number in _associated(data, *place, primary)}
    turns, axis = 0, None
    for number, (kind, start, end) in enumerate(children(data, *container), 1):
        if number in mine and kind == b"irot":
            turns = _number(data, start, 1, end) & 3
        elif number in mine and kind == b"imir":
            axis = _number(data, start, 1, end) & 1
    return turns, axis


def _primary(data: bytes, start: int, end: int) -> int:
    """The number of the primary item, from a box ``pitm``."""
    return _number(data, start + 4, 4 if _number(data, start, 1, end) else 2, end)


def _associated(data: bytes, start: int, end: int, item: int) -> Iterator[int]:
    """Numbers of the properties of an item, from a box ``ipma``."""
    version, wide = _number(data, start, 1, end), _number(data, start + 3, 1, end) & 1
    place, own, step = start + 8, 2 if version < 1 else 4, 2 if wide else 1
    for _ in range(_number(data, start + 4, 4, end)):
        number, count = _number(data, place, own, end), _number(data, place + own, 1, end)
        place += own + 1
        for _ in range(count):
            if number == item:
                yield _number(data, place, step, end) & (0x7FFF if wide else 0x7F)
            place += step


def _at(data: bytes, path: tuple[bytes, ...]) -> Iterator[tuple[int, int]]:
    """Start and end of the content of the boxes that lie in boxes of these kinds, in this order."""
    places = [(0, len(data))]
    for kind in path[:-1]:
        found = (child for place in places for child in children(data, *place))
        places = [(first + _CONTAINERS[kind], last) for name, first, last in found if name == kind]
    for place in places:
        yield from ((first, last) for name, first, last in children(data, *place) if name == path[-1])


def _boxes(data: bytes) -> Iterator[Box]:
    """All boxes of a file, those inside of others included."""
    waiting = [(0, len(data), 0)]
    while waiting:
        start, end, depth = waiting.pop()
        for kind, first, last in children(data, start, end):
            yield kind, first, last
            if kind in _CONTAINERS and depth < _DEPTH:
                waiting.append((first + _CONTAINERS[kind], last, depth + 1))


def children(data: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes that follow each other in a part of a file."""
    while start + 8 <= end:
        length, kind, head = _number(data, start, 4, end), data[start + 4 : start + 8], 8
        if length == 1:
            if start + 16 > end:
                return
            length, head = _number(data, start + 8, 8, end), 16
        elif length == 0:
            length = end - start
        if length < head:
            return
        yield kind, start + head, min(start + length, end)
        start += length


def _number(data: bytes, place: int, size: int, end: int) -> int:
    """A number of so many bytes.

    Raises:
        ValueError: it does not end where its box does or before.
    """
    if place + size > end:
        raise ValueError("a box ends too early")
    return int.from_bytes(data[place : place + size], "big")
