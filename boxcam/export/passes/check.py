"""What a graph has to be for a gradient: real numbers, of known sizes, and not integers only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from boxcam.bundle import Preprocess, check_preprocess
from boxcam.errors import ExportError, UnsupportedOperatorError
from boxcam.export.graphs.dependency import between
from boxcam.export.graphs.query import RUNNABLE, STANDARD, all_values, describe_node, name_and_shape, static_shape
from boxcam.export.passes import float16
from boxcam.export.source import HalfPrecision

_INTEGER_ONLY = ("QLinear", "QGemm", "QAttention", "ConvInteger", "MatMulInteger", "DynamicQuantize")
_BFLOAT16 = (
    "the model computes in bfloat16 ({}), which ONNX Runtime does not run on every machine. Export it in float32 or"
    " float16."
)


def check_input(model: ir.Model, name: str, spec: Preprocess) -> None:
    """Refuse a graph that cannot be fed with an image as it is prepared for it.

    Raises:
        ExportError: its input is of another type or another shape, or its size is not fixed.
    """
    try:
        check_preprocess(spec)
    except ValueError as error:
        raise ExportError(f"the model input is impossible: {error}. Correct it.") from error
    value = next(v for v in model.graph.inputs if v.name == name)
    if value.dtype is ir.DataType.BFLOAT16:
        raise ExportError(_BFLOAT16.format(f"its input {name}"))
    if value.dtype is not None and value.dtype is not ir.DataType.from_numpy(np.dtype(spec.dtype)):
        raise ExportError(
            f"the model's input {name} is {value.dtype.name.lower()}, but an image is prepared as {spec.dtype}. Export"
            f" the model with an input of {spec.dtype}."
        )
    shape = static_shape(value)
    if shape is None:
        return
    if not spec.multiple and None in (shape[2:] if spec.layout == "NCHW" else shape[1:3]):
        raise ExportError(
            f"the model's input {name_and_shape(value)} has no fixed height and width. Fix them with shape=, such as"
            " shape=(640, 640)."
        )
    if len(shape) != 4 or any(have not in (None, want) for have, want in zip(shape, spec.shape, strict=False)):
        raise ExportError(
            f"the model's input {name_and_shape(value)} cannot take an image, which is prepared as"
            f" [{', '.join('?' if size is None else str(size) for size in spec.shape)}]. Export the model with an"
            " input of that shape."
        )


def admit(model: ir.Model, name: str) -> tuple[ir.Model, HalfPrecision | None]:
    """Refuse a graph that cannot be worked on, and turn one that computes in float16 into float32.

    Args:
        model: a detector.
        name: of its image input.

    Returns:
        The graph in float32, which is the model itself if it is; and the model as it is, if it computes in float16.

    Raises:
        UnsupportedOperatorError: it has operators that nobody else knows, or computes in bfloat16 or integers.
    """
    check_operators(model)
    check_precision(model, name)
    if float16.computed_in(model, name, ir.DataType.FLOAT16) is None:
        return model, None
    return float16.widened(model), HalfPrecision(model, float16.types(model))


def check_precision(model: ir.Model, name: str) -> None:
    """Refuse a graph that computes in bfloat16 anything that depends on its input; float16 is no matter.

    Raises:
        UnsupportedOperatorError: it does.
    """
    found = float16.computed_in(model, name, ir.DataType.BFLOAT16)
    if found is not None:
        raise UnsupportedOperatorError(_BFLOAT16.format(found))


def check_operators(model: ir.Model) -> None:
    """Refuse a graph with operators that are neither of the ONNX standard nor ONNX Runtime's own.

    Those of ONNX Runtime may be anywhere but between a layer and the scores, where they are refused later.

    Raises:
        UnsupportedOperatorError: there is one.
    """
    others = [node for node in model.graph.all_nodes() if node.domain not in STANDARD]
    integer = [node for node in others if node.op_type.startswith(_INTEGER_ONLY)]
    if integer:
        raise _quantized(integer[0])
    foreign = [node for node in others if node.domain not in RUNNABLE]
    if not foreign:
        return
    names = sorted({describe_node(node) for node in foreign})
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise UnsupportedOperatorError(
        f"the model uses operators outside the ONNX standard: {', '.join(names[:3])}{more}. Export it without them, or"
        " use the file from before an optimizer inserted them."
    )


def check_path(model: ir.Model, logits: Sequence[str], features: Sequence[str]) -> None:
    """Refuse what computes in integers between a layer and the logits.

    Raises:
        UnsupportedOperatorError: something does.
    """
    values = {str(value.name): value for value in all_values(model.graph)}
    for node in between(model.graph, [values[n] for n in features], [values[n] for n in logits]):
        if node.op_type.startswith(_INTEGER_ONLY):
            raise _quantized(node)


def _quantized(node: ir.Node) -> UnsupportedOperatorError:
    return UnsupportedOperatorError(
        f"the model is quantized in QOperator format ({describe_node(node)}), and integers have no gradient. Export its"
        " float form, or its QDQ form (QuantizeLinear and DequantizeLinear around float operators)."
    )
