"""Whether what came out for the first architecture holds for a second one, by which nothing was chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from string import Template

import numpy as np

from boxcam.explain.metrics.similarity import rank_correlation
from examples.truth import tables
from examples.truth.cells import span, table
from examples.truth.measure import BOXES, DEFAULT, SLOW_BOXES, Row
from examples.truth.results import ALL, Audit, Results, rows_in
from examples.truth.subjects import CLEAN, HERE
from examples.truth.verdict import (
    against_default,
    best_row,
    cues_of,
    listed,
    mean_audit,
    mean_energy,
    methods_in,
    name_of,
    not_above,
    questions_of,
    told_models,
    trusted,
)

TEMPLATE = HERE / "second.md.in"
Score = Callable[[Results, Row], float]


def shared(first: Results, second: Results) -> tuple[Results, Results]:
    """Both, with the questions and the ways to make a map that both have."""
    questions = [question for question in questions_of(first) if question in questions_of(second)]
    rows = [row for row in rows_in(first) if row in rows_in(second)]
    return _only(first, questions, rows), _only(second, questions, rows)


def section(first: Results, second: Results) -> str:
    """The page's section of the second architecture."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        boxes=str(BOXES),
        slow=str(SLOW_BOXES),
        models=tables.reliances(second),
        claims=claims(first, second),
        compared=compared(first, second),
    )


def claims(first: Results, second: Results) -> str:
    """What the page says of the first architecture, and what the second one says of it, a line each."""
    first, second = shared(first, second)
    rows = sorted(methods_in(first), key=lambda row: -mean_energy(first, "tuning", row))
    above, more, sure = (
        [row for row in rows if holds(first, row)] for holds in (_above_all, _ahead_of_default, trusted)
    )
    lines = [
        ["most evidence on the truth", *(name_of(max(rows, key=partial(_evidence, of))) for of in (first, second))],
        _placed("the best on the first architecture's tuning pictures", best_row(first), first, second),
        _placed("the default", DEFAULT, first, second),
        _held("more of the evidence on the truth than all baselines, on every question", above, second, _above_all),
        _held("more there than the default, on every question", more, second, _ahead_of_default),
        _held("planted boxes told from clean ones, cue by cue, without false alarms", sure, second, trusted),
        *(_highest(cue, first, second) for cue in cues_of(first)),
        ["order of all ways by evidence on the truth", "", _agreement(first, second, _evidence)],
        ["order of all ways by AUROC", "", _agreement(first, second, _auroc)],
    ]
    return table(["what came out for the first architecture", "there", "here"], lines, 3)


def compared(first: Results, second: Results) -> str:
    """All ways to make a map: the best ones of the first architecture's tuning pictures first, what it lacks last."""
    first, other = shared(first, second)
    questions, both = questions_of(other), rows_in(other)
    alone = sorted((row for row in rows_in(second) if row not in both), key=lambda row: -_evidence(second, row))
    second = _only(second, questions, rows_in(second))
    heads = [_heading(question) for question in questions]
    lines = [
        [
            name_of(row),
            f"{_evidence(first, row):.2f}" if row in both else "–",
            _mean(second, row),
            *(_shares(second, question, row) for question in questions),
            against_default(second, row),
            tables.failures(second, row) if row in methods_in(second) else "",
            _number(_auroc(first, row)),
            _number(_auroc(second, row)),
            *(_audit(second, cue, row) for cue in cues_of(second)),
            _number(told_models(second, row)),
            tables.percent(mean_audit(second, "reporting", row, _false)),
        ]
        for row in (*sorted(both, key=lambda row: -mean_energy(first, "tuning", row)), *alone)
    ]
    head = ["method, layer", "mean, first", "mean, here", *heads, "default", "not above", "AUROC, first", "AUROC, here"]
    return table([*head, *cues_of(second), "models", "false alarms"], lines, 1)


def _only(results: Results, questions: Sequence[str], rows: Sequence[Row]) -> Results:
    whole = list(questions) == questions_of(results)
    kept = [*questions, *([ALL] if whole else [])]
    return replace(
        results,
        energies=tuple(one for one in results.energies if one.question in kept and one.row in rows),
        audits=tuple(one for one in results.audits if one.cue in questions and one.row in rows),
        levels=tuple(one for one in results.levels if one.cue in questions and one.row in rows),
    )


def _placed(which: str, row: Row, first: Results, second: Results) -> list[str]:
    """The evidence of a way, and its place among all."""
    cells = []
    for results in (first, second):
        ordered = sorted(methods_in(results), key=lambda one: -_evidence(results, one))
        signs = against_default(results, row)
        place = f"{_evidence(results, row):.2f}, place {ordered.index(row) + 1} of {len(ordered)}"
        cells.append(place + (f"; against the default {signs}" if signs else ""))
    return [f"{which}, {name_of(row)}", *cells]


def _held(what: str, found: Sequence[Row], second: Results, holds: Callable[[Results, Row], bool]) -> list[str]:
    """The ways of which something held, and those of which it does here too."""
    too = [row for row in found if holds(second, row)]
    others = sum(holds(second, row) for row in methods_in(second)) - len(too)
    return [what, str(len(found)), f"{len(too)} of these and {others} others" + (f": {listed(too)}" if too else "")]


def _highest(cue: str, first: Results, second: Results) -> list[str]:
    """How often the best map at the neck is highest on a cue, and the best one at any layer."""
    cells = []
    for results in (first, second):
        rows = [row for row in methods_in(results) if row.layer == DEFAULT.layer]
        neck, every = (
            max(of, key=lambda row: _pointing(results, cue, row), default=DEFAULT) for of in (rows, methods_in(results))
        )
        told = [f"{tables.percent(_pointing(results, cue, row))} ({name_of(row)})" for row in (neck, every)]
        cells.append("; ".join(told))
    return [f"maps that are highest on the cue *{cue}*: the most at the neck; the most of all", *cells]


def _agreement(first: Results, second: Results, score: Score) -> str:
    rows = [row for row in methods_in(first) if not np.isnan(score(first, row) + score(second, row))]
    both = [np.array([[score(results, row) for row in rows]], np.float32) for results in (first, second)]
    return f"rank correlation {rank_correlation(both[0], both[1]):.2f} over {len(rows)}"


def _above_all(results: Results, row: Row) -> bool:
    return not not_above(results, row)


def _ahead_of_default(results: Results, row: Row) -> bool:
    return set(against_default(results, row)) == {"+"}


def _evidence(results: Results, row: Row) -> float:
    return mean_energy(results, "reporting", row)


def _auroc(results: Results, row: Row) -> float:
    return mean_audit(results, "reporting", row)


def _pointing(results: Results, cue: str, row: Row) -> float:
    found = results.energy("reporting", cue, row)
    return 0.0 if found is None else float(np.nan_to_num(found.pointing))


def _audit(results: Results, cue: str, row: Row) -> str:
    found = results.audit("reporting", cue, row)
    return "–" if found is None else f"{found.auroc:.2f} ({span(found.low, found.high)})"


def _heading(question: str) -> str:
    return "clean: symbol" if question == CLEAN else f"{question}: cue"


def _mean(results: Results, row: Row) -> str:
    found = results.energy("reporting", ALL, row)
    return f"{_evidence(results, row):.2f}" + ("" if found is None else f" ({span(found.low, found.high)})")


def _shares(results: Results, question: str, row: Row) -> str:
    found = results.energy("reporting", question, row)
    return "–" if found is None or not found.boxes else f"{found.energy:.2f} / {found.pointing:.2f}"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def _false(one: Audit) -> float:
    return one.alarms
