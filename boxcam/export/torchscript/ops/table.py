"""The registry of ONNX operators in torch, and what several of them read of a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
import onnx_ir as ir
import torch

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.graphs.query import attribute_of, describe_node
from boxcam.registry import Registry

Tensor = torch.Tensor
Inputs = Sequence[Any]  # tensors, or None where an optional input is left out
Constants = Sequence[npt.NDArray[Any] | None]
Operator = Callable[[ir.Node, Inputs, Constants], Tensor | tuple[Tensor, ...]]

TORCH_OPS: Registry[Operator] = Registry("operator in torch")


def axes_asked(node: ir.Node, constants: Constants) -> list[int] | None:
    if "axes" in node.attributes:
        return [int(a) for a in attribute_of(node, "axes")]
    if len(node.inputs) < 2 or node.inputs[1] is None:
        return None
    return [int(a) for a in required(node, constants, 1).reshape(-1)]


def required(node: ir.Node, constants: Constants, position: int) -> npt.NDArray[Any]:
    found = constants[position]
    if found is None:
        raise UnsupportedOperatorError(
            f"{describe_node(node)} computes its input {position}, and only a constant one is implemented in PyTorch."
        )
    return found
