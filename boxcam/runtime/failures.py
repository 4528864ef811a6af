"""What ONNX Runtime says when a run fails, in words for people."""

from __future__ import annotations

import re

_NODE = re.compile(r"running (\w+) node\. Name:'([^']*)'")
_GPU = re.compile(r"\bCU\w+ failure -?\d+: [^;]*[^; ]")
_SOURCE = re.compile(r"\S*onnxruntime/core/\S+:\d+ .*?\) (?=[A-Z])")
_SHAPE = re.compile(r"Input shape:\{([\d,]*)\}")


def reason(error: Exception) -> str:
    """Why a run failed.

    An operator that cannot work on an empty tensor is told apart: images are not empty, so what is empty was selected
    by the model, which left nothing over. (It may have been one part of several, so this is not yet "no box".)
    Where in ONNX Runtime's source it stopped, a file's name, a line and a C++ signature, is left out.
    What CUDA or its libraries report, such as ``CUDA failure 2: out of memory``, is all that is told of their failures.

    Args:
        error: ONNX Runtime's own; its errors share no public root.
    """
    said = " ".join(str(error).split())
    gpu = _GPU.search(said)
    if gpu is not None:  # before it are names of C++, after it those of the host and of source files
        return gpu[0].rstrip(".")
    node, shape = _NODE.search(said), _SHAPE.search(said)
    if node is not None and shape is not None and "0" in shape[1].split(","):
        return (
            f"the model finds nothing there, and its own {node[1]} {node[2]} cannot process an empty tensor"
            f" [{', '.join(shape[1].split(','))}]"
        )
    return _SOURCE.sub("", said)[:400].rstrip(".")


def found_nothing(error: Exception) -> bool:
    """Whether a run failed at an empty tensor."""
    return reason(error).startswith("the model finds nothing")
