"""Keep from the screen what packages that boxcam calls log and warn of while they work: what fails is an exception."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_PACKAGES = ("onnx", "onnx_ir", "onnxruntime", "onnxscript")


@contextmanager
def quiet_onnx_ir() -> Iterator[None]:
    """Let nothing through of what onnx, onnx_ir and ONNX Runtime log and warn of.

    Each time that a graph is serialized, onnx_ir warns of values whose shape is known and whose type is not, as exports
    and shape inference leave them; and where shape inference fails, it logs a traceback and goes on. Nothing else
    becomes of it.
    """
    loggers = [logging.getLogger(name) for name in _PACKAGES]
    parts = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    loggers += [one for one in parts if one.level and one.name.startswith(tuple(f"{name}." for name in _PACKAGES))]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            for name in _PACKAGES:
                warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
