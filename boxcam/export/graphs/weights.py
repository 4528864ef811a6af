"""The weights of a bundle's graphs, each once in one file that all of them read as their external data.

The gradient of a detector reads the detector's own weights, and there are several graphs for each layer and target.
What is the same is told by content, whatever it is called and whatever its shape.

Numbers that the model has in fewer bytes lie in the file as the model has them, float16 or integers, and are computed
when a graph is loaded: ONNX Runtime does so once, as whatever depends on constants only, so runs cost what they did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.export.graphs.dequantized import Dequantized
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import Array

SMALL = 1 << 10
"""Bytes of a tensor that is not worth a place of its own: it stays in its graph, where shapes are read from it."""

_ALIGNMENTS = ((1 << 20, 1 << 16), (1 << 15, 1 << 12), (0, 1 << 6))
"""Bytes from which on a tensor begins at a multiple of how many: what is mapped into memory is whole pages, 4 KiB long
or, on Windows, 64; below that a cache line."""


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in the file.

    Attributes:
        offset, length: in bytes.
        narrow: whether these are float16 numbers, and the tensor is what they are in float32.
    """

    offset: int
    length: int
    narrow: bool = False


class WeightsFile:
    """Writes graphs and the one file with their weights; a context manager, whose file is complete when it ends.

    Args:
        file: of the weights; it is there only if some graph has a tensor that is not `SMALL`.
        quantized: constants of the model that are real numbers in the graphs, and integers in the file.
    """

    def __init__(self, file: Path, quantized: Iterable[Dequantized] = ()) -> None:
        self._file = file
        self._stream: BinaryIO | None = None
        self._places: dict[bytes, Place] = {}
        self._quantized = {_key(one.real().tobytes()): one for one in quantized if 4 * one.integers.size >= SMALL}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def save(self, model: ir.Model, file: Path) -> None:
        """Write a graph, its weights into the common file; the graph given is left as it is.

        Args:
            model: the graph.
            file: in the folder of the weights, since external data must not lie outside of a graph's own.
        """
        assert file.parent == self._file.parent
        model = clone_model(model)
        passes.LiftConstantsToInitializersPass(size_limit=SMALL // 4)(model)  # of branches, which keep theirs in nodes
        for graph in _graphs(model.graph):
            for value in list(graph.initializers.values()):
                tensor = value.const_value
                if tensor is not None and tensor.dtype != ir.DataType.STRING and tensor.nbytes >= SMALL:
                    self._refer(graph, value, tensor)
        self.flush()
        ir.save(model, file)

    def place(self, array: Array) -> Place:
        """Where an array's numbers lie in the file; they are written if they are not there yet."""
        found = self._find(array)
        return found or self._append(np.ascontiguousarray(array).tobytes())

    def integers(self, array: Array) -> Dequantized | None:
        """The integers that mean an array's numbers, where the model has such; they need not be in the file yet."""
        return self._quantized.get(_key(np.ascontiguousarray(array).tobytes())) if array.dtype == np.float32 else None

    def flush(self) -> None:
        """Bring all that was placed to the disk, where a graph can be loaded by it."""
        if self._stream is not None:
            self._stream.flush()

    def _refer(self, graph: ir.Graph, value: ir.Value, tensor: ir.TensorProtocol) -> None:
        """Let a constant of a graph read from the file."""
        data = tensor.tobytes()
        computable = tensor.dtype == ir.DataType.FLOAT and not (value.is_graph_input() or value.is_graph_output())
        integers = self._quantized.get(_key(data)) if computable else None
        if integers is not None:
            self._dequantize(graph, value, tensor, integers)
            return
        place = self._find(tensor.numpy()) if computable else None
        if place is not None and place.narrow:
            name = f"{value.name}/float16"
            _widen(graph, value, self._external(place, ir.DataType.FLOAT16, tensor.shape, name))
        else:
            value.const_value = self._outside(tensor, str(value.name))

    def _dequantize(self, graph: ir.Graph, value: ir.Value, tensor: ir.TensorProtocol, of: Dequantized) -> None:
        """Let a float32 constant of a graph be computed of integers that it reads from the file."""
        name = str(value.name)
        nodes = [ir.node("Cast", [self._constant(graph, f"{name}/integers", of.integers)], {"to": ir.DataType.FLOAT})]
        steps: list[tuple[str, str, Array | None]] = [("Sub", "zero", of.zero), ("Mul", "scale", of.scale)]
        if of.integers.shape != tensor.shape.numpy():  # the same numbers, laid out anew
            steps.append(("Reshape", "shape", np.array(tensor.shape.numpy(), np.int64)))
        for operator, what, number in steps:
            if number is not None:
                operand = self._constant(graph, f"{name}/{what}", number)
                nodes.append(ir.node(operator, [nodes[-1].outputs[0], operand]))
        for count, node in enumerate(nodes):
            node.outputs[0].name = f"{name}/{count}"
        _compute(graph, value, nodes)

    def _constant(self, graph: ir.Graph, name: str, array: Array) -> ir.Value:
        """A further constant of a graph, in the file unless it is small.

        It lies there as it is: what nodes compute is computed of no nodes before them.
        """
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        graph.register_initializer(value)
        if tensor.nbytes >= SMALL:
            value.const_value = self._outside(tensor, name)
        return value

    def _outside(self, tensor: ir.TensorProtocol, name: str) -> ir.ExternalTensor:
        """A tensor that lies in the file as it is."""
        data = tensor.tobytes()
        place = self._places.get(_key(data)) or self._append(data)
        return self._external(place, tensor.dtype, tensor.shape, name)

    def _external(self, place: Place, dtype: ir.DataType, shape: ir.ShapeProtocol, name: str) -> ir.ExternalTensor:
        return ir.ExternalTensor(
            *(self._file.name, place.offset, place.length, dtype),
            shape=ir.Shape(shape.numpy()),
            name=name,
            base_dir=self._file.parent,
        )

    def _find(self, array: Array) -> Place | None:
        """A place that holds an array already: its own numbers, or the float16 ones that it was widened from."""
        array = np.ascontiguousarray(array)
        found = self._places.get(_key(array.tobytes()))
        if found is not None or array.dtype != np.float32:
            return found
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float16)
        found = self._places.get(_key(narrow.tobytes()))
        if found is None or not np.array_equal(narrow.astype(np.float32).view(np.int32), array.view(np.int32)):
            return None
        return Place(found.offset, found.length, narrow=True)

    def _append(self, data: bytes) -> Place:
        if self._stream is None:
            self._stream = self._file.open("xb")
        multiple = next(multiple for size, multiple in _ALIGNMENTS if len(data) >= size)
        self._stream.write(bytes(-self._stream.tell() % multiple))
        place = Place(self._stream.tell(), len(data))
        self._stream.write(data)
        self._places[_key(data)] = place
        return place


