"""Which files a graph keeps tensors in: its external data, found without any package that reads ONNX.

An ONNX file is a protocol buffer: fields, each with a number and, by its wire type, a number of its own, 8 or 4 bytes,
or as many bytes as it says. The numbers of the fields are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_LOCATION = b"location"
_TENSOR: Mapping[int, object] = {13: None}
"""Where external data stands in a message, by the fields that lead to it; None for the entries themselves."""
_GRAPH: dict[int, object] = {}
_ATTRIBUTE = {
    5: _TENSOR,
    6: _GRAPH,
    10: _TENSOR,
    11: _GRAPH,
    22: {1: _TENSOR, 2: _TENSOR},
    23: {1: _TENSOR, 2: _TENSOR},
}
_NODE = {5: _ATTRIBUTE}
_GRAPH |= {1: _NODE, 5: _TENSOR, 15: {1: _TENSOR, 2: _TENSOR}}
_MODEL = {7: _GRAPH, 20: {1: _GRAPH, 2: _GRAPH}, 25: {7: _NODE, 11: _ATTRIBUTE}}
Part = tuple[int, int]
"""Where a message begins and ends in the file."""
_DEEPEST = 100  # as deep as messages may lie in each other by protobuf's own limit


def external_files(graph: bytes) -> set[str]:
    """The files that a graph names for its tensors, as they are written there.

    It is parsed, to the depth of each part that the key stands in: that a name stands behind the key does not yet mean
    that a reader finds it there, to whom the last of two values counts.

    Args:
        graph: an ONNX file.

    Raises:
        ValueError: it is not a protocol buffer.
    """
    return {place.decode(errors="replace") for place in _places(graph, (0, len(graph)), _MODEL)}


def _places(graph: bytes, part: Part, fields: Mapping[int, object], depth: int = 0) -> Iterator[bytes]:
    """The values of all entries ``location`` in a message."""
    if depth > _DEEPEST:
        raise ValueError("its parts lie too deep in each other")
    if graph.find(_LOCATION, *part) < 0:  # which a key is a piece of, so there is none
        return
    for number, content in _fields(graph, part):
        inner = fields.get(number, ())
        if isinstance(inner, Mapping) and content is not None:
            yield from _places(graph, content, inner, depth + 1)
        elif inner is None and content is not None:
            entry = {key: graph[slice(*value)] for key, value in _fields(graph, content) if value is not None}
            if entry.get(1) == _LOCATION:
                yield entry.get(2, b"")


def _fields(graph: bytes, part: Part) -> Iterator[tuple[int, Part | None]]:
    """The fields of a message: number, and where the content is if that is bytes."""
    at, end = part
    while at < end:
        key, at = number_at(graph, at, end)
        if key >> 32:  # readers cut it off there, and have another field
            raise ValueError("it has a field of a number that none has")
        wire = key & 7
        if wire == 0:
            _, at = number_at(graph, at, end)
            yield key >> 3, None
            continue
        if wire == 2:
            length, at = number_at(graph, at, end)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"it has a field of wire type {wire}")
        if at + length > end:
            raise ValueError("it ends in the middle of a field")
        yield key >> 3, (at, at + length) if wire == 2 else None
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
