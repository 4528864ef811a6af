"""From cases to means and audits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from examples.truth.cues import CUES
from examples.truth.intervals import Sample, auroc, mean_of_means
from examples.truth.intervene import Reliance
from examples.truth.measure import DEFAULT, Case, Row
from examples.truth.results import ALL, Audit, Energy, Level, Results
from examples.truth.subjects import CLEAN, SPLITS, committed, subject

ALARM = 0.95
"""Share of the clean boxes on tuning pictures that a threshold for alarms lets pass."""
KEPT = 3
"""Boxes of each committed detector, kind of cue and way of a short run that are kept one by one."""
KEPT_FURTHER = KEPT_SECOND = 1
"""The same, of the kinds of cue of which fewer boxes are measured, and of the second architecture."""


@dataclass(frozen=True)
class _Pool:
    """Cases of one split and one way to make a map: of clean detectors, and of planted ones by cue and dose."""

    clean: list[Case] = field(default_factory=list)
    planted: dict[tuple[str, float], list[Case]] = field(default_factory=dict)

    def of(self, question: str, highest: dict[str, float]) -> list[Case]:
        """The cases of a question."""
        return self.clean if question == CLEAN else self.planted.get((question, highest[question]), [])


def summarise(reliances: Sequence[Reliance], cases: Sequence[Case], kept: int = KEPT) -> Results:
    """Means over boxes, and audits.

    They are of clean detectors, of those of a cue's highest dose that rely on it, and, in audits alone, of those of
    lower doses. Of each committed detector, kind of cue and way of a short run, ``kept`` boxes are kept one by one.
    """
    rely = {(one.subject, one.cue) for one in reliances if one.relies}
    planted = [one for one in map(subject, dict.fromkeys(case.subject for case in cases)) if not one.clean]
    highest = {cue: max(one.dose for one in planted if one.cue == cue) for cue in dict.fromkeys(o.cue for o in planted)}
    pools: dict[tuple[str, Row], _Pool] = {}
    for case in cases:
        one, pool = subject(case.subject), pools.setdefault((case.split, case.row), _Pool())
        if one.clean:
            pool.clean.append(case)
        elif case.cue != "blur" and (one.dose < highest[one.cue] or (one.name, case.cue) in rely):
            pool.planted.setdefault((case.cue, one.dose), []).append(case)
    main = [cue for cue, dose in highest.items() if any((cue, dose) in pool.planted for pool in pools.values())]
    main.sort(key=CUES.index)
    questions = [*([CLEAN] if any(pool.clean for pool in pools.values()) else []), *main]
    rows = list(dict.fromkeys(case.row for case in cases))
    energies: list[Energy] = []
    audits: list[Audit] = []
    levels: list[Level] = []
    for split in SPLITS:
        for row in rows:
            pool, default = (pools.get((split, which), _Pool()) for which in (row, DEFAULT))
            found = {question: pool.of(question, highest) for question in questions}
            other = {question: default.of(question, highest) for question in questions}
            energies += _energies(split, row, found, other)
            known = pools.get(("tuning", row), _Pool()).clean
            audits += _audits(split, row, pool, known)
            if split == "reporting":
                levels += _levels(row, [case for one in found.values() for case in one])
    return Results(tuple(reliances), tuple(energies), tuple(audits), tuple(levels), tuple(_kept(cases, kept)))


def _energies(split: str, row: Row, found: dict[str, list[Case]], other: dict[str, list[Case]]) -> Iterator[Energy]:
    """Of each question, and of all of them if none is without a map."""
    found = {question: cases for question, cases in found.items() if cases}
    shares, leads = [], []
    for question, cases in found.items():
        of = _on_symbol if question == CLEAN else _on_cue
        good = [case for case in cases if not np.isnan(of(case))]
        base = {(case.subject, case.cue, case.box): np.nan_to_num(of(case)) for case in other.get(question, [])}
        same = [case for case in cases if (case.subject, case.cue, case.box) in base]
        shares.append(_sample(good, [of(case) for case in good]))
        leads.append(_sample(same, [np.nan_to_num(of(c)) - base[c.subject, c.cue, c.box] for c in same]))
        hits = [case.hits_symbol if question == CLEAN else case.hits_cue for case in good]
        yield _energy(split, question, row, shares[-1:], leads[-1:], hits, cases)
    if len(found) == len(other):
        cases = [case for one in found.values() for case in one]
        hits = [case.hits_symbol if q == CLEAN else case.hits_cue for q, one in found.items() for case in one]
        yield _energy(split, ALL, row, shares, leads, [hit for hit in hits if not np.isnan(hit)], cases)


def _energy(
    split: str,
    question: str,
    row: Row,
    shares: Sequence[Sample],
    leads: Sequence[Sample],
    hits: Sequence[float],
    cases: Sequence[Case],
) -> Energy:
    share, lead, boxes = mean_of_means(shares), mean_of_means(leads), sum(map(len, shares))
    return Energy(
        split,
        question,
        row,
        energy=share.value,
        low=share.low,
        high=share.high,
        pointing=float(np.mean(hits)) if hits else float("nan"),
        boxes=boxes,
        empty=len(cases) - boxes,
        seconds=float(np.median([case.seconds for case in cases])),
        ahead=lead.value,
        ahead_low=lead.low,
        ahead_high=lead.high,
    )


def _audits(split: str, row: Row, pool: _Pool, known: Sequence[Case]) -> Iterator[Audit]:
    """Of each cue and dose; ``known`` are the clean boxes on tuning pictures."""
    for (cue, dose), planted in pool.planted.items():
        quiet = [case for case in pool.clean if case.cue == cue]
        if not quiet or not known:
            continue
        positive, negative = _lifts(planted), _lifts(quiet)
        threshold = float(np.quantile(_lifts(known), ALARM))
        found = auroc(_sample(planted, positive), _sample(quiet, negative))
        yield Audit(
            split,
            cue,
            dose,
            row,
            auroc=found.value,
            low=found.low,
            high=found.high,
            alarms=float((negative > threshold).mean()),
            detected=float((positive > threshold).mean()),
            planted=len(positive),
            clean=len(negative),
        )


def _levels(row: Row, cases: Sequence[Case]) -> Iterator[Level]:
    for name, cue in dict.fromkeys((case.subject, case.cue) for case in cases):
        mine = [case for case in cases if (case.subject, case.cue) == (name, cue)]
        yield Level(name, cue, row, float(_lifts(mine).mean()))


def _kept(cases: Sequence[Case], count: int) -> Iterator[Case]:
    """The first reporting boxes of each committed detector, by the ways of a short run."""
    names = {one.name for one in committed()}
    seen: dict[tuple[str, str, Row], int] = {}
    for case in cases:
        if case.subject in names and case.split == "reporting" and case.row.short:
            key = (case.subject, case.cue, case.row)
            seen[key] = seen.get(key, 0) + 1
            if seen[key] <= count:
                yield case


def _sample(cases: Sequence[Case], values: Sequence[float] | np.ndarray) -> Sample:
    """Figures of cases; scenes of one seed and number show the same object, whichever cue and detector."""
    return Sample(np.array(values, np.float64), [(subject(case.subject).seed, case.box) for case in cases])


def _on_cue(case: Case) -> float:
    return case.on_cue


def _on_symbol(case: Case) -> float:
    return case.on_symbol


def _lifts(cases: Sequence[Case]) -> np.ndarray:
    """Of each case the evidence on the cue, as a multiple of that of a uniform map; 0 for a map without evidence."""
    return np.nan_to_num(np.array([case.lift for case in cases], np.float64))
