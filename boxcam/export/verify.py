"""Verification: before a bundle is finished, everything in it is run and compared.

1. The forward graph gives the source model's own outputs.
2. The logit that `origin` names, put through its activation, gives the reported score.
3. The gradients: `boxcam.export.verify_torchscript`, `boxcam.export.verify_gradient`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from boxcam.bundle import Outputs
from boxcam.errors import VerificationError
from boxcam.export import graph as onnx
from boxcam.export.replay import Replay
from boxcam.export.trace import Trace

Arrays = Mapping[str, onnx.Array]


@dataclass(frozen=True)
class Check:
    """One comparison: its name, the error that was measured, and the largest that passes."""

    name: str
    error: float
    limit: float


def require(checks: Sequence[Check]) -> dict[str, float]:
    """The figures by name.

    Raises:
        VerificationError: one is above its limit, or no number.
    """
    bad = [check for check in checks if not check.error <= check.limit]
    if bad:
        figures = "; ".join(f"{check.name}: {check.error:.2e}, at most {check.limit:.0e} passes" for check in bad)
        raise VerificationError(
            f"the exported files do not agree with the model ({figures}). No bundle was written. Try another --sample"
            " image; if it stays, please report it with the model."
        )
    return {check.name: float(f"{check.error:.3g}") for check in checks}


def outputs(original: Arrays, augmented: Arrays) -> Check:
    """The new graph's outputs against the original's: largest difference, relative to the largest value.

    Each column of the last axis counts for itself: boxes and scores may share one output.
    """
    worst = 0.0
    for name, expected in original.items():
        found = augmented[name]
        if found.shape != expected.shape:
            return Check("outputs", float("inf"), 1e-4)
        columns = range(expected.shape[-1]) if expected.ndim > 2 else [slice(None)]
        for column in columns if expected.size else []:
            want, have = expected[..., column].astype(np.float64), found[..., column]
            differs = have != want
            error = np.abs(have[differs] - want[differs]).max(initial=0.0)
            worst = float(np.maximum(worst, error / max(np.abs(want).max(), 1.0)))  # unlike max(), keeps NaN
    return Check("outputs", worst, 1e-4)


def softmax(
    model: ir.Model, trace: Trace, logits: Sequence[onnx.Array], feeds: Arrays
) -> dict[int, npt.NDArray[np.float64]]:
    """The softmax of every logit, in float64, in the layout of the logits: tensor of logits → probabilities.

    Which logits share a softmax is found by sending the numbers of the logits through the detector's own operators in
    front of it; this does not use the trace's arithmetic.
    """
    result: dict[int, npt.NDArray[np.float64]] = {}
    groups: dict[str, list[int]] = {}
    for index, (value, activation) in enumerate(zip(trace.inputs, trace.activations, strict=True)):
        if activation == "Softmax":
            groups.setdefault(str(value.name), []).append(index)
    for target, members in groups.items():
        names = [str(trace.logits[i].name) for i in members]
        ends = np.cumsum([logits[i].size for i in members])
        starts = ends - [logits[i].size for i in members]
        values = {n: logits[i] for n, i in zip(names, members, strict=True)}
        if [target] == names:
            numbers, row = np.arange(ends[-1]).reshape(logits[members[0]].shape), logits[members[0]]
        else:
            if ends[-1] >= 1 << 24:
                raise VerificationError(f"{target} has more than 2^24 logits, too many to number in float32.")
            counted = {
                n: np.arange(start, start + logits[i].size, dtype=np.float32).reshape(logits[i].shape)
                for n, i, start in zip(names, members, starts, strict=True)
            }
            replay = Replay(model, names, [target], feeds)
            numbers, row = replay(counted)[target].astype(np.int64), replay(values)[target]
        axis = _softmax_axis(model, target)
        exponent = np.exp(row.astype(np.float64) - row.max(axis=axis, keepdims=True, initial=-np.inf))
        flat = np.full(ends[-1], np.nan)
        flat[numbers.reshape(-1)] = (exponent / exponent.sum(axis=axis, keepdims=True)).reshape(-1)
        for index, start in zip(members, starts, strict=True):
            result[index] = flat[start : start + logits[index].size].reshape(logits[index].shape)
    return result


def _softmax_axis(model: ir.Model, name: str) -> int:
    for node in model.graph:
        if node.op_type == "Softmax" and node.inputs[0] is not None and node.inputs[0].name == name:
            return int(onnx.attribute(node, "axis", -1))
    raise VerificationError(f"the softmax of {name} is lost; this is a fault of boxcam.")


def scores(
    trace: Trace,
    names: Outputs,
    found: Arrays,
    logits: Sequence[onnx.Array],
    probabilities: Mapping[int, npt.NDArray[np.float64]],
) -> Check:
    """Scores recomputed from the logits that origin names, in float64, against the reported ones.

    Args:
        trace: which activation belongs to which logits.
        names: the outputs.
        found: the forward graph's outputs in one run.
        logits: the tensors of logits.
        probabilities: of `softmax`.
    """
    reported = found[names.scores]
    reported = (reported[..., names.score_column] if names.score_column is not None else reported).reshape(-1)
    worst = 0.0
    for score, origin in zip(reported, found[names.origin], strict=True):
        if origin[0] < 0:  # a filler has no score
            worst = float(np.maximum(worst, score))
            continue
        tensor, activation = logits[origin[0]].astype(np.float64), trace.activations[origin[0]]
        position = tuple(origin[1 : 1 + tensor.ndim])
        value = tensor[position]
        if activation == "Sigmoid":
            value = 1 / (1 + np.exp(-value))
        elif activation == "Softmax":
            value = probabilities[int(origin[0])][position]
        worst = float(np.maximum(worst, abs(float(value) - float(score))))
    return Check("scores", worst, 1e-6)


def sample_origins(found: Arrays, logits: Sequence[onnx.Array], origin_name: str) -> onnx.Array:
    """Origins to check gradients at: every tensor of logits in turn, best detection first.

    For each tensor they are its first detection, its highest logit, a corner, and its further detections; the result
    takes the first of each tensor, then the second of each, and so on.
    """
    real = found[origin_name]
    real = real[real[:, 0] >= 0]
    queues: list[list[onnx.Array]] = []
    for number, tensor in enumerate(logits):
        drawn = list(real[real[:, 0] == number])
        made = []
        for position in (
            (np.unravel_index(int(tensor.argmax()), tensor.shape), [s - 1 for s in tensor.shape]) if tensor.size else []
        ):
            row = np.zeros(real.shape[1], np.int64)
            row[0], row[1 : 1 + tensor.ndim] = number, position
            made.append(row)
        unique = {tuple(row): row for row in (*drawn[:1], *made, *drawn[1:])}
        queues.append(list(unique.values()))
    turns = itertools.zip_longest(*queues)
    return np.array([row for turn in turns for row in turn if row is not None], np.int64).reshape(-1, real.shape[1])


def inner(patch: onnx.Array, direction: onnx.Array, y: int, x: int) -> float:
    """Inner product of a patch with the part of a map that it covers."""
    height, width = direction.shape[1:]
    y0, y1 = max(y, 0), min(y + patch.shape[1], height)
    x0, x1 = max(x, 0), min(x + patch.shape[2], width)
    return float((patch[:, y0 - y : y1 - y, x0 - x : x1 - x] * direction[:, y0:y1, x0:x1]).sum())


def at(origin: onnx.Array, logits: Sequence[onnx.Array]) -> onnx.Array:
    return np.array([logits[row[0]][tuple(row[1 : 1 + logits[row[0]].ndim])] for row in origin], np.float64)


def disturb(array: onnx.Array, rng: np.random.Generator) -> onnx.Array:
    spread = float(array.std()) or 1.0
    disturbed: onnx.Array = (array + 0.1 * spread * rng.standard_normal(array.shape)).astype(array.dtype)
    return disturbed


def relative(found: onnx.Array, expected: onnx.Array) -> float:
    if not expected.size:
        return 0.0
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
