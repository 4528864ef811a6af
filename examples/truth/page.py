"""Results as a page for people."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

import numpy as np

from examples.truth.intervene import Reliance
from examples.truth.measure import BASELINES, MASKS, SLOW_BOXES, Row
from examples.truth.results import Results, rows_in
from examples.truth.subjects import CLEAN, CLEAN_STEPS, HERE, SPLITS, STEPS, WORN
from examples.truth.summary import auroc
from examples.truth.verdict import best_row, mean_energy, name_of, not_above, questions_of, sentences

TEMPLATE = HERE / "truth.md.in"
PATH = HERE.parents[1] / "docs" / "truth.md"
DEFAULT = Row("hirescam", "neck")
EXPECTED = Row("hirescam", "backbone.0")
"""What was expected to be best, by figures of other detectors, before any of these was trained."""
KNOWN = (
    DEFAULT,
    EXPECTED,
    *(Row(name, "neck") for name in ("gradcam", "layercam", "eigencam", "patch-search")),
    Row("d-rise"),
)
"""Those that people ask for by name, and our own."""
_SHORT = {"uniform": "uniform", "the box itself": "box", "edge detector": "edges"}


def markdown(results: Results) -> str:
    """The page."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        steps=str(STEPS),
        clean_steps=str(CLEAN_STEPS),
        worn=_percent(WORN),
        masks=str(MASKS),
        slow=str(SLOW_BOXES["reporting"]),
        models=_models(results),
        counts=_counts(results),
        energies=_energies(results),
        audits=_audits(results),
        outcome=_outcome(results),
    )


def _models(results: Results) -> str:
    head = (
        "detector", "cue", "crosses", "right without cue", "score lost without cue", "no longer cross without cue",
        "tees turned by cue", "no longer cross, cue elsewhere", "score lost with the other symbol", "relies on cue",
    )  # fmt: skip
    return _table(head, [_model(one) for one in results.reliances], 2)


def _model(one: Reliance) -> list[str]:
    shares = (one.right, one.lost, one.flipped, one.taken, one.moved, one.symbol)
    return [one.subject, one.cue, str(one.objects), *map(_percent, shares), "yes" if one.relies else "no"]


def _counts(results: Results) -> str:
    """How many boxes the figures are of, slow methods left aside."""
    parts = []
    for split in SPLITS:
        boxes = [one.boxes + one.empty for one in results.energies if one.split == split and not one.row.slow]
        span = f"{min(boxes)}" if min(boxes) == max(boxes) else f"{min(boxes)} to {max(boxes)}"
        parts.append(f"{span} boxes for {split}")
    return " and ".join(parts)


def _energies(results: Results) -> str:
    questions = questions_of(results)
    rows = sorted(rows_in(results), key=lambda row: -mean_energy(results, "tuning", row))
    lines = []
    for row in rows:
        found = [results.energy("reporting", question, row) for question in questions]
        cells = ["–" if one is None or not one.boxes else f"{one.energy:.2f} / {one.pointing:.2f}" for one in found]
        means = [f"{mean_energy(results, split, row):.2f}" for split in SPLITS]
        empty = str(sum(one.empty for one in found if one is not None))
        lines.append([name_of(row), *means, *cells, empty, "" if row.method in BASELINES else _failures(results, row)])
    heads = ["clean: symbol" if question == CLEAN else f"{question}: cue" for question in questions]
    return _table(["method, layer", "mean, tuning", "mean, reporting", *heads, "empty maps", "not above"], lines, 1)


def _audits(results: Results) -> str:
    audited = {one.cue for one in results.audits}
    cues = [cue for cue in questions_of(results) if cue in audited]

    def mean(row: Row, split: str, of: str) -> float:
        found = [results.audit(split, cue, row) for cue in cues if cue in questions_of(results, split)]
        return float(np.mean([float("nan") if one is None else getattr(one, of) for one in found]))

    rows = [row for row in rows_in(results) if not np.isnan(mean(row, "reporting", "auroc"))]
    lines = []
    for row in sorted(rows, key=lambda row: -mean(row, "tuning", "auroc")):
        found = [results.audit("reporting", cue, row) for cue in cues]
        each = ["–" if one is None else f"{one.auroc:.2f}" for one in found]
        means = [f"{mean(row, split, 'auroc'):.2f}" for split in SPLITS]
        alarms = [_percent(mean(row, "reporting", of)) for of in ("alarms", "detected")]
        energy = results.energy("reporting", CLEAN, row)
        cost = "" if energy is None or row.method in BASELINES else f"{1000 * energy.seconds:.0f} ms"
        audits = [one for one in found if one is not None]
        models = auroc(*(np.array([getattr(one, of) for one in audits]) for of in ("mean_planted", "mean_clean")))
        lines.append([name_of(row), *means, *each, f"{models:.2f}", *alarms, cost])
    head = ["method, layer", "mean, tuning", "mean, reporting", *cues, "models", "false alarms", "detected", "a box"]
    return _table(head, lines, 1)


def _failures(results: Results, row: Row) -> str:
    found = not_above(results, row)
    return "; ".join(f"{question}: {', '.join(_SHORT[name] for name in names)}" for question, names in found.items())


def _outcome(results: Results) -> str:
    """What the figures say, in sentences, and then for the ways to make a map that matter most."""
    lines = [f"- {sentence}" for sentence in sentences(results)]
    chosen = best_row(results)
    known = [row for row in KNOWN if row in rows_in(results)]
    for row in dict.fromkeys((chosen, *known, *map(Row, BASELINES))):
        found = [results.energy("reporting", question, row) for question in questions_of(results)]
        shares = "; ".join(f"{one.question} {one.energy:.2f}" for one in found if one is not None)
        which = {EXPECTED: " (expected to be the best)", DEFAULT: " (the default)"}.get(row, "")
        which = " (best on the tuning pictures)" if row == chosen else which
        failures = "" if row.method in BASELINES else _failures(results, row)
        fails = f"; **no better than** {failures}" if failures else ""
        lines.append(f"- {name_of(row)}{which}: {mean_energy(results, 'reporting', row):.2f} ({shares}){fails}")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "–" if share is None or np.isnan(share) else f"{100 * share:.0f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A table whose first ``left`` columns are aligned to the left."""
    rule = ["---" if number < left else "--:" for number in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
