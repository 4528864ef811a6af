"""What a model gave in one run, by which its convention of outputs is recognised."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from boxcam.export.graphs.query import Array


@dataclass(frozen=True, eq=False)
class ObservedTensor:
    """A tensor, and what it was in one run."""

    value: ir.Value
    array: Array

    @property
    def name(self) -> str:
        """Its name without what exporters put around it."""
        return str(self.value.name).rpartition("/")[2].partition(":")[0]

    @property
    def real(self) -> bool:
        return bool(self.array.dtype.kind == "f")

    def plain(self, rank: int) -> tuple[int, ...]:
        """Its shape if that has so many axes, a batch of one in front not counted; otherwise nothing."""
        shape = self.array.shape
        if len(shape) == rank + 1 and shape[0] == 1:
            return shape[1:]
        return shape if len(shape) == rank else ()
