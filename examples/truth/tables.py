"""The tables of the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from examples.truth.cells import span, table
from examples.truth.intervene import Reliance
from examples.truth.measure import BASELINES, Row
from examples.truth.nowhere import FIGURES, Comparison
from examples.truth.results import ALL, Audit, Energy, Results, rows_in
from examples.truth.subjects import CLEAN, SPLITS, subject
from examples.truth.verdict import (
    against_default,
    best_layers,
    cues_of,
    mean_audit,
    mean_energy,
    name_of,
    not_above,
    questions_of,
    told_models,
)

_SHORT = {"uniform": "uniform", "the box itself": "box", "edge detector": "edges"}


def reliances(results: Results) -> str:
    """What interventions did, a line for each detector and kind of cue."""
    head = (
        "detector", "cue", "crosses", "right without cue", "score lost without cue", "no longer cross without cue",
        "tees turned by cue", "no longer cross, cue elsewhere", "score lost with the other symbol", "relies on cue",
    )  # fmt: skip
    return table(head, [_reliance(one) for one in results.reliances], 2)


def energies(results: Results) -> str:
    """Where the evidence is, by each method at its best layer."""
    rows = best_layers(rows_in(results), lambda row: mean_energy(results, "tuning", row))
    questions = questions_of(results)
    heads = ["clean: symbol" if question == CLEAN else f"{question}: cue" for question in questions]
    lines = [
        [
            name_of(row),
            _tuning(results, row),
            _mean(results, row),
            *(_shares(results, question, row) for question in questions),
            str(sum(one.empty for one in results.energies if one.row == row and one.question in questions)),
            against_default(results, row),
            "" if row.method in BASELINES else failures(results, row),
        ]
        for row in rows
    ]
    head = ["method, layer", "mean, tuning", "mean, reporting", *heads, "no map", "default", "not above"]
    return table(head, lines, 1)


def audits(results: Results) -> str:
    """Whether planted detectors are told from clean ones, by each method at its best layer."""
    known = [row for row in rows_in(results) if not np.isnan(mean_audit(results, "reporting", row))]
    rows = best_layers(known, lambda row: float(np.nan_to_num(mean_audit(results, "tuning", row))))
    lines = []
    for row in rows:
        found = [results.audit("reporting", cue, row) for cue in cues_of(results)]
        each = [f"{one.auroc:.2f} ({span(one.low, one.high)})" for one in found if one is not None]
        lines.append(
            [name_of(row), *_aurocs(results, row), *each, f"{told_models(results, row):.2f}", *_alarms(results, row)]
        )
    head = ["method, layer", "mean, tuning", "mean, reporting", *cues_of(results), "models", "false alarms", "detected"]
    return table(head, lines, 1)


def doses(results: Results, rows: Sequence[Row]) -> str:
    """Reliance and AUROC of each detector with a cue, by its dose; those of one dose are taken together."""
    keys = dict.fromkeys((one.cue, one.dose) for one in results.audits)
    lines = []
    for cue, dose in sorted(keys):
        mine = [one for one in results.reliances if one.cue == cue and subject(one.subject).dose == dose]
        found = [results.audit("reporting", cue, row, dose) for row in rows]
        told = ["–" if one is None else f"{one.auroc:.2f} ({span(one.low, one.high)})" for one in found]
        flipped, lost = (float(np.mean([getattr(one, of) for one in mine])) for of in ("flipped", "lost"))
        lines.append([cue, f"{dose:g}", str(len(mine)), percent(flipped), percent(lost), *told])
    head = ["cue", "dose", "detectors", "no longer cross without cue", "score lost without cue", *map(name_of, rows)]
    return table(head, lines, 1)


def everything(results: Results) -> str:
    """All methods and layers, in short."""
    rows = sorted(rows_in(results), key=lambda row: -mean_energy(results, "tuning", row))
    lines = []
    for row in rows:
        shares = [_shares(results, question, row) for question in questions_of(results)]
        energy = results.energy("reporting", CLEAN, row)
        cost = "" if energy is None or row.method in BASELINES else f"{1000 * energy.seconds:.0f} ms"
        boxes = "" if energy is None else str(sum(o.boxes + o.empty for o in _reporting(results, row)))
        lines.append(
            [
                name_of(row),
                _tuning(results, row),
                *shares,
                against_default(results, row),
                _aurocs(results, row)[1],
                _alarms(results, row)[0],
                boxes,
                cost,
            ]
        )
    heads = ["clean: symbol" if question == CLEAN else f"{question}: cue" for question in questions_of(results)]
    head = ["method, layer", "mean, tuning", *heads, "default", "AUROC", "false alarms", "boxes", "a box"]
    return table(head, lines, 1)


def nowhere(comparisons: Sequence[Comparison]) -> str:
    """What maps show of a cue that is at no place, a line for each way to make one."""
    lines = []
    for row in dict.fromkeys(one.row for one in comparisons):
        found = {(one.question, one.figure): one for one in comparisons if one.row == row}
        means = [f"{found['planted', of].first:.2f} / {found['planted', of].second:.2f}" for of in FIGURES]
        told = [found["planted", of] for of in FIGURES]
        told += [found["other", "on_symbol"], found["other", "sparse"], found["blurred", "sparse"]]
        lines.append([name_of(row), *means, *(f"{one.auroc:.2f} ({span(one.low, one.high)})" for one in told)])
    head = (
        "method, layer", "in the box", "on the symbol", "concentration", "AUROC, box", "AUROC, symbol",
        "AUROC, concentration", "*inside*: AUROC, symbol", "*inside*: AUROC, concentration",
        "blurred and sharp: AUROC, concentration",
    )  # fmt: skip
    return table(head, lines, 1)


def failures(results: Results, row: Row) -> str:
    """The baselines that do as well, or better, by question."""
    found = not_above(results, row)
    return "; ".join(f"{question}: {', '.join(_SHORT[name] for name in names)}" for question, names in found.items())


def percent(share: float | None) -> str:
    """As the page writes it."""
    return "–" if share is None or np.isnan(share) else f"{round(100 * share)} %"


def _reliance(one: Reliance) -> list[str]:
    shares = (one.right, one.lost, one.flipped, one.taken, one.moved, one.symbol)
    return [one.subject, one.cue, str(one.objects), *map(percent, shares), "yes" if one.relies else "no"]


def _tuning(results: Results, row: Row) -> str:
    found = results.energy("tuning", ALL, row)
    return "–" if found is None else f"{found.energy:.2f}"


def _mean(results: Results, row: Row) -> str:
    found = results.energy("reporting", ALL, row)
    return "–" if found is None else f"{found.energy:.2f} ({span(found.low, found.high)})"


def _shares(results: Results, question: str, row: Row) -> str:
    found = results.energy("reporting", question, row)
    return "–" if found is None or not found.boxes else f"{found.energy:.2f} / {found.pointing:.2f}"


def _reporting(results: Results, row: Row) -> list[Energy]:
    return [one for one in results.energies if one.split == "reporting" and one.row == row and one.question != ALL]


def _aurocs(results: Results, row: Row) -> list[str]:
    means = [mean_audit(results, split, row) for split in SPLITS]
    return ["–" if np.isnan(mean) else f"{mean:.2f}" for mean in means]


def _alarms(results: Results, row: Row) -> list[str]:
    ways = (_false, _true)
    return [percent(mean_audit(results, "reporting", row, way)) for way in ways]


def _false(one: Audit) -> float:
    return one.alarms


def _true(one: Audit) -> float:
    return one.detected
