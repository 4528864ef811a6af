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
    """The decoded image turned and mirrored as its file says."""
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
    boxes = list(_boxes(data))
    primary = next(
        (_number(data, start + 4, 4 if data[start] else 2) for kind, start, _ in boxes if kind == b"pitm"), 0
    )
    container = next(((start, end) for kind, start, end in boxes if kind == b"ipco"), None)
    if container is None:
        return 0, None
    properties = list(_children(data, *container))
    mine = {
        number for kind, start, end in boxes if kind == b"ipma" for number in _associated(data, start, end, primary)
    }
    turns, axis = 0, None
    for number, (kind, start, end) in enumerate(properties, 1):
        if number in mine and start < end:
            if kind == b"irot":
                turns = data[start] & 3
            elif kind == b"imir":
                axis = data[start] & 1
    return turns, axis


def _associated(data: bytes, start: int, end: int, item: int) -> Iterator[int]:
    """Numbers of the properties of an item, from a box ``ipma``."""
    version, wide = data[start], data[start + 3] & 1
    place, own = start + 8, 2 if version < 1 else 4
    for _ in range(_number(data, start + 4, 4)):
        if place + own >= end:
            return
        number, count = _number(data, place, own), data[place + own]
        place += own + 1
        for _ in range(count):
            if number == item:
                yield _number(data, place, 2) & 0x7FFF if wide else _number(data, place, 1) & 0x7F
            place += 2 if wide else 1


def _boxes(data: bytes) -> Iterator[Box]:
    """All boxes of a file, those inside of others included."""
    waiting = [(0, len(data), 0)]
    while waiting:
        start, end, depth = waiting.pop(0)
        for kind, first, last in _children(data, start, end):
            yield kind, first, last
            if kind in _CONTAINERS and depth < _DEPTH:
                waiting.append((first + _CONTAINERS[kind], last, depth + 1))


def _children(data: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes that follow each other in a part of a file."""
    while start + 8 <= end:
        length, kind, head = _number(data, start, 4), data[start + 4 : start + 8], 8
        if length == 1:
            length, head = _number(data, start + 8, 8), 16
        elif length == 0:
            length = end - start
        if length < head:
            return
        yield kind, start + head, min(start + length, end)
        start += length


def _number(data: bytes, place: int, size: int) -> int:
    return int.from_bytes(data[place : place + size], "big")
