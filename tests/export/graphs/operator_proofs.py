"""What is wrong with a row of the table, by running its cases."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from onnx import defs

from boxcam.export.graphs.operators import OPERATORS, Copies, Mixes, Operator, mixed_axes
from tests.export.graphs.operator_behaviour import (
    axes_that_differ,
    copying,
    effects,
    is_elementwise,
    is_probability,
    is_sampling,
    is_the_same_everywhere,
    is_weighing,
    slopes,
    sweep,
)
from tests.export.graphs.operator_cases import CASES, Case
from tests.export.graphs.operator_runs import node_of, run_of

BY_NAME = {name: [case for case in CASES if case.operator == name] for name in OPERATORS}


def wrong(name: str, operator: Operator) -> list[str]:
    """The traits of a row that running its cases disproves."""
    cases = BY_NAME.get(name, [])
    return [trait for trait, holds in PROOFS.items() if not holds(operator, cases)] if cases else ["no case"]


def _mixes(operator: Operator, cases: list[Case]) -> bool:
    """Whether a row names the axes that are seen to be mixed; "any" only where no other name holds."""
    if operator.mixes is Mixes.ANY:
        others = [mixes for mixes in Mixes if mixes is not Mixes.ANY]
        return not any(_mixes(dataclasses.replace(operator, mixes=mixes), cases) for mixes in others)
    if operator.mixes is Mixes.SHAPES:
        return not any(changes.any() for case in cases for i in given(case) for _, changes in effects(case, i))
    if operator.elementwise:
        shuffled = any(is_the_same_everywhere(case) for case in cases)
        return shuffled and all(is_elementwise(case) for case in cases)
    if any(case.inputs == () or is_elementwise(case) for case in cases):
        return False
    if operator.keeps_places:
        return all(_keeps_places(case, operator.mixes is Mixes.CHANNEL_PARAMETERS) for case in cases)
    if operator.mixes is Mixes.PRODUCT and not all(map(is_weighing, cases)):
        return False
    said = [_said(node_of(case), operator) for case in cases]
    seen = [_mixed(case, operator) for case in cases]
    return None not in said and said == seen and any(said)


def given(case: Case) -> list[int]:
    return [i for i, x in enumerate(case.inputs) if x is not None]


def _keeps_places(case: Case, by_channel: bool) -> bool:
    """Whether an element of the output sees the one at its own place of the first input, all rows being alike.

    Args:
        case: the case.
        by_channel: whether every number of the other inputs belongs to one channel.
    """
    run, first = run_of(case), case.inputs[0]
    assert first is not None
    y = run()
    if y.shape != first.shape or axes_that_differ(case, [0]) or len(first) == 1:
        return False
    if not np.allclose(run({0: first[::-1].copy()}), y[::-1]):
        return False
    parameters = [case.inputs[i].shape for i in given(case)[1:]]  # type: ignore[union-attr]
    if not by_channel or parameters != [first.shape[1:2]] * 4:
        return not by_channel and parameters != [first.shape[1:2]] * 4
    others = ((i, *seen) for i in given(case)[1:] for seen in effects(case, i))
    return all(place[1] == position[0] for _, position, changes in others for place in np.argwhere(changes))


def _mixed(case: Case, operator: Operator) -> set[int] | None:
    """The axes that are seen to be mixed; None if they cannot be compared."""
    moving = operator.differentiable(len(case.inputs)) if operator.moves else (0,)
    y = run_of(case)()
    if any(np.ndim(case.inputs[i]) != y.ndim for i in moving):  # type: ignore[arg-type]
        return None
    return axes_that_differ(case, moving)


def _said(node: ir.Node, operator: Operator) -> set[int] | None:
    """The axes that a row says a node mixes, whatever the table holds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPERATORS, node.op_type, operator)  # type: ignore[arg-type]
        found = mixed_axes(node)
    return None if found is None else set(found)


def _inputs(operator: Operator, cases: list[Case]) -> bool:
    for case in cases:
        present = {i for i in operator.differentiable(len(case.inputs)) if case.inputs[i] is not None}
        if slopes(case) != present | set(case.held) or present & set(case.held):
            return False
    present = {i for case in cases for i in given(case)}
    return present >= set(operator.inputs or ()) and max(present, default=-1) < _arity(cases[0].operator)


def _arity(name: str) -> int:
    return int(defs.get_schema(name).max_input)


def _zero(operator: Operator, cases: list[Case]) -> bool:
    return bool(operator.zero) == all(slopes(case) <= set(case.held) for case in cases)


def _copies(operator: Operator, cases: list[Case]) -> bool:
    order = list(Copies)
    seen = {copying(case) for case in cases}
    widest = Copies.NONE if Copies.NONE in seen else max(seen, key=order.index)
    return operator.copies is widest


def _weighing(operator: Operator, cases: list[Case]) -> bool:
    return operator.weighs == any(is_weighing(case) and not is_elementwise(case) for case in cases)


def _rectifier(operator: Operator, cases: list[Case]) -> bool:
    if operator.zero or operator.moves or not all(map(is_elementwise, cases)):
        return not operator.rectifier
    seen = [found for case in cases if (found := sweep(case)) is not None]
    some = any(rectifies for rectifies, _ in seen)
    always = all(rectifies and rises for rectifies, rises in seen)
    return operator.rectifier == ("rising" if some and always else "dipping" if some else "")


def _probability(operator: Operator, cases: list[Case]) -> bool:
    single = [case for case in cases if run_of(case).floats == [0] and not operator.zero and not case.sequence]
    return operator.probability == (bool(single) and all(is_probability(case) for case in single))


def _sampling(operator: Operator, cases: list[Case]) -> bool:
    more = [case for case in cases if len(run_of(case).floats) > 1 and 0 in run_of(case).floats and not operator.zero]
    return operator.samples == any(is_sampling(case) for case in more if run_of(case)().dtype.kind == "f")


PROOFS = {
    "mixes": _mixes,
    "inputs": _inputs,
    "zero": _zero,
    "copies": _copies,
    "weighs": _weighing,
    "rectifier": _rectifier,
    "probability": _probability,
    "samples": _sampling,
}
