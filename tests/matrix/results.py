"""What the matrix measured: one JSON line for each case, in the folder that BOXCAM_MATRIX names."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Key = tuple[str, str, str, str, str, str]
"""Of a case: family, kind, layer, target, engine, rules."""


@dataclass(frozen=True)
class Result:
    """One passed case.

    Attributes:
        family: its name in the registry.
        kind: of what.
        layer, target, engine, rules, form, reason: of a gradient.
        count: how many boxes were compared.
        tensors: how many of the layer's tensors these boxes depend on.
        error: the largest difference: of a gradient relative to its largest value, of boxes in canvas pixels.
        differences: whether a gradient was compared with finite differences, and not with a framework's autograd.
        limit: the largest that passes.
        noise, level, flipped: see `tests.matrix.measure.Agreement`.
        scores: the largest difference of scores, of detections.
    """

    family: str
    kind: Literal["detections", "gradients"]
    layer: str = ""
    target: str = ""
    engine: str = ""
    form: str = ""
    reason: str = ""
    count: int = 0
    tensors: int = 0
    error: float = 0.0
    limit: float = 0.0
    noise: float | None = None
    level: float | None = None
    flipped: int = 0
    scores: float | None = None
    differences: bool = False
    rules: str = "plain"

    @property
    def key(self) -> Key:
        return self.family, self.kind, self.layer, self.target, self.engine, self.rules

    def line(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)


def record(result: Result) -> None:
    """Append a result to the run's, if it is kept."""
    if folder := os.environ.get("BOXCAM_MATRIX"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with (Path(folder) / "results.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(result.line() + "\n")


def read(file: Path) -> list[Result]:
    """The results in a file, none if there is no file; of a case that ran twice the last one."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    found = [Result(**json.loads(line)) for line in lines]
    return list({result.key: result for result in found}.values())
