"""The benchmark in short: the committed detectors, a few boxes, quick ways at two layers, held against what was kept.

python -m examples.truth.run --reduced
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import boxcam
from examples.truth.bundles import export
from examples.truth.measure import SHORT, Case, Row, measure, rows_of
from examples.truth.subjects import committed, subject
from examples.truth.verdict import name_of

TOLERANCE = 0.02
"""How far a share of the evidence may be off what was kept, on another machine."""

Key = tuple[str, str, Row, int]


def measure_again(kept: Sequence[Case]) -> tuple[list[Case], list[Row]]:
    """The kept boxes of the committed detectors; and the quick ways to make a map that no box of their kind is of."""
    found: list[Case] = []
    new: dict[Row, None] = {}
    with tempfile.TemporaryDirectory() as folder:
        for one in committed():
            cues = dict.fromkeys(case.cue for case in kept if case.subject == one.name)
            if not cues:
                continue
            model = boxcam.load(export(one, Path(folder) / f"{one.name}.boxcam", SHORT), threads=1)
            ways = {case.row for case in kept if subject(case.subject).architecture == one.architecture}
            rows = [row for row in rows_of(model) if row.short]
            new.update(dict.fromkeys(row for row in rows if row not in ways))
            rows = [row for row in rows if row in ways]
            for cue in cues:
                boxes = {case.box for case in kept if (case.subject, case.cue) == (one.name, cue)}
                made = measure(model, one, cue, rows, "reporting", max(boxes) + 1)
                found += [case for case in made if case.box in boxes]
    return found, list(new)


def differences(kept: Iterable[Case], found: Iterable[Case]) -> list[str]:
    """What is not as it was kept, a line each."""
    before, after = ({_key(case): case for case in cases} for cases in (kept, found))
    lines = [f"{_words(key)}: not measured any more" for key in before if key not in after]
    lines += [f"{_words(key)}: not measured before" for key in after if key not in before]
    for key in before.keys() & after.keys():
        for name in ("on_cue", "on_symbol", "area_cue", "area_symbol"):
            was, now = getattr(before[key], name), getattr(after[key], name)
            if math.isnan(was) != math.isnan(now) or abs(was - now) > TOLERANCE:
                lines.append(f"{_words(key)}: {name} was {was:.3f} and is {now:.3f}")
    return sorted(lines)


def box_of(case: Case) -> tuple[str, str, int]:
    """Which box a case is of."""
    return case.subject, case.cue, case.box


def _key(case: Case) -> Key:
    return case.subject, case.cue, case.row, case.box


def _words(key: Key) -> str:
    name, cue, row, box = key
    return f"{name}, {cue}, box {box}, {name_of(row)}"
