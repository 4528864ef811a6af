"""The one place that imports ONNX Runtime: without the telemetry of its packages.

From 1.31 on, importing the package on Linux writes an identifier of the machine and a database of events into the home
folder, and prints a warning where that cannot be written. Only the environment keeps it from this; what the package
offers to turn off its telemetry comes after the import.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

SWITCH = "ORT_DISABLE_TELEMETRY"
"""The variable of the environment that ONNX Runtime reads when it is imported."""


def import_onnxruntime() -> Any:
    """The package ``onnxruntime``, which sends nothing and keeps nothing.

    Raises:
        ImportError: it is not installed, or does not work.
    """
    os.environ[SWITCH] = "1"
    runtime = importlib.import_module("onnxruntime")
    turn_off = getattr(runtime, "disable_telemetry_events", None)
    if turn_off is not None:  # older ones have no telemetry, or only on Windows
        turn_off()
    return runtime
