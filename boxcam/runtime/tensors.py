"""Tensors by name, left where they were computed until someone reads the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.runtime.telemetry import import_onnxruntime

Array = npt.NDArray[Any]


class Tensors(Mapping[str, Array]):
    """Named tensors: ``tensors[name]`` is a numpy array, ``tensors.ort(name)`` ONNX Runtime's own value.

    Either is made when it is first asked for, and kept. On the CPU both are the same memory; a tensor that lies on a
    GPU is copied when it is read as an array, and only then.

    Args:
        values: by name, each a numpy array or an ``onnxruntime.OrtValue``.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._arrays: dict[str, Array] = {name: of for name, of in values.items() if isinstance(of, np.ndarray)}
        self._values: dict[str, Any] = {name: of for name, of in values.items() if name not in self._arrays}
        self._names = tuple(values)

    def ort(self, name: str) -> Any:
        """A tensor as an ``onnxruntime.OrtValue``; on the CPU it shares the memory of the array it was made of."""
        if name not in self._values:
            self._values[name] = import_onnxruntime().OrtValue.ortvalue_from_numpy(
                np.ascontiguousarray(self._arrays[name])
            )
        return self._values[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, which stays where it is."""
        of = self._arrays[name].shape if name in self._arrays else self._values[name].shape()
        return tuple(of)

    def __getitem__(self, name: str) -> Array:
        if name not in self._arrays:
            self._arrays[name] = self._values[name].numpy()
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
