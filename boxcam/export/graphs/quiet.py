"""Keep from the screen what onnx_ir logs while it works: what fails is an exception."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_onnx_ir() -> Iterator[None]:
    """Log nothing of onnx_ir's below an error.

    Each time that a graph is serialized it warns of values whose shape is known and whose type is not, as exporters and
    shape inference leave them. They are written without a shape, and nothing else becomes of it.
    """
    notes = logging.getLogger("onnx_ir")
    level = notes.level
    notes.setLevel(logging.ERROR)
    try:
        yield
    finally:
        notes.setLevel(level)
