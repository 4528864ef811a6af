"""What the figures say of a way to make a map: where it shows no more than what needs no model, and what it finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from examples.truth.measure import BASELINES, Row
from examples.truth.results import Results, rows_in

SURE, ALARMS = 0.95, 0.05
"""Least AUROC, and most false alarms, of maps that an audit may trust."""


def questions_of(results: Results, split: str = "reporting") -> list[str]:
    """What was asked on the pictures of a split."""
    return list(dict.fromkeys(one.question for one in results.energies if one.split == split))


def methods_in(results: Results) -> list[Row]:
    """The ways to make maps that are no baselines."""
    return [row for row in rows_in(results) if row.method not in BASELINES]


def mean_energy(results: Results, split: str, row: Row) -> float:
    """The mean over all questions of the share of the evidence that is truly evidence; a missing one counts as 0."""
    return float(np.mean([share_of(results, split, question, row) for question in questions_of(results, split)]))


def share_of(results: Results, split: str, question: str, row: Row) -> float:
    """The share of the evidence that is truly evidence; 0 if it was not measured, or if no map has any."""
    found = results.energy(split, question, row)
    return 0.0 if found is None else float(np.nan_to_num(found.energy))


def best_row(results: Results) -> Row:
    """The method and layer that are best on the tuning pictures."""
    return max(methods_in(results), key=lambda row: mean_energy(results, "tuning", row))


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
    found = [one for one in results.audits if one.split == "reporting" and one.row == row]
    return bool(found) and all(one.auroc >= SURE and one.alarms <= ALARMS for one in found)


def sentences(results: Results) -> Sequence[str]:
    """How many methods and layers pass, and which."""
    ours = methods_in(results)
    above = [row for row in ours if not not_above(results, row)]
    below = [row for row in ours if "uniform" in {name for names in not_above(results, row).values() for name in names}]
    sure = [row for row in ours if trusted(results, row)]
    return (
        f"{len(above)} of {len(ours)} methods and layers put more of their evidence on the truth than all three"
        f" baselines, on every question: {_listed(above)}.",
        f"{len(below)} put no more there than a *uniform map* on at least one question: {_listed(below)}.",
        f"{len(sure)} tell planted boxes from clean ones with an AUROC of {SURE} or more for every cue, and at most"
        f" {100 * ALARMS:.0f} % false alarms: {_listed(sure)}.",
    )


def name_of(row: Row) -> str:
    """As the page writes it."""
    if row.method in BASELINES:
        return row.method
    return f"`{row.method}`, {row.layer}" if row.layer else f"`{row.method}`"


def _listed(rows: Sequence[Row]) -> str:
    return "; ".join(map(name_of, rows)) or "none"
