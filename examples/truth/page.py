"""Results as a page for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import Template

from examples.truth import nowhere, second, tables
from examples.truth.cues import FAR
from examples.truth.intervene import RELIES
from examples.truth.measure import BASELINES, DEFAULT, FURTHER_BOXES, FURTHER_SLOW, MASKS, SLOW_BOXES, Row
from examples.truth.nowhere import Comparison
from examples.truth.peers import MASKED_BOXES
from examples.truth.results import ALL, FURTHER_PATH, SECOND_PATH, Results, read, rows_in
from examples.truth.subjects import CLEAN, HERE, HIGH, STEPS, WORN, subject
from examples.truth.verdict import best_row, mean_energy, methods_in, name_of, questions_of, sentences, share_of

TEMPLATE = HERE / "truth.md.in"
PATH = HERE.parents[1] / "docs" / "truth.md"
EXPECTED = Row("hirescam", "backbone.0")
"""What was expected to be best, by figures of other detectors, before any of these was trained."""
KNOWN = (
    DEFAULT,
    EXPECTED,
    *(Row(name, "neck") for name in ("gradcam", "layercam", "eigencam", "patch-search")),
    Row("d-rise"),
)
"""Those that people ask for by name, and our own."""
DOSED = (DEFAULT, Row("gradcam", "neck"), Row("gradcam", "backbone.0"))
"""Ways to make a map that are followed over doses, and the one that is best on the tuning pictures."""


@dataclass(frozen=True)
class Further:
    """Figures that stand by themselves: of the kinds of cue `FURTHER`, and of the one that is at no place."""

    results: Results
    nowhere: Sequence[Comparison]


def read_further() -> Further:
    """Those that are kept."""
    return Further(read(FURTHER_PATH), nowhere.read())


def markdown(results: Results, *, further: Further | None = None, other: Results | None = None) -> str:
    """The page; ``further``, and ``other`` of the second architecture, are those that are kept by default."""
    further = read_further() if further is None else further
    other = read(SECOND_PATH) if other is None else other
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        steps="; ".join(f"{kind} {steps}" for kind, steps in STEPS.items()),
        worn=tables.percent(WORN),
        relies=tables.percent(RELIES),
        masks=str(MASKS),
        masked_boxes=str(MASKED_BOXES),
        high=f"{HIGH:g}",
        slow=str(SLOW_BOXES),
        detectors=_detectors(results),
        counts=_counts(results),
        models=tables.reliances(results),
        energies=tables.energies(results),
        audits=tables.audits(results),
        doses=tables.doses(results, list(dict.fromkeys((*DOSED, best_row(results))))),
        everything=tables.everything(results),
        outcome=_outcome(results),
        far=str(FAR),
        further_boxes=str(FURTHER_BOXES),
        further_slow=str(FURTHER_SLOW),
        nowhere_boxes=str(nowhere.BOXES),
        further_models=tables.reliances(further.results),
        further_energies=tables.energies(further.results),
        further_audits=tables.audits(further.results),
        nowhere=tables.nowhere(further.nowhere),
        second=second.section(results, other),
    )


def _detectors(results: Results) -> str:
    """How many there are."""
    names = [subject(name) for name in dict.fromkeys(one.subject for one in results.reliances)]
    planted = sum(not one.clean for one in names)
    return f"{planted} planted and {len(names) - planted} clean"


def _counts(results: Results) -> str:
    """How many boxes the figures of a question are of, slow methods left aside."""
    parts = []
    for split in ("tuning", "reporting"):
        found = [one for one in results.energies if one.split == split and one.question != ALL and not one.row.slow]
        boxes = [one.boxes + one.empty for one in found]
        span = f"{min(boxes)}" if min(boxes) == max(boxes) else f"{min(boxes)} to {max(boxes)}"
        parts.append(f"{span} boxes for {split}")
    return " and ".join(parts)


def _by_question(results: Results) -> list[str]:
    """What is best at each question on tuning pictures, and how it does on reporting pictures."""
    lines = []
    for question in questions_of(results):
        best = max(methods_in(results), key=lambda row: share_of(results, "tuning", question, row))
        told = [
            f"{name_of(row)} {share_of(results, 'reporting', question, row):.2f}"
            for row in dict.fromkeys((best, DEFAULT, Row("uniform")))
        ]
        asked = "the symbol in clean detectors" if question == CLEAN else f"the cue *{question}*"
        lines.append(f"Best for {asked}, by tuning pictures, then the default, then a uniform map: {'; '.join(told)}.")
    return lines


def _outcome(results: Results) -> str:
    """What the figures say, in sentences, and then for the ways to make a map that matter most."""
    lines = [f"- {sentence}" for sentence in (*sentences(results), *_by_question(results))]
    chosen = best_row(results)
    known = [row for row in KNOWN if row in rows_in(results)]
    for row in dict.fromkeys((chosen, *known, *map(Row, BASELINES))):
        found = [results.energy("reporting", question, row) for question in questions_of(results)]
        shares = "; ".join(f"{one.question} {one.energy:.2f}" for one in found if one is not None)
        which = {EXPECTED: " (expected to be the best)", DEFAULT: " (the default)"}.get(row, "")
        which = " (best on the tuning pictures)" if row == chosen else which
        failures = "" if row.method in BASELINES else tables.failures(results, row)
        fails = f"; **no better than** {failures}" if failures else ""
        lines.append(f"- {name_of(row)}{which}: {mean_energy(results, 'reporting', row):.2f} ({shares}){fails}")
    return "\n".join(lines)
