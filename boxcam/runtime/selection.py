"""What a model's selection makes of class logits: the boxes of all its candidates, and which of them it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Candidates, Manifest
from boxcam.errors import BundleError, EngineError, RunError
from boxcam.runtime.outputs import read_origin, rows_of
from boxcam.runtime.planting import Planting, all_low, every_place, numbers_of, planted
from boxcam.runtime.sessions import Device, Session
from boxcam.runtime.tensors import Tensors
from boxcam.types import Float, Int

ASKED = "boxcam.asked"
"""Input of the opened selection, int64 [1]: how many candidates are asked for."""
Logits = Mapping[str, npt.NDArray[np.float32]]
Place = tuple[int, ...]
"""Which class logit: the number of its tensor among the target's ``ends``, then the position in it."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What a selection reports.

    Attributes:
        boxes: float32 [N, 4], x1 y1 x2 y2 on the canvas.
        scores: float32 [N].
        origin: int64 [N, D], which class logit each is of.
    """

    boxes: Float
    scores: Float
    origin: Int

    @property
    def places(self) -> set[Place]:
        """Which class logits were reported."""
        return {tuple(row) for row in self.origin.tolist()}


class Selection:
    """The selection of a bundle's model as graphs of its own.

    Args:
        path: the bundle.
        manifest: of it.
        device: what runs the graphs.

    Raises:
        EngineError: the bundle has none.
    """

    def __init__(self, path: Path, manifest: Manifest, device: Device) -> None:
        if manifest.candidates is None:
            why = manifest.without_candidates
            because = f": {why}" if why else ", or was exported by an earlier boxcam"
            mend = "Explain what it reports." if why else "Export the model again, or explain what it reports."
            raise EngineError(f"bundle {path} does not tell of boxes that the model did not report{because}. {mend}")
        self.told: Candidates = manifest.candidates
        self._manifest, self._path, self._device = manifest, path, device
        self._ends = manifest.target("logit").ends
        self._sessions: dict[str, Session] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that a forward pass has to give."""
        target = self._manifest.target("logit")
        ends = (end.name for end in self._ends)
        return tuple(dict.fromkeys((target.origin, target.value, *ends, *self.told.context, *self.told.proposals)))

    def plantings(self, outputs: Tensors) -> list[Planting]:
        """The tensors of class logits of a forward pass."""
        count = self.told.classes
        for end in self._ends:
            shape = outputs.shape(end.name)
            if len(shape) != len(end.shape) or any(b not in (None, a) for a, b in zip(shape, end.shape, strict=True)):
                raise RunError(
                    f"{self._path}: {end.name} is {list(shape)}, and the manifest says {list(end.shape)}. Export the"
                    " model again."
                )
        return [
            Planting(np.asarray(outputs[end.name], np.float32), rows, count, end.activation)
            for end, rows in zip(self._ends, self.told.rows, strict=True)
        ]

    def every(self, outputs: Tensors, plantings: Sequence[Planting], label: int) -> Rows:
        """All candidates of a class, which no better one suppresses here, with the scores that planted logits give.

        Some have no row, such as boxes without an area, which the model drops.
        """
        places = every_place(plantings, label)
        return self.opened(outputs, plantings, places)

    def opened(self, outputs: Tensors, plantings: Sequence[Planting], places: Int) -> Rows:
        """The candidates of some class logits, int64 [N, D], with the scores that planted logits give."""
        if not len(places):  # as of a two-stage model without proposals
            none = np.zeros((0, places.shape[1]), np.int64)
            return Rows(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), none)
        found, numbers = [], sum(one.values.size for one in plantings)
        for start in range(0, len(places), self.told.at_once):
            some = places[start : start + self.told.at_once]
            logits = planted(self._logits, plantings, some)
            rows = self._run(self.told.opened, outputs, {**logits, ASKED: np.array([len(some)], np.int64)})
            wanted = np.zeros(numbers + 1, bool)  # the last one is for what is no class logit, whose number is -1
            wanted[numbers_of(plantings, some)] = True
            mine = wanted[numbers_of(plantings, rows.origin)]
            found.append(Rows(rows.boxes[mine], rows.scores[mine], rows.origin[mine]))
        parts = [np.concatenate([getattr(one, name) for one in found]) for name in ("boxes", "scores", "origin")]
        return Rows(*parts)

    def reported(self, outputs: Tensors, logits: Logits) -> Rows:
        """What the model would report with other class logits."""
        return self._run(self.told.selection, outputs, logits)

    def low(self, plantings: Sequence[Planting]) -> dict[str, npt.NDArray[np.float32]]:
        """Class logits that let nothing be reported, to be changed."""
        return all_low(self._logits, plantings)

    def name(self, place: Place) -> str:
        """The tensor that a class logit is in."""
        return self._ends[place[0]].name

    def _session(self, file: str) -> Session:
        if file not in self._sessions:
            session = Session(self._path / file, self._device)
            known = {*self._logits, *self.told.context, ASKED}
            if not set(session.inputs) <= known or (ASKED in session.inputs) != (file == self.told.opened):
                raise BundleError(
                    f"{session.file} is not the graph of a selection that the manifest lists. Export the model again."
                )
            self._sessions[file] = session
        return self._sessions[file]

    @property
    def _logits(self) -> list[str]:
        return [end.name for end in self._ends]

    def _run(self, file: str, outputs: Tensors, given: Mapping[str, npt.NDArray[np.generic]]) -> Rows:
        session = self._session(file)
        feeds = {name: given[name] if name in given else outputs.ort(name) for name in session.inputs}
        names = list(session.outputs)
        found = session.run(Tensors(feeds), names)
        manifest, where = self._manifest, session.file
        boxes, scores, labels = rows_of(manifest.outputs, found, where)
        origin = read_origin(manifest.target("logit"), found, len(labels), where)
        real = origin[:, 0] >= 0
        if not np.isfinite(boxes[real]).all():
            raise RunError(f"{where} gives boxes that are NaN or infinite on this image. Check the model on it.")
        return Rows(boxes[real].astype(np.float32), scores[real].astype(np.float32), origin[real])
