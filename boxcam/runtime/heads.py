"""The rest of a model after a layer, run again on changed feature maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Head, Layer
from boxcam.errors import BundleError, RunError
from boxcam.plurals import counted
from boxcam.runtime.sessions import Device, Session, shown
from boxcam.runtime.tensors import Array, Tensors

Float64 = npt.NDArray[np.float64]
_MEMORY = 1 << 25
"""Bytes that are run together: of feature maps, of what else is read for each of them, or of what comes out."""
_MOST_AT_ONCE = 128


class HeadGraph:
    """The rest of a model up to one tensor: a graph from a layer's feature maps, and values of a forward pass.

    Args:
        bundle: the folder.
        layer, head: what its manifest says of the layer, and of the graph.
        device: what runs it.

    Raises:
        BundleError: the graph reads or gives something else.
    """

    def __init__(self, bundle: Path, layer: Layer, head: Head, device: Device) -> None:
        self._head, self._session = head, Session(bundle / head.file, device)
        inputs, outputs = set(self._session.inputs), tuple(self._session.outputs)
        known = [tensor.name for tensor in layer.tensors]
        self.features = tuple(name for name in known if name in inputs)
        others = inputs - {*known, *head.context}
        several = head.scope == "window" and len(self.features) > 1
        if outputs != (head.end,) or not self.features or others or several:
            raise BundleError(
                f"{self.file} is not the graph from layer {layer.name!r} to {shown(head.end)} that the manifest lists."
                " Export the model again."
            )

    @property
    def file(self) -> str:
        """The graph, for messages."""
        return self._session.file

    @property
    def is_batched(self) -> bool:
        """Whether an output has the changed row alone."""
        return self._head.batch

    @property
    def on_windows(self) -> bool:
        """Whether it can be run on the cells alone that a number of its output depends on."""
        return self._head.scope == "window"

    @property
    def is_local(self) -> bool:
        """Whether a number of its output depends on no cells but those of its gradient."""
        return self._head.scope != "map"

    def run(self, tensors: Tensors, row: int, changed: Iterator[Mapping[str, Array]]) -> Iterator[Array]:
        """The output for one set of changed feature maps after another, some at a time.

        Args:
            tensors: of the forward pass.
            row: which entry of the feature maps' first axis is changed: 0 for maps of the image, the proposal's number
                for pooled features.
            changed: of each of `features`, float32 [C, h, w].

        Yields:
            For each set, the entries of the output's first axis: those that come from this row alone, [1, …], where
            the graph runs several, and otherwise all.

        Raises:
            RunError: the graph fails, or gives another number of entries.
        """
        waiting: list[Mapping[str, Array]] = []
        size, output = 0, 0
        context = 4 * sum(math.prod(tensors.shape(name)) for name in {*self._head.context} - {*self._head.rows})
        for one in changed:
            waiting.append(one)
            size += max(sum(of.nbytes for of in one.values()), context, output)
            if not self._head.batch or len(waiting) == _MOST_AT_ONCE or size >= _MEMORY:
                for found in self._several(tensors, row, waiting):
                    output = found.nbytes
                    yield found
                waiting, size = [], 0
        if waiting:
            yield from self._several(tensors, row, waiting)

    def _row(self, tensors: Tensors, name: str, row: int) -> Array:
        """A row of what has one for each proposal."""
        proposals = tensors.shape(self.features[0])[0]
        if tensors.shape(name)[:1] != (proposals,):
            raise RunError(
                f"{shown(name)} is {list(tensors.shape(name))}, and {self.file} reads a row of it for each of"
                f" {proposals} proposals. Export the model again."
            )
        return tensors[name][row : row + 1]

    def _several(self, tensors: Tensors, row: int, changed: list[Mapping[str, Array]]) -> Iterator[Array]:
        given = {name: tensors.ort(name) for name in self._head.context}
        if self._head.batch:
            for name in self._head.rows:
                given[name] = np.repeat(self._row(tensors, name, row), len(changed), axis=0)
        for name in self.features:
            if self._head.batch:
                given[name] = np.stack([one[name] for one in changed])
            else:
                given[name] = tensors[name].copy()
                given[name][row] = changed[0][name]
        found = self._session.run(Tensors(given), [self._head.end])[self._head.end]
        if not self._head.batch:
            yield found
            return
        if not found.ndim or len(found) != len(changed):
            raise RunError(
                f"{self.file} gives {list(found.shape)} for {counted(len(changed), 'feature map')}. Export the model"
                " again."
            )
        yield from found[:, None]
