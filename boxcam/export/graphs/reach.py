"""Which tensors of a layer some targets depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from boxcam.errors import ExportError
from boxcam.export.graphs.dependency import gradient_reaches
from boxcam.export.graphs.query import (
    all_values,
)


def used_features(
    model: ir.Model, logits: Sequence[str], features: Sequence[str], others: Callable[[], str] = lambda: ""
) -> list[str]:
    """Those of a layer's tensors that some logit depends on, once all of them are cut.

    Args:
        model: the folded detector.
        logits: the tensors of logits.
        features: the layer's tensors.
        others: for a message, names of layers that scores depend on.

    Raises:
        ExportError: there is none, the layer is the logits themselves, or it holds integers.
    """
    values = {str(value.name): value for value in all_values(model.graph)}
    leaves, sources = [values[name] for name in logits], [values[name] for name in features]
    late = [name for name in features if name in logits]
    if late:
        raise ExportError(f"{late[0]} is the logits themselves. Choose an earlier layer with layers=.")
    for source in sources:
        if source.dtype is not None and not source.dtype.is_floating_point():
            maker, better = source.producer(), "a floating-point tensor"
            if maker is not None and maker.op_type == "QuantizeLinear" and maker.inputs[0] is not None:
                better = f"{maker.inputs[0].name}, which it is rounded from,"
            kind = source.dtype.name.lower()
            raise ExportError(
                f"{source.name} holds integers ({kind}), which have no gradient. Choose {better} with layers=."
            )
    used = []
    for source in sources:
        reached = reached_by(model.graph, source, sources)
        if any(leaf in reached for leaf in leaves):
            used.append(str(source.name))
    if not used:
        known = others()
        advice = (
            f" Scores do depend on {known}: choose one of these with layers=."
            if known
            else " Choose another with layers=."
        )
        raise ExportError(
            f"no score depends on {', '.join(features)}, so there is nothing to explain at that layer.{advice}"
        )
    return used


def reached_by(graph: ir.Graph, source: ir.Value, sources: Sequence[ir.Value]) -> set[ir.Value]:
    """Values that a gradient of one source reaches, when all of them are cut."""
    return gradient_reaches(graph, [source], [other for other in sources if other is not source])
