"""Which files a graph keeps tensors in: its external data, found without any package that reads ONNX.

The numbers of the fields are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from boxcam.bundle.wire import Part, fields_of

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
    for number, content in fields_of(graph, part):
        inner = fields.get(number, ())
        if isinstance(inner, Mapping) and isinstance(content, tuple):
            yield from _places(graph, content, inner, depth + 1)
        elif inner is None and isinstance(content, tuple):
            entry = {key: graph[slice(*value)] for key, value in fields_of(graph, content) if isinstance(value, tuple)}
            if entry.get(1) == _LOCATION:
                yield entry.get(2, b"")
