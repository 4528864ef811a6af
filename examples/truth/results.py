"""What is kept of a run, ``results.json``: interventions, means over boxes, and audits, without the maps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from examples.truth.intervene import Reliance
from examples.truth.measure import Row
from examples.truth.subjects import HERE

PATH = HERE / "results.json"


@dataclass(frozen=True)
class Energy:
    """Means over the boxes of one question: where is the true evidence?

    Attributes:
        split: ``tuning`` or ``reporting``.
        question: ``clean``, where the true evidence is the symbol; or a kind of cue, where it is the cue.
        row: the way to make a map.
        energy: share of the evidence that is truly evidence.
        pointing: share of the maps that are highest there.
        boxes: how many have a map with evidence; the means are over these.
        empty: how many do not.
        seconds: to detect and to explain one box, the median.
    """

    split: str
    question: str
    row: Row
    energy: float
    pointing: float
    boxes: int
    empty: int
    seconds: float


@dataclass(frozen=True)
class Audit:
    """Whether maps tell a detector that relies on a kind of cue from a clean one.

    Attributes:
        split, cue, row: of which.
        auroc: over boxes, by the share of the evidence on the cue.
        alarms: share of the clean boxes with more of it than 95 % of those on tuning pictures.
        detected: share of the planted boxes with more than that.
        planted, clean: how many boxes of each.
        mean_planted, mean_clean: evidence on the cue, as a multiple of that of a uniform map.
    """

    split: str
    cue: str
    row: Row
    auroc: float
    alarms: float
    detected: float
    planted: int
    clean: int
    mean_planted: float
    mean_clean: float


@dataclass(frozen=True)
class Results:
    """All of a run."""

    reliances: tuple[Reliance, ...]
    energies: tuple[Energy, ...]
    audits: tuple[Audit, ...]

    def energy(self, split: str, question: str, row: Row) -> Energy | None:
        """The one that is asked for; None if it was not measured."""
        for one in self.energies:
            if (one.split, one.question, one.row) == (split, question, row):
                return one
        return None

    def audit(self, split: str, cue: str, row: Row) -> Audit | None:
        """The one that is asked for; None if it was not measured."""
        for one in self.audits:
            if (one.split, one.cue, one.row) == (split, cue, row):
                return one
        return None

    def write(self, path: Path = PATH) -> None:
        """As JSON, one entry a line, rounded to four digits."""
        parts = []
        for name in ("reliances", "energies", "audits"):
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
