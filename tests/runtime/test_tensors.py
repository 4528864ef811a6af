"""Tensors by name: read as arrays only when asked, and without a copy where one is not needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from boxcam.runtime.tensors import Tensors


class Far:
    """A tensor on a GPU: reading it is a copy, which is counted."""

    def __init__(self) -> None:
        self.reads = 0

    def numpy(self) -> Any:
        self.reads += 1
        return np.arange(3.0)


def test_a_tensor_is_copied_when_it_is_read_once_and_not_before() -> None:
    far, near = Far(), np.ones(2)
    tensors = Tensors({"far": far, "near": near})
    assert list(tensors) == ["far", "near"]
    assert (len(tensors), "far" in tensors, "nowhere" in tensors) == (2, True, False)
    assert tensors.ort("far") is far
    assert far.reads == 0
    assert tensors["far"].tolist() == tensors["far"].tolist() == [0, 1, 2]
    assert far.reads == 1
    assert tensors["near"] is near


def test_on_the_cpu_both_are_the_same_memory() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
    tensors = Tensors({"array": array, "value": value})
    assert tensors.ort("array").data_ptr() == array.ctypes.data
    assert tensors.ort("array") is tensors.ort("array")
    assert np.shares_memory(tensors["value"], array)


def test_an_array_in_any_order_becomes_a_value() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert np.array_equal(Tensors({"a": array}).ort("a").numpy(), array)


def test_a_name_that_is_not_there() -> None:
    tensors = Tensors({})
    with pytest.raises(KeyError, match="gone"):
        tensors["gone"]
    with pytest.raises(KeyError, match="gone"):
        tensors.ort("gone")
