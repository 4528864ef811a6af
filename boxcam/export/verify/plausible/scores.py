"""Are the score columns scores, and of one kind: all probabilities, or all logits, over all pictures?

1. What was read as logits and comes out of a sigmoid or a softmax already, by the graph, is a probability.
2. What was read as probabilities has to lie in 0 to 1.
3. Columns of which some lie in 0 to 1 and others do not are no classes: keypoints, angles, coefficients of masks. That
   takes many rows, and a classifier has one for each picture.
4. Logits that are never negative are none: nothing is as good as certain everywhere. Those of a classifier's softmax
   may be any numbers, but its last layer gives negative ones, too, and far more than 0 to 1: places do not.
5. Few different values are told: a quantized model with one scale for boxes and scores has none but 0 left.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from boxcam.bundle import Verdict
from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.query import Array
from boxcam.export.heads.evidence.makers import computed, is_activation, is_unit_vector, last_operator
from boxcam.export.verify.plausible.criterion import Answer, Criterion
from boxcam.export.verify.plausible.reading import Reading
from boxcam.plurals import counted, verb

LIMITS = {"numbers": 200, "softmax": 40, "beyond": 0.02, "rows": 32, "outside": 1e-3, "contrast": 2.0, "values": 16}
"""How many numbers there have to be; so many of a softmax that lie in 0 to 1, but for a share at both ends, are places;
how many of each column, for its range to be told; by how much a probability may leave 0 to 1; from which width on a
column that is not inside is of another kind than one that is; how few different values are told."""

_PADDING = -1
"""What fills the rows of a table of a fixed length that hold no box."""

_ADVICE = (
    'Pass score_activation="none" if they are probabilities, or the tensor of the class scores alone with scores=, or'
    " write what they are with decode=."
)


def answer(reading: Reading) -> Answer | None:
    """Whether the score columns are scores."""
    doubled = _activated_twice(reading)
    if doubled is not None:
        node = doubled.producer()
        what = "an activation" if node is None else node.op_type
        seen = (
            f"{doubled.name} was read as logits, and comes out of {what} already: it holds probabilities, or numbers"
            " that are no class scores"
        )
        return Answer("implausible", seen, _ADVICE)
    columns, logits = _columns(reading)
    if not logits and len(columns):
        columns = columns[~(columns == _PADDING).all(1)]
    few = Answer("unknown", "there are too few scores to tell of which kind they are")
    if not columns.size or not np.isfinite(columns).all():
        return few
    low, high = columns.min(0), columns.max(0)
    figures = {"lowest": float(low.min()), "highest": float(high.max()), "columns": float(len(low))}
    beyond = LIMITS["outside"]
    many = len(columns) >= LIMITS["rows"] and not reading.is_classifier
    mixed = _mixed(low, high) if many else ""
    if mixed:
        inside = int(((low >= 0) & (high <= 1)).sum())
        seen = (
            f"of {counted(len(low), 'score column')} {inside} {verb(inside, 'lies', 'lie')} in 0 to 1 and {mixed}, so"
            " they are not all"
            " classes: keypoints, angles or coefficients may be among them"
        )
        advice = (
            "Pass the names of the classes with class_names=, the class scores with scores=, or a decode= function."
        )
        return Answer("implausible", seen, advice, figures)
    if not logits and (low.min() < -beyond or high.max() > 1 + beyond):
        seen = f"the scores were read as probabilities, and go from {low.min():.3g} to {high.max():.3g}"
        advice = (
            'Pass score_activation="sigmoid" or score_activation="softmax" if they are logits, or others with scores=.'
        )
        return Answer("implausible", seen, advice, figures)
    places = _places(reading, columns) if logits else None
    if places is not None:
        return Answer(*places, figures)
    if columns.size < LIMITS["numbers"]:
        return few
    if logits and low.min() >= 0 and _softmaxless(reading):
        verdict = "implausible" if high.max() <= 1 else "doubtful"
        seen = f"the scores were read as logits, and none is negative: they go from {low.min():.3g} to {high.max():.3g}"
        return Answer(verdict, seen, _ADVICE, figures)  # type: ignore[arg-type]
    values = len(np.unique(columns))
    if values <= LIMITS["values"]:
        seen = (
            f"the scores take {counted(values, 'different value')} only ({low.min():.3g} to {high.max():.3g}), as of a"
            " model that was quantized with one scale for boxes and scores"
        )
        return Answer("doubtful", seen, "Quantize it with an own scale for its scores.", figures | {"values": values})
    kind = "logits" if logits else "probabilities"
    all_of_them = f"the {counted(len(low), 'score column')} are all" if len(low) > 1 else "the scores are all"
    return Answer("plausible", f"{all_of_them} {kind}", figures=figures)


def _activated_twice(reading: Reading) -> ir.Value | None:
    """What an activation is put on that has one already."""
    for value, activation in zip(reading.trace.logits, reading.trace.activations, strict=True):
        node = value.producer()
        while node is not None and operator_of(node).moves and node.inputs[0] is not None:
            node = node.inputs[0].producer()
        if node is not None and activation != "Identity" and operator_of(node).probability:
            return node.outputs[0]
    return None


def _places(reading: Reading, columns: Array) -> tuple[Verdict, str, str] | None:
    """What speaks against the logits of a softmax over all classes of an image: the verdict, what was seen, advice.

    A layer with weights gives logits around 0; what it was trained to give as places or shares is hardly ever negative.
    """
    made = [last_operator(value) for value in reading.trace.logits]
    layers = all(operator is not None and not is_activation(operator) for operator in made)
    layers = layers and not any(map(_are_similarities, reading.trace.logits))
    low, high = (float(number) for number in np.quantile(columns, [LIMITS["beyond"], 1 - LIMITS["beyond"]]))
    many = columns.size >= LIMITS["softmax" if high <= 1 else "numbers"]
    if not (reading.is_classifier and not _softmaxless(reading) and layers and many and low >= 0):
        return None
    seen = (
        f"the scores were read as logits of a softmax, and nearly all of {counted(columns.size, 'number')} go from"
        f" {low:.3g} to {high:.3g}: places or shares do, and logits are negative as often"
    )
    advice = 'Export a model that has classes, or pass score_activation="none" if they are probabilities.'
    return "implausible" if high <= 1 else "doubtful", seen, advice


def _are_similarities(value: ir.Value) -> bool:
    """Whether numbers are how alike an embedding is to one of each class, as CLIP's: they may all be positive."""
    for _ in range(20):
        node = value.producer()
        read = [] if node is None else computed(node)
        if node is None or not read:
            return False
        if node.op_type in ("MatMul", "Gemm"):
            return any(map(_is_scaled_unit_vector, read))
        if len(read) > 1 or not (operator_of(node).keeps_places or operator_of(node).moves):
            return False
        value = read[0]
    return False


