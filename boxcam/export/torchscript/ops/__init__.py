"""ONNX operators in torch, one short function each: node, inputs → output.

Each takes the node, its inputs as tensors (None where left out) and its constant inputs as arrays (None where they are
not constant), and returns the output.  They are run under `torch.jit.trace`, so sizes that differ between runs must
come out of tensor operations.
"""

from boxcam.export.torchscript.ops import elementwise, mixing, moving  # noqa: F401  (each registers its own)
from boxcam.export.torchscript.ops.table import TORCH_OPS, Constants, Inputs, Operator

__all__ = ["TORCH_OPS", "Constants", "Inputs", "Operator"]
