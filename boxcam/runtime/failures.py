"""What ONNX Runtime says when a run fails, in words for people."""

from __future__ import annotations

import re

_NODE = re.compile(r"running (\w+) node\. Name:'([^']*)'")
_SHAPE = re.compile(r"Input shape:\{([\d,]*)\}")


def reason(error: Exception) -> str:
    """Why a run failed.

    An operator that cannot work on an empty tensor is told apart: images are not empty, so what is empty was selected
    by the model, which left nothing over. (It may have been one part of several, so this is not yet "no box".)

    Args:
        error: ONNX Runtime's own; its errors share no public root.
    """
    said = " ".join(str(error).split())
    node, shape = _NODE.search(said), _SHAPE.search(said)
    if node is not None and shape is not None and "0" in shape[1].split(","):
        return (
            f"the model finds nothing there, and its own {node[1]} {node[2]} cannot process an empty tensor"
            f" [{', '.join(shape[1].split(','))}]"
        )
    return said[:400].rstrip(".")


def found_nothing(error: Exception) -> bool:
    """Whether a run failed at an empty tensor."""
    return reason(error).startswith("the model finds nothing")