def _is_scaled_unit_vector(value: ir.Value) -> bool:
    """Whether numbers are a unit vector, maybe times a constant."""
    while not is_unit_vector(value):
        node = value.producer()
        read = [] if node is None else computed(node)
        if node is None or node.op_type != "Mul" or len(read) != 1:
            return False
        value = read[0]
    return True


def _softmaxless(reading: Reading) -> bool:
    """Whether the activation is a sigmoid: a softmax is of differences, and of any numbers."""
    return "Softmax" not in reading.trace.activations


def _columns(reading: Reading) -> tuple[Array, bool]:
    """The class scores of all pictures, [N, C], and whether they were read as logits.

    Where it is not known which number is of which class, they are the tensors that scores come from, as one column.
    """
    how = reading.subject.interpretation
    parts = [report.columns for report in reading.reports if report.columns is not None]
    if how is not None and parts and len({part.shape[1] for part in parts}) == 1:
        return np.concatenate(parts).astype(np.float64), how.activation != "none"
    ends = [array.reshape(-1, 1) for report in reading.reports for array in report.ends.values()]
    logits = any(activation != "Identity" for activation in reading.trace.activations)
    return np.concatenate([np.zeros((0, 1)), *ends]).astype(np.float64), logits


def _mixed(low: Array, high: Array) -> str:
    """What the columns are that are of another kind than those in 0 to 1; nothing if there are none."""
    inside = (low >= 0) & (high <= 1) & (high > low)
    far = (high - low) > LIMITS["contrast"]
    if not inside.any() or not (~inside & far).any():
        return ""
    other = int((~inside).sum())
    return f"{other} {verb(other, 'goes', 'go')} from {low[~inside].min():.3g} to {high[~inside].max():.3g}"


CRITERION = Criterion("scores", "Are the score columns scores, all of one kind?", LIMITS, answer)
