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
_DEEPEST = 100  # as deep as messages may lie in each other by protobuf's own limit


def external_files(graph: bytes, usual: str) -> set[str]:
    """The files that a graph names for its tensors, as they are written there.

    Args:
        graph: an ONNX file.
        usual: the one name that is looked for first: most graphs name no other, which is told at once.

    Raises:
        ValueError: it is not a protocol buffer.
    """
    name = usual.encode()
    entry = b"\n\x08" + _LOCATION + b"\x12" + bytes([len(name)]) + name
    named = graph.count(entry)
    if named == graph.count(_LOCATION):
        return {usual} if named else set()
    return {place.decode(errors="replace") for place in _places(memoryview(graph), _MODEL)}


def _places(message: memoryview, fields: Mapping[int, object], depth: int = 0) -> Iterator[bytes]:
    """The values of all entries ``location`` in a message."""
    if depth > _DEEPEST:
        raise ValueError("its parts lie too deep in each other")
    for number, content in _fields(message):
        inner = fields.get(number, ())
        if isinstance(inner, Mapping) and content is not None:
            yield from _places(content, inner, depth + 1)
        elif inner is None and content is not None:
            entry = {key: bytes(value) for key, value in _fields(content) if value is not None}
            if entry.get(1) == _LOCATION:
                yield entry.get(2, b"")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """The fields of a message: number, and content where that is bytes."""
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        wire = key & 7
        if wire == 0:
            _, at = _number(message, at)
            yield key >> 3, None
            continue
        if wire == 2:
            length, at = _number(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"it has a field of wire type {wire}")
        if at + length > len(message):
            raise ValueError("it ends in the middle of a field")
        yield key >> 3, message[at : at + length] if wire == 2 else None
        at += length


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise ValueError("it ends in the middle of a number")
