"""Weights that lie in other files than the graph.

The one rule: such a file is a regular file inside the folder of the model, with symbolic links followed. Where the
model is itself a symbolic link, as in the caches of model hubs, the folder of what it points to counts too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from boxcam.bundle.pointers import POINTER, is_pointer
from boxcam.errors import SourceError


def load_external(model: ir.Model, path: str) -> None:
    """Bring data that lies in other files into memory, in place.

    Args:
        model: the model, as `onnx_ir` reads it.
        path: its file.

    Raises:
        SourceError: a file is missing, truncated, or outside of the model's folder.
    """
    for graph in graphs(model):
        for value in graph.initializers.values() if isinstance(graph, ir.Graph) else ():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = _loaded(value.const_value, path)
        for node in graph:
            for name, attribute in list(node.attributes.items()):
                if attribute.is_ref():
                    continue
                if attribute.type == ir.AttributeType.TENSOR and isinstance(attribute.value, ir.ExternalTensor):
                    node.attributes[name] = ir.AttrTensor(name, _loaded(attribute.value, path))
                elif attribute.type == ir.AttributeType.TENSORS:
                    several = [_loaded(t, path) if isinstance(t, ir.ExternalTensor) else t for t in attribute.value]
                    node.attributes[name] = ir.AttrTensors(name, several)


def graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """All graphs of a model: the main one, those of functions, and those inside of nodes."""
    waiting: list[ir.Graph] = [model.graph, *(function.graph for function in model.functions.values())]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph:
            for attribute in node.attributes.values():
                if not attribute.is_ref() and attribute.type == ir.AttributeType.GRAPH:
                    waiting.append(attribute.as_graph())
                elif not attribute.is_ref() and attribute.type == ir.AttributeType.GRAPHS:
                    waiting.extend(attribute.as_graphs())


def place(location: str, path: str) -> Path:
    """The file that a location of external data means.

    Raises:
        SourceError: it is none, or not in the model's folder.
    """
    folder = Path(path).absolute().parent
    outside = SourceError(
        f"{path} keeps its weights in {location!r}, which is not in its own folder, and only files there are read. Save"
        " the model again, with its weights next to it."
    )
    if not location or "\0" in location or os.path.isabs(location):
        raise outside
    file = folder / location
    roots = (Path(os.path.realpath(folder)), Path(os.path.realpath(path)).parent)
    written, real = Path(os.path.normpath(file)), Path(os.path.realpath(file))
    if not written.is_relative_to(folder) or not any(real.is_relative_to(root) for root in roots):
        raise outside
    if not real.is_file():
        raise SourceError(
            f"{path} keeps its weights in {location!r}, which is not next to it. Copy that file to the same folder."
        )
    if is_pointer(real):
        raise SourceError(f"{file}, with the weights of {path}, {POINTER}")
    if real.stat().st_nlink > 1:
        raise SourceError(
            f"{path} keeps its weights in {location!r}, which is a file of several names (hard links) and may belong to"
            " another folder. Copy it."
        )
    return real


def _loaded(tensor: ir.ExternalTensor, path: str) -> ir.TensorProtocol:
    """The tensor, its numbers in memory."""
    file = place(os.fspath(tensor.location), path)
    if any(not isinstance(size, int) or size < 0 for size in tensor.shape.dims):
        raise SourceError(f"{path} is not a valid ONNX file: {tensor.name} has no possible shape. Export it again.")
    start, length = tensor.offset or 0, tensor.length if tensor.length is not None else tensor.nbytes
    end = start + max(length, tensor.nbytes)
    if start < 0 or length < 0 or file.stat().st_size < end:
        raise SourceError(
            f"{file}, with the weights of {path}, is truncated: it has {file.stat().st_size} bytes, and {tensor.name}"
            f" ends at {end}. Copy it again."
        )
    found = ir.ExternalTensor(
        file.name, start, length, tensor.dtype, shape=tensor.shape, name=str(tensor.name), base_dir=file.parent
    )
    loaded = ir.tensor(found.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
    found.release()
    return loaded
