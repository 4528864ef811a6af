"""What a model gave in one run, by which its convention of outputs is recognised."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from boxcam.export.graphs.query import Array, static_shape


@dataclass(frozen=True, eq=False)
class ObservedTensor:
    """A tensor, and what it was in one run.

    Attributes:
        value: the tensor in the model's graph.
        array: its numbers.
        folded: the same tensor in a folded copy of the graph, whose sizes are known; None if there is no copy.
    """

    value: ir.Value
    array: Array
    folded: ir.Value | None = None

    @property
    def name(self) -> str:
        """Its name without what exporters put around it."""
        return str(self.value.name).rpartition("/")[2].partition(":")[0]

    @property
    def made(self) -> ir.Value:
        """Where to see how it is computed: in the folded copy, if its rank is known there."""
        return self.value if self.folded is None or static_shape(self.folded) is None else self.folded

    @property
    def real(self) -> bool:
        return bool(self.array.dtype.kind == "f")

    def plain(self, rank: int) -> tuple[int, ...]:
        """Its shape if that has so many axes, a batch of one in front not counted; otherwise nothing."""
        shape = self.array.shape
        if len(shape) == rank + 1 and shape[0] == 1:
            return shape[1:]
        return shape if len(shape) == rank else ()

    @property
    def table(self) -> tuple[int, ...]:
        """Its rows and columns, all axes of one before them not counted; nothing if it has more axes, or fewer."""
        shape = self.array.shape
        return shape[-2:] if len(shape) >= 2 and all(size == 1 for size in shape[:-2]) else ()

    def __str__(self) -> str:
        """For a message: name, type, shape and the range of its numbers."""
        numbers = self.array[~(self.array != self.array)] if self.real else self.array
        span = f" from {numbers.min():.4g} to {numbers.max():.4g}" if numbers.size else ""
        return f"{self.value.name} {self.array.dtype} {list(self.array.shape)}{span}"
