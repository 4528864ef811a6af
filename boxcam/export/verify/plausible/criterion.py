"""A criterion: one question of whether a model was read right, with the thresholds of its answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from boxcam.bundle import Finding, Verdict
from boxcam.export.verify.plausible.reading import Reading


@dataclass(frozen=True)
class Answer:
    """What a criterion says of a reading.

    Attributes:
        verdict: ``implausible`` is refused, ``doubtful`` is warned of.
        seen: what was seen, and why it is believed or not: one sentence without its end.
        advice: the options that settle it, a sentence; empty where nothing has to be settled.
        figures: what was measured, by name.
    """

    verdict: Verdict
    seen: str
    advice: str = ""
    figures: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Criterion:
    """A criterion.

    Attributes:
        name: what ``accept=`` takes.
        asks: what it asks, for people.
        limits: its thresholds by name, set on trained and on random models (tests/export/verify/plausible).
        answer: what it says of a reading, None where it has no meaning, as of the boxes of a classifier.
    """

    name: str
    asks: str
    limits: Mapping[str, float]
    answer: Callable[[Reading], Answer | None]

    def judge(self, reading: Reading, accept: tuple[str, ...] = ()) -> Finding | None:
        """Its finding: the sentence names the file, what was seen, and what settles it."""
        answer = self.answer(reading)
        if answer is None:
            return None
        measured = {name: value for name, value in (answer.figures or {}).items() if math.isfinite(value)}
        figures = {name: float(f"{value:.3g}") for name, value in measured.items()}
        against = answer.verdict in ("implausible", "doubtful")
        accepted = against and self.name in accept
        way = f' If it is right as it is, pass accept="{self.name}".' if against and not accepted else ""
        advice = f" {answer.advice}" if answer.advice and not accepted else ""
        subject = f"{reading.file}: " if against else ""
        return Finding(self.name, answer.verdict, figures, f"{subject}{answer.seen}.{advice}{way}", accepted)
