"""What an ONNX file outputs that is no tensor of numbers: maps, sequences, text.

Behind classifiers there is often a ZipMap, which gives a map from each class to its probability, and a LabelEncoder,
which gives the best class as text. boxcam reads tensors of numbers; such outputs are left out, and those that only put
tensors together are replaced by these tensors.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

import onnx
from onnx import defs

from boxcam.errors import BoxcamWarning, SourceError

_TOGETHER = {"ZipMap": 1, "SequenceConstruct": None}
"""Operators that put tensors together, and how many of their inputs: all of them, if not so many."""
_LABELS = ("classlabels_strings", "classlabels_int64s")


def _collects(kind: str) -> bool:
    """Whether an operator always gives a sequence or a map of tensors; `If` and `Loop` can give anything."""
    schema = defs.get_schema(kind) if defs.has(kind) else None
    return kind in _TOGETHER or (schema is not None and all(one.startswith("seq(") for one in schema.outputs[0].types))


def leave_tensors(model: onnx.ModelProto) -> None:
    """Leave tensors of numbers alone to be a file's outputs, in place; names of classes become metadata.

    Raises:
        SourceError: an input is a map or the like, or no output is left.

    Warns:
        BoxcamWarning: an output was left out.
    """
    graph = model.graph
    for given in graph.input:
        if _kind(given) not in ("", "tensor"):
            raise SourceError(
                f"the model's input {given.name} is a {_kind(given)}, and boxcam explains models that take an image as"
                " a tensor. Export one with an image input."
            )
    makers = {name: node for node in graph.node for name in node.output}
    kept: list[onnx.ValueInfoProto] = []
    dropped: dict[str, str] = {}
    for output in graph.output:
        maker = _maker(output.name, makers)
        collects = maker is not None and _collects(maker.op_type)
        if not collects and _kind(output) in ("", "tensor"):
            kept.append(output)
            continue
        inside = list(_tensors(maker)) if maker is not None else []
        known = {one.name for one in (*kept, *graph.output)}
        kept += [onnx.ValueInfoProto(name=name) for name in inside if name not in known]
        if maker is not None and maker.op_type == "ZipMap":
            _keep_names(model, maker)
        if not inside:
            dropped[output.name] = _kind(output) if _kind(output) not in ("", "tensor") else "sequence"
    if graph.output and not kept:
        what = ", ".join(f"{name!r} is a {kind}" for name, kind in dropped.items())
        raise SourceError(
            f"the model outputs no tensor of numbers: {what}. Export it with the tensors that these are made of as its"
            " outputs."
        )
    if len(kept) != len(graph.output) or any(a is not b for a, b in zip(kept, graph.output, strict=True)):
        _replace(graph.output, kept)
        _remove_unused(graph)
    maps = [one for one in graph.value_info if _kind(one) == "map"]
    if maps:
        _replace(graph.value_info, [one for one in graph.value_info if _kind(one) != "map"])
    for name, kind in dropped.items():
        if kind != "text":  # of which there are the numbers of the classes, too
            warnings.warn(
                f"the output {name} is a {kind}, not a tensor, and is left out. Export the model with the tensors in it"
                " as outputs if they were meant.",
                BoxcamWarning,
                stacklevel=2,
            )


def _kind(value: onnx.ValueInfoProto) -> str:
    """What a value is declared to be: a tensor, a sequence, a map, an optional value, text; empty if it is not said."""
    kind = value.type.WhichOneof("value") or ""
    if kind == "sequence_type" and value.type.sequence_type.elem_type.HasField("map_type"):
        return "map"
    if kind == "tensor_type" and value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
        return "text"
    return kind.removesuffix("_type").replace("sparse_tensor", "sparse tensor")


def _maker(name: str, makers: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """The node that makes a value, whatever copies it afterwards."""
    for _ in range(len(makers)):
        node = makers.get(name)
        if node is None or node.op_type != "Identity":
            return node
        name = node.input[0]
    return None


def _tensors(node: onnx.NodeProto) -> Iterator[str]:
    """What a node puts together."""
    if node.op_type in _TOGETHER:
        yield from list(node.input)[: _TOGETHER[node.op_type]]


def _keep_names(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    """The classes that a ZipMap names, where Ultralytics has them, if the file does not say them there."""
    if any(entry.key == "names" for entry in model.metadata_props):
        return
    for attribute in node.attribute:
        if attribute.name == _LABELS[0] and attribute.strings:
            names = [text.decode("utf-8", "replace") for text in attribute.strings]
            model.metadata_props.add(key="names", value=repr(dict(enumerate(names))))
        elif attribute.name == _LABELS[1] and list(attribute.ints) not in ([], list(range(len(attribute.ints)))):
            names = [f"class {number}" for number in attribute.ints]
            model.metadata_props.add(key="names", value=repr(dict(enumerate(names))))


def _remove_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes that made what is no output any more, and all that was made for them."""
    while True:
        used = {name for node in graph.node for name in _read(node)} | {output.name for output in graph.output}
        kept = [node for node in graph.node if used.intersection(node.output)]
        if len(kept) == len(graph.node):
            return
        _replace(graph.node, kept)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, in its subgraphs too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
            for below in inner.node:
                yield from _read(below)
            yield from (output.name for output in inner.output)


def _replace(field, values) -> None:  # type: ignore[no-untyped-def]
    """Put other values into a repeated field."""
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)
