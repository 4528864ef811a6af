"""What is kept of a run, ``results.json``, ``further.json`` and ``second.json``: interventions, means over boxes,
audits and some boxes, without the maps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from examples.truth.intervene import Reliance
from examples.truth.measure import Case, Row
from examples.truth.subjects import HERE

PATH = HERE / "results.json"
FURTHER_PATH = HERE / "further.json"
"""Those of the kinds of cue `examples.truth.subjects.FURTHER`."""
SECOND_PATH = HERE / "second.json"
"""Those of the second architecture."""


ALL = "all"
"""Instead of a question: the mean over all of them, each counting alike."""


@dataclass(frozen=True)
class Energy:
    """Means over the boxes of one question: where is the true evidence?

    Attributes:
        split: ``tuning`` or ``reporting``.
        question: ``clean``, where the true evidence is the symbol; a kind of cue, where it is the cue; or `ALL`.
        row: the way to make a map.
        energy, low, high: share of the evidence that is truly evidence, and its interval.
        pointing: share of the maps that are highest there.
        boxes: how many have a map with evidence; the means are over these.
        empty: how many do not, or are refused by the method.
        seconds: to detect and to explain one box, the median.
        ahead, ahead_low, ahead_high: how much more it is than the default's on the same boxes, empty maps counting as
            0, and its interval.
    """

    split: str
    question: str
    row: Row
    energy: float
    low: float
    high: float
    pointing: float
    boxes: int
    empty: int
    seconds: float
    ahead: float
    ahead_low: float
    ahead_high: float


@dataclass(frozen=True)
class Audit:
    """Whether maps tell detectors with a kind of cue from clean ones.

    Attributes:
        split, cue, row: of which.
        dose: of the detectors with the cue. Those of the highest dose rely on it; of those of lower ones, all are here.
        auroc, low, high: over boxes, by the share of the evidence on the cue, and its interval.
        alarms: share of the clean boxes with more of it than 95 % of those on tuning pictures.
        detected: share of the planted boxes with more than that.
        planted, clean: how many boxes of each.
    """

    split: str
    cue: str
    dose: float
    row: Row
    auroc: float
    low: float
    high: float
    alarms: float
    detected: float
    planted: int
    clean: int


@dataclass(frozen=True)
class Level:
    """How much of the evidence of a detector's maps is on a cue, on reporting pictures.

    Attributes:
        subject, cue, row: of which; ``cue`` is in the pictures, and a clean detector does not rely on it.
        lift: the mean over boxes, as a multiple of that of a uniform map.
    """

    subject: str
    cue: str
    row: Row
    lift: float


@dataclass(frozen=True)
class Results:
    """All of a run.

    Attributes:
        reliances, energies, audits, levels: what was found.
        cases: single boxes of the committed detectors, which a short run measures again.
    """

    reliances: tuple[Reliance, ...]
    energies: tuple[Energy, ...]
    audits: tuple[Audit, ...]
    levels: tuple[Level, ...] = ()
    cases: tuple[Case, ...] = ()

    def energy(self, split: str, question: str, row: Row) -> Energy | None:
        """The one that is asked for; None if it was not measured."""
        for one in self.energies:
            if (one.split, one.question, one.row) == (split, question, row):
                return one
        return None

    def audit(self, split: str, cue: str, row: Row, dose: float | None = None) -> Audit | None:
        """The one that is asked for, by default of the highest dose; None if it was not measured."""
        found = [one for one in self.audits if (one.split, one.cue, one.row) == (split, cue, row)]
        found = [one for one in found if dose is None or one.dose == dose]
        return max(found, key=lambda one: one.dose, default=None)

    def write(self, path: Path = PATH) -> None:
        """As JSON, one entry a line, rounded to four digits."""
        parts = []
        for name in (field.name for field in fields(self)):
            lines = ",\n".join("  " + json.dumps(_rounded(asdict(one))) for one in getattr(self, name))
            parts.append(f' "{name}": [\n{lines}\n ]')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def read(path: Path = PATH) -> Results:
    """What `Results.write` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Results(
        tuple(Reliance(**{k: _number(v) if k != "moved" else v for k, v in one.items()}) for one in data["reliances"]),
        tuple(Energy(**_with_row(one)) for one in data["energies"]),
        tuple(Audit(**_with_row(one)) for one in data["audits"]),
        tuple(Level(**_with_row(one)) for one in data["levels"]),
        tuple(Case(**_with_row(one)) for one in data["cases"]),
    )


def rows_in(results: Results) -> Sequence[Row]:
    """The ways to make maps, in their order."""
    return list(dict.fromkeys(one.row for one in results.energies))


def _with_row(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: Row(**value) if name == "row" else _number(value) for name, value in entry.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value


def _number(value: Any) -> Any:
    return float("nan") if value is None else value
