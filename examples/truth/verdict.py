"""What the figures say of a way to make a map: where it shows no more than what needs no model, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from examples.truth.intervals import Sample, auroc
from examples.truth.measure import BASELINES, DEFAULT, Row
from examples.truth.results import ALL, Audit, Energy, Results, rows_in
from examples.truth.subjects import CLEAN, subject

SURE, ALARMS = 0.95, 0.05
"""Least AUROC, and most false alarms, of maps that an audit may trust."""
LISTED = 8
"""Ways to make a map that a sentence names, at most: the best ones on tuning pictures."""


def questions_of(results: Results, split: str = "reporting") -> list[str]:
    """What was asked on the pictures of a split."""
    found = dict.fromkeys(one.question for one in results.energies if one.split == split)
    return [question for question in found if question != ALL]


def cues_of(results: Results) -> list[str]:
    """The kinds of cue that detectors rely on."""
    return [question for question in questions_of(results) if question != CLEAN]


def methods_in(results: Results) -> list[Row]:
    """The ways to make maps that are no baselines."""
    return [row for row in rows_in(results) if row.method not in BASELINES]


def mean_energy(results: Results, split: str, row: Row) -> float:
    """The mean over all questions of the share of the evidence that is truly evidence; a missing one counts as 0."""
    found = [share_of(results, split, question, row) for question in questions_of(results, split)]
    return float(np.mean(found)) if found else 0.0


def share_of(results: Results, split: str, question: str, row: Row) -> float:
    """The share of the evidence that is truly evidence; 0 if it was not measured, or if no map has any."""
    found = results.energy(split, question, row)
    return 0.0 if found is None else float(np.nan_to_num(found.energy))


def best_row(results: Results) -> Row:
    """The method and layer that are best on the tuning pictures."""
    return max(methods_in(results), key=lambda row: mean_energy(results, "tuning", row))


def best_layers(rows: Sequence[Row], score: Callable[[Row], float]) -> list[Row]:
    """Of each method the layer with the highest score, the best first, and all baselines."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.method not in best or score(row) > score(best[row.method]):
            best[row.method] = row
    return sorted(best.values(), key=lambda row: -score(row))


def mean_audit(results: Results, split: str, row: Row, of: Callable[[Audit], float] = lambda one: one.auroc) -> float:
    """The mean over all kinds of cue, of the AUROC by default; NaN if it was not measured for one of them."""
    found = [results.audit(split, cue, row) for cue in cues_of(results)]
    return float(np.mean([float("nan") if one is None else of(one) for one in found])) if found else float("nan")


def told_models(results: Results, row: Row) -> float:
    """AUROC over detectors, each once for each kind of cue that it is measured with, by the mean over their boxes."""
    levels = [one for one in results.levels if one.row == row]
    parts = ([one.lift for one in levels if subject(one.subject).clean == clean] for clean in (False, True))
    return auroc(*(Sample(np.array(part, np.float64), range(len(part))) for part in parts)).value


def against_default(results: Results, row: Row) -> str:
    """A sign for each question, on reporting pictures.

    It is ``+`` where the way puts more on the truth than the default does, ``-`` where it puts less there, and ``=``
    where the interval of the difference has 0 in it.
    """
    found = [results.energy("reporting", question, row) for question in questions_of(results)]
    return "" if row == DEFAULT or None in found else "".join(_sign(one) for one in found if one is not None)


def _sign(one: Energy) -> str:
    return "+" if one.ahead_low > 0 else "-" if one.ahead_high < 0 else "="


def not_above(results: Results, row: Row) -> dict[str, list[str]]:
    """By question, on reporting pictures, the baselines that have as much of their evidence on the truth, or more."""
    found = {}
    for question in questions_of(results):
        own = share_of(results, "reporting", question, row)
        levels = {name: share_of(results, "reporting", question, Row(name)) for name in BASELINES}
        found[question] = [name for name, level in levels.items() if own <= level]
    return {question: names for question, names in found.items() if names}


def trusted(results: Results, row: Row) -> bool:
    """Whether its maps tell planted boxes from clean ones, cue by cue, without false alarms, on reporting pictures."""
    found = [results.audit("reporting", cue, row) for cue in dict.fromkeys(one.cue for one in results.audits)]
    known = [one for one in found if one is not None]
    return bool(known) and all(one.auroc >= SURE and one.alarms <= ALARMS for one in known)


def sentences(results: Results) -> Sequence[str]:
    """How many methods and layers pass, and which, the best ones on tuning pictures first."""
    ours = sorted(methods_in(results), key=lambda row: -mean_energy(results, "tuning", row))
    above = [row for row in ours if not not_above(results, row)]
    below = [row for row in ours if "uniform" in {name for names in not_above(results, row).values() for name in names}]
    sure = [row for row in ours if trusted(results, row)]
    signs = {row: set(against_default(results, row)) for row in ours}
    more, less = ([row for row in ours if signs[row] == {sign}] for sign in "+-")
    return (
        f"{len(above)} of {len(ours)} methods and layers put more of their evidence on the truth than all three"
        f" baselines, on every question: {listed(above)}.",
        f"{len(below)} put no more there than a *uniform map* on at least one question: {listed(below)}.",
        f"{len(more)} put more there than the default, {name_of(DEFAULT)}, on every question, by more than chance"
        f" explains: {listed(more)}. {len(less)} put less there on every question: {listed(less)}.",
        f"{len(sure)} tell planted boxes from clean ones with an AUROC of {SURE} or more for every cue, and at most"
        f" {100 * ALARMS:.0f} % false alarms: {listed(sure)}.",
    )


def name_of(row: Row) -> str:
    """As the page writes it."""
    if row.method in BASELINES:
        return row.method
    return f"`{row.method}`, {row.layer}" if row.layer else f"`{row.method}`"


def listed(rows: Sequence[Row]) -> str:
    """The first ones by name."""
    more = f"; and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
    return ("; ".join(map(name_of, rows[:LISTED])) or "none") + more
