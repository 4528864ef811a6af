"""The wire format of protocol buffers, which an ONNX file is one of.

A message is fields, each with a number and, by its wire type, a number of its own, 8 or 4 bytes, or as many bytes as it
says.
"""

from __future__ import annotations

from collections.abc import Iterator

Part = tuple[int, int]
"""Where a message begins and ends in the file."""


def fields_of(data: bytes, part: Part) -> Iterator[tuple[int, int | Part]]:
    """The fields of a message but those of 8 or 4 bytes: each number, and the number that it holds, or its bytes.

    Args:
        data: the file.
        part: the message.

    Raises:
        ValueError: it is not a message.
    """
    at, end = part
    while at < end:
        key, at = number_at(data, at, end)
        if key >> 32:  # readers cut it off there, and have another field
            raise ValueError("it has a field of a number that none has")
        wire = key & 7
        if wire == 0:
            value, at = number_at(data, at, end)
            yield key >> 3, value
            continue
        if wire == 2:
            length, at = number_at(data, at, end)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"it has a field of wire type {wire}")
        if at + length > end:
            raise ValueError("it ends in the middle of a field")
        if wire == 2:  # no message or text is in the others
            yield key >> 3, (at, at + length)
        at += length


def number_at(graph: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = graph[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise ValueError("it ends in the middle of a number")
