"""What a graph has to be for a gradient: numbers in float32, of known sizes, and not integers only."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.errors import ExportError, UnsupportedOperatorError
from boxcam.export import graph as onnx
from boxcam.export.dependency import between, depends

_HALF = {ir.DataType.FLOAT16: "float16", ir.DataType.BFLOAT16: "bfloat16"}
_INTEGER_ONLY = ("QLinear", "QGemm", "QAttention", "ConvInteger", "MatMulInteger", "DynamicQuantize")


def check_input(model: ir.Model, name: str) -> None:
    """Refuse a graph that cannot be fed with an image, float32 [1, 3, height, width].

    Raises:
        ExportError: its input is of another type, or its size is not fixed.
    """
    value = next(v for v in model.graph.inputs if v.name == name)
    if value.dtype in _HALF:
        raise ExportError(f"the model computes in {_HALF[value.dtype]} (its input {name}); export it in float32.")
    if value.dtype not in (None, ir.DataType.FLOAT):
        raise ExportError(f"the model's input {name} is {value.dtype}; export it with a float32 input.")
    shape = onnx.static_shape(value)
    if shape is not None and None in shape[-2:]:
        raise ExportError(
            f"the model's input {onnx.with_shape(value)} has no fixed height and width; give them with --shape, such as"
            " --shape 640x640."
        )


def check_precision(model: ir.Model, name: str) -> None:
    """Refuse a graph that computes in half precision anything that depends on its input.

    Raises:
        UnsupportedOperatorError: it does.
    """
    work = onnx.clone(model)
    passes.ShapeInferencePass()(work)
    image = next(v for v in work.graph.inputs if v.name == name)
    dependent = depends(work.graph, image)
    for value in onnx.values(work.graph):
        if value in dependent and value.dtype in _HALF:
            node = value.producer()
            where = str(value.name) if node is None else onnx.describe(node)
            raise UnsupportedOperatorError(
                f"the model computes in {_HALF[value.dtype]} ({where}); export it in float32."
            )


def check_operators(model: ir.Model) -> None:
    """Refuse a graph with operators that are not of the ONNX standard.

    Raises:
        UnsupportedOperatorError: there is one.
    """
    foreign = [node for node in model.graph.all_nodes() if node.domain not in onnx.STANDARD]
    if not foreign:
        return
    integer = [node for node in foreign if node.op_type.startswith(_INTEGER_ONLY)]
    if integer:
        raise _quantized(integer[0])
    names = sorted({onnx.describe(node) for node in foreign})
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise UnsupportedOperatorError(
        f"the model uses operators outside the ONNX standard: {', '.join(names[:3])}{more}. Export it without them, or"
        " before an optimiser put them in."
    )


def check_path(model: ir.Model, logits: Sequence[str], features: Sequence[str]) -> None:
    """Refuse what computes in integers between a layer and the logits.

    Raises:
        UnsupportedOperatorError: something does.
    """
    values = {str(value.name): value for value in onnx.values(model.graph)}
    for node in between(model.graph, [values[n] for n in features], [values[n] for n in logits]):
        if node.op_type.startswith(_INTEGER_ONLY):
            raise _quantized(node)


def _quantized(node: ir.Node) -> UnsupportedOperatorError:
    return UnsupportedOperatorError(
        f"the model is quantized in QOperator format ({onnx.describe(node)}), and integers have no gradient. Export its"
        " float form, or its QDQ form (QuantizeLinear and DequantizeLinear around float operators)."
    )