def read_graph(file: Path) -> ir.Model:
    """A graph that was written here, with all of its weights in memory: what is made of it can lie anywhere."""
    model = ir.load(file)
    ir.external_data.load_to_model(model)
    return model


def _key(data: bytes) -> bytes:
    """What two tensors have in common only if their bytes are the same."""
    return hashlib.sha256(data).digest()


def _graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """A graph and those in its nodes."""
    yield graph
    for node in graph.all_nodes():
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield attribute.as_graph()


def _widen(graph: ir.Graph, value: ir.Value, narrow: ir.TensorProtocol) -> None:
    """Compute a float32 constant from the float16 one."""
    constant = ir.Value(name=narrow.name, shape=value.shape, type=ir.TensorType(narrow.dtype), const_value=narrow)
    graph.register_initializer(constant)
    _compute(graph, value, [ir.node("Cast", [constant], {"to": ir.DataType.FLOAT})])


def _compute(graph: ir.Graph, value: ir.Value, nodes: Sequence[ir.Node]) -> None:
    """Have nodes make what was a float32 constant: ONNX Runtime runs them once, when it loads the graph."""
    del graph.initializers[str(value.name)]
    made = nodes[-1].outputs[0]
    made.name, made.dtype, made.shape = value.name, ir.DataType.FLOAT, value.shape
    ir.convenience.replace_all_uses_with(value, made)
    graph.insert_before(graph[0], nodes)
