"""Inputs that the user fixes: what is given for one becomes a constant of the graph."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from boxcam.bundle.pointers import POINTER, is_pointer
from boxcam.errors import SourceError
from boxcam.export.graphs.query import Array, name_and_shape, static_shape
from boxcam.runtime.arrays import open_array

Given = Mapping[str, Any] | Sequence[str]
"""Values by the names of inputs, or each as ``NAME=VALUE``; see `fix`."""

PREFIX = "boxcam.input/"
"""What the names of constants that stand for inputs begin with."""
_TRUTH = {"true": "1", "false": "0"}


def fix(model: ir.Model, given: Given) -> dict[str, str]:
    """Put constants in the place of inputs.

    Args:
        model: the graph, which is changed.
        given: for the name of each input an array of its shape and type, the file of one (``.npy``), or numbers, also
            as text (``"640,480"``): a single one for every element, or as many as there are elements.

    Returns:
        What was put there, in words for people, by name.

    Raises:
        SourceError: there is no such input, or the value does not fit to it.
    """
    found: dict[str, str] = {}
    for name, value in _pairs(model, given):
        taken = next(one for one in model.graph.inputs if one.name == name)
        array = _value(taken, value)
        found[name] = _words(value, array)
        put(model.graph, taken, array)
    return found


def put(graph: ir.Graph, taken: ir.Value, array: Array) -> None:
    """Put a constant in the place of an input."""
    name = f"{PREFIX}{taken.name}"
    constant = ir.Value(name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape))
    constant.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    graph.register_initializer(constant)
    ir.convenience.replace_all_uses_with(taken, constant, replace_graph_outputs=True)
    graph.inputs.remove(taken)


def _pairs(model: ir.Model, given: Given) -> Iterator[tuple[str, Any]]:
    names = [str(value.name) for value in model.graph.inputs]
    done: set[str] = set()
    for entry in given.items() if isinstance(given, Mapping) else ([given] if isinstance(given, str) else given):
        name, value = entry if isinstance(entry, tuple) else _split(entry, names)
        if name not in names:
            raise SourceError(
                f"inputs=: the model has no input {name!r}. Its inputs are: {_listed(model)}. Pass one of these names."
            )
        if name in done:
            raise SourceError(f"inputs=: the input {name!r} is given twice. Pass it once.")
        done.add(name)
        yield name, value
    if names and done == set(names):
        raise SourceError(
            f"inputs=: every input of the model is given ({', '.join(names)}), and none is left for the image. Leave"
            " the image's input out."
        )


def _split(entry: str, names: Sequence[str]) -> tuple[str, str]:
    """``NAME=VALUE`` in two; there may be an equals sign in a name."""
    fitting = [name for name in names if entry.startswith(f"{name}=")]
    name = max(fitting, key=len) if fitting else entry.partition("=")[0]
    if "=" not in entry:
        raise SourceError(
            f"inputs=: {entry!r} is not NAME=VALUE or NAME=FILE.npy. Pass the input's name, = and a value."
        )
    return name, entry[len(name) + 1 :]


def _value(taken: ir.Value, value: Any) -> Array:
    """The array for an input.

    Raises:
        SourceError: it does not fit.
    """
    if isinstance(taken.type, (ir.SequenceType, ir.OptionalType)):
        raise SourceError(f"inputs=: the input {taken.name} is not a tensor. Export the model without it.")
    if isinstance(value, str | os.PathLike) and os.fspath(value).lower().endswith(".npy"):
        return _fitting(taken, _loaded(os.fspath(value)), os.fspath(value))
    if isinstance(value, np.ndarray):
        return _fitting(taken, value, "the array given")
    return _filled(taken, _numbers(taken, value))


def _loaded(path: str) -> Array:
    if not os.path.isfile(path):
        raise SourceError(f"inputs=: {path} does not exist. Check the path.")
    if is_pointer(path):
        raise SourceError(f"inputs=: {path} {POINTER}")
    try:
        array: Array = open_array(path)
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise SourceError(
            f"inputs=: {path} is not a file of one array, as numpy.save writes it ({said}). Write it again."
        ) from error
    return array


def _fitting(taken: ir.Value, array: Array, what: str) -> Array:
    wanted = None if taken.dtype is None else taken.dtype.numpy()
    if wanted is not None and array.dtype != wanted:
        raise SourceError(
            f"inputs=: {what} is {array.dtype}, and the input {name_and_shape(taken)} is {wanted}. Convert it with"
            f" array.astype({str(wanted)!r})."
        )
    shape = static_shape(taken)
    fits = shape is None or (
        len(shape) == array.ndim and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    )
    if not fits:
        raise SourceError(
            f"inputs=: {what} has the shape {list(array.shape)}, and the input is {name_and_shape(taken)}. Pass an"
            " array of that shape."
        )
    return np.array(array)


def _numbers(taken: ir.Value, value: Any) -> Array:
    """Numbers as they were written, in the input's type."""
    dtype = np.dtype(np.float32) if taken.dtype is None else taken.dtype.numpy()
    if isinstance(value, str):
        parts: Any = [_TRUTH.get(part.strip().lower(), part.strip()) for part in value.split(",")]
    else:
        parts = np.ravel(np.asarray(value)).tolist()
    try:
        plain = np.array([float(part) for part in parts])
    except (TypeError, ValueError):
        raise SourceError(
            f"inputs=: {value!r} for the input {taken.name} is neither numbers, as 640,480, nor the file of an array,"
            " whose name ends in .npy. Pass one of these."
        ) from None
    if dtype.kind in "iub":
        whole = np.array([int(number) if number.is_integer() else 0 for number in plain.tolist()], dtype=object)
        limits: Any = None if dtype.kind == "b" else np.iinfo(dtype)
        low, high = (0, 1) if limits is None else (limits.min, limits.max)
        bad = [p for p, w, x in zip(parts, whole, plain, strict=True) if w != x or not low <= w <= high]
        if bad:
            raise SourceError(
                f"inputs=: {bad[0]} is not a value of the input {taken.name}, which is {dtype}. Pass whole numbers from"
                f" {low} to {high}."
            )
        return np.array(whole.tolist(), dtype)
    return np.asarray(plain, dtype)


def _filled(taken: ir.Value, numbers: Array) -> Array:
    """Numbers in the shape of an input: one for all elements, or as many as there are."""
    shape = static_shape(taken)
    if shape is None:
        return numbers
    known = [1 if size is None else size for size in shape]
    count = int(np.prod(known))
    if numbers.size == 1:
        return np.full(known, numbers[0], numbers.dtype)
    if numbers.size == count:
        return numbers.reshape(known)
    if shape.count(None) == 1 and count and numbers.size % count == 0:
        return numbers.reshape([-1 if size is None else size for size in shape])
    raise SourceError(
        f"inputs=: {numbers.size} numbers do not fill the input {name_and_shape(taken)}. Pass {count} of them, one for"
        " all, or the file of an array (.npy)."
    )


def _words(value: Any, array: Array) -> str:
    if isinstance(value, str | os.PathLike):
        return os.path.basename(os.fspath(value))
    return ",".join(f"{number:g}" for number in array.reshape(-1)[:4].tolist()) + (",…" if array.size > 4 else "")


def _listed(model: ir.Model) -> str:
    return ", ".join(name_and_shape(value) for value in model.graph.inputs) or "none"
