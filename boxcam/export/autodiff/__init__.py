"""Reverse-mode differentiation of ONNX graphs, as ONNX graphs of standard operators."""

from boxcam.export.autodiff import rules as _rules  # noqa: F401  (each registers itself)
