"""From cases to means and audits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from examples.truth.intervene import Reliance
from examples.truth.measure import Case, Row
from examples.truth.results import Audit, Energy, Results
from examples.truth.subjects import CLEAN, SPLITS, subject

ALARM = 0.95
"""Share of the clean boxes on tuning pictures that a threshold for alarms lets pass."""


def summarise(reliances: Sequence[Reliance], cases: Sequence[Case]) -> Results:
    """Means over the boxes of clean detectors and of those that rely on their cue."""
    rely = {(one.subject, one.cue) for one in reliances if one.relies}
    planted = [case for case in cases if not subject(case.subject).clean and (case.subject, case.cue) in rely]
    clean = [case for case in cases if subject(case.subject).clean]
    rows = list(dict.fromkeys(case.row for case in cases))
    cues = [cue for cue in dict.fromkeys(case.cue for case in planted) if cue != "blur"]
    energies, audits = [], []
    for split in SPLITS:
        for row in rows:
            energies += _energy(split, CLEAN, row, _of(clean, split, row), lambda case: case.on_symbol)
            for cue in cues:
                mine = _of(planted, split, row, cue)
                energies += _energy(split, cue, row, mine, lambda case: case.on_cue)
                audits += _audit(split, cue, row, mine, clean)
    return Results(tuple(reliances), tuple(energies), tuple(audits))


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Share of the pairs of which the positive one is higher, equal ones by half.

    >>> import numpy as np
    >>> auroc(np.array([2.0, 1.0]), np.array([1.0, 0.0]))
    0.875
    """
    difference = positive[:, None] - negative[None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def _of(cases: Iterable[Case], split: str, row: Row, cue: str | None = None) -> list[Case]:
    return [case for case in cases if case.row == row and case.split == split and (cue is None or case.cue == cue)]


def _energy(split: str, question: str, row: Row, cases: list[Case], of: Callable[[Case], float]) -> list[Energy]:
    if not cases:
        return []
    symbol = question == CLEAN
    good = [case for case in cases if not np.isnan(of(case))]
    values = [of(case) for case in good]
    hits = [case.hits_symbol if symbol else case.hits_cue for case in good]
    means = (float(np.mean(values)), float(np.mean(hits))) if good else (float("nan"), float("nan"))
    seconds = float(np.median([case.seconds for case in cases]))
    return [Energy(split, question, row, *means, len(good), len(cases) - len(good), seconds)]


def _audit(split: str, cue: str, row: Row, planted: list[Case], clean: Sequence[Case]) -> list[Audit]:
    quiet, tuning = _of(clean, split, row, cue), _of(clean, "tuning", row)
    if not planted or not quiet or not tuning:
        return []
    positive, negative, known = (_lifts(cases) for cases in (planted, quiet, tuning))
    threshold = float(np.quantile(known, ALARM))
    return [
        Audit(
            split,
            cue,
            row,
            auroc=auroc(positive, negative),
            alarms=float((negative > threshold).mean()),
            detected=float((positive > threshold).mean()),
            planted=len(positive),
            clean=len(negative),
            mean_planted=float(positive.mean()),
            mean_clean=float(negative.mean()),
        )
    ]


def _lifts(cases: Iterable[Case]) -> np.ndarray:
    """Of each case the evidence on the cue, as a multiple of that of a uniform map; 0 for a map without evidence."""
    return np.nan_to_num(np.array([case.lift for case in cases], np.float64))
