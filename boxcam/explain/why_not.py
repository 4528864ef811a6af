"""Why a model did not report a box at a place: asked of its own selection.

The selection is a graph of its own in the bundle, so it can be asked: would this candidate be reported if it were the
only one? If its logit were another? If only this other box were there? What is said is what the model's own operators
answer, and not what a copy of them would.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.errors import ArgumentError, RunError
from boxcam.explain.candidate import Candidate
from boxcam.explain.finding import NEAR, Finding, Near
from boxcam.explain.metrics.overlap import iou
from boxcam.runtime.planting import factors_of
from boxcam.runtime.selection import Place
from boxcam.types import Detections, Float, Int

_STEPS = 18
"""Halvings in the search for the lowest logit that is reported."""
_LOWEST, _HIGHEST = -30.0, 30.0
"""Logits between which it is looked for."""
_WHOLE = 0.999
"""A factor from which on it keeps no score below a threshold."""
_TRIED = 40
"""Boxes that may have suppressed a candidate which are asked about, those that overlap it most first."""


class WhyNot:
    """Tells why candidates of one image were not reported.

    Args:
        finding: the candidates of the image.
        place: float32 [4], x1 y1 x2 y2 in image pixels: where a box is missed.
        least: boxes that are reported with a lower score count as missed.
    """

    def __init__(self, finding: Finding, place: Float, least: float = 0.0) -> None:
        self._finding, self._place, self._least = finding, place, least
        self._found: Detections = finding.found
        self._low: dict[str, npt.NDArray[np.float32]] | None = None
        self._names = finding.model.manifest.labels

    def tell(self, label: int) -> Candidate:
        """The best candidate of a class at the place, and why it was not reported.

        Raises:
            ArgumentError: the model never reports the class.
            RunError: it has no candidates in this image.
        """
        if (seen := self._reported(label)) is not None:
            return self._is_reported(label, seen)
        near = self._finding.near(label, self._place)
        if (best := near.best) is None:
            return self._nothing(near, label)
        return self._not_reported(near, best)

    def _reported(self, label: int) -> int | None:
        """The best box of the class that was reported there."""
        shares = iou(self._found.boxes, self._place)
        there = np.flatnonzero((self._found.labels == label) & (shares >= NEAR))
        return int(there[0]) if len(there) else None

    def _is_reported(self, label: int, seen: int) -> Candidate:
        share = float(iou(self._found.boxes[seen : seen + 1], self._place)[0])
        box, score = self._found.boxes[seen], float(self._found.scores[seen])
        x1, y1, x2, y2 = (float(side) for side in box)
        reason: Any = "reported"
        why, figures = f"It was reported, as {self._number(seen)}, with a score of {score:.2f}.", {"by": seen + 1.0}
        if score < self._least:
            reason, why, figures = self._below_asked(label, score, float(self._found.logits[seen]))
            if reason == "class":
                why += f" The model reported that, too, as {self._number(seen)}: below the {self._least:g} asked for."
        return Candidate(
            name=self._name(label),
            label=label,
            box=(x1, y1, x2, y2),
            iou=share,
            score=score,
            logit=float(self._found.logits[seen]),
            reason=reason,
            why=why,
            figures={**figures, "by_iou": share},
            origin=self._found.origin[seen],
        )

    def _other_there(self, label: int) -> int | None:
        """The best box of another class that was reported at the place, with a score that counts."""
        shares = iou(self._found.boxes, self._place)
        there = (self._found.labels != label) & (shares >= NEAR) & (self._found.scores >= self._least)
        return int(np.flatnonzero(there)[0]) if there.any() else None

    def _below_asked(self, label: int, score: float, logit: float) -> tuple[Any, str, dict[str, float]]:
        """Why a box counts as missed whose score is too low: there is one of another class, or just that."""
        own = self._name(label)
        if (other := self._other_there(label)) is not None:
            theirs, name = float(self._found.scores[other]), self._found.names[other]
            other_logit = float(self._found.logits[other])
            why = (
                f"Another class won: {self._number(other)} lies there, {name!r} with a logit of {other_logit:.2f}"
                f" (score {theirs:.2f}), and {own!r} has one of {logit:.2f} (score {score:.2f})."
            )
            figures = {"other": float(self._found.labels[other]), "other_score": theirs, "by": other + 1.0}
            return "class", why, {**figures, "other_logit": other_logit}
        why = f"It was reported, with a score of {score:.2f}, which is below the {self._least:g} asked for."
        return "threshold", why, {"threshold": self._least}

    def _nothing(self, near: Near, label: int) -> Candidate:
        k, name = near.nearest, self._name(label)
        if k is None and label not in self._finding.selection.told.silent:
            raise RunError(
                "the model has no candidate of any class in this image: none of its proposals went on. Choose another"
                " image."
            )
        if k is None:
            raise ArgumentError(
                f"the model never reports the class {name!r}, as if it were its background. Choose another class."
            )
        figures: dict[str, float] = {}
        reason: Any = "nothing"
        nearest = f"the nearest candidate overlaps the place by an IoU of {near.iou[k]:.2f}"
        why = f"Nothing was proposed there: {nearest}, with a logit of {near.logits[k]:.2f} for {name!r}."
        if (earlier := self._earlier) is not None and earlier >= NEAR:
            figures["proposal_iou"] = earlier
            reason = "proposal"
            why = (
                "Its proposal was dropped in the first stage: of the boxes decoded there, which are many, the best"
                f" overlaps the place by an IoU of {earlier:.2f}, and of the proposals that went on {nearest}."
            )
        return self._candidate(near, k, reason, why, figures)

    @cached_property
    def _earlier(self) -> float | None:
        """The largest IoU of the place with a box that an earlier stage decoded; None without such a stage."""
        outputs, transform = self._finding.prediction.outputs, self._finding.prediction.transform
        best = None
        for name in self._finding.selection.told.proposals:
            if outputs.shape(name)[-1:] != (4,) or outputs[name].dtype.kind != "f":
                raise RunError(f"{name} {list(outputs.shape(name))} are not boxes. Export the model again.")
            boxes = np.asarray(outputs[name], np.float32).reshape(-1, 4)
            if len(boxes):
                best = max(best or 0.0, float(iou(transform.boxes_to_image(boxes), self._place).max()))
        return best

    def _not_reported(self, near: Near, k: int) -> Candidate:
        place: Place = tuple(near.origin[k].tolist())
        alone = self._is_reported_with([place], whole=[place])
        if not alone:
            return self._below(near, k, place)
        if (won := self._won(near, place)) is not None:
            return won
        if (by := self._suppressed_by(near, k, place)) is not None:
            return by
        return self._by_rank(near, k)

    def _below(self, near: Near, k: int, place: Place) -> Candidate:
        """A candidate that is not reported even if there is no other: another class won, or its score is too low."""
        needed = self._needed(place)
        if self._other_there(near.label) is not None:
            reason, why, figures = self._below_asked(near.label, float(near.scores[k]), float(near.logits[k]))
            also, more = self._also(near, k, needed)
            return self._candidate(near, k, reason, why + also, {**figures, **more})
        row = self._finding.row(place)
        shares = self._finding.of_row(place)
        order = np.argsort(-shares, kind="stable")
        for other in order[:3].tolist():
            if other == near.label or shares[other] <= shares[near.label]:
                break
            rival: Place = tuple(row[other].tolist())
            if self._is_reported_with([rival], whole=[rival]):
                return self._another(near, k, other, needed)
        factor = float(factors_of(near.planted[k : k + 1], self._finding.selection.told.form)[0])
        if needed is None and factor < _WHOLE:
            why = (
                f"Its score is below what the model reports: {near.scores[k]:.3g}. The factor that all of its classes"
                f" share, such as objectness, is {factor:.3g}, so that no logit of {self._name(near.label)!r} would do."
            )
            return self._candidate(near, k, "threshold", why, {"factor": factor})
        if needed is None:
            why = "The model drops this candidate whatever its score, as it does boxes without an area."
            return self._candidate(near, k, "dropped", why, {})
        logit, score = needed
        why = (
            f"Its score is below what the model reports: {near.scores[k]:.3g}, and {score:.3g} would be reported (a"
            f" logit of {near.logits[k]:.2f}, and {logit:.2f} is needed)."
        )
        return self._candidate(near, k, "threshold", why, {"threshold": score, "threshold_logit": logit})

    def _won(self, near: Near, place: Place) -> Candidate | None:
        """That another class won, if the candidate is reported without its other classes, and not with them."""
        row, shares = self._finding.row(place), self._finding.of_row(place)
        every: list[Place] = [tuple(of) for of in row.tolist()]
        if self._is_reported_with(every, whole=[place]):
            return None
        other = int(shares.argmax())
        if other == near.label:
            return None
        k = int(np.flatnonzero((near.origin == np.array(place)).all(axis=1))[0])
        return self._another(near, k, other)

    def _another(self, near: Near, k: int, other: int, needed: tuple[float, float] | None = None) -> Candidate:
        """Another class of the same candidate won; ``needed``: the logit and score that its own class lacks, too."""
        place: Place = tuple(near.origin[k].tolist())
        logit = float(self._finding.logits(self._finding.row(place)[other][None])[0])
        score = float(self._finding.scores_of_row(near, k)[other])
        name, own = self._name(other), self._name(near.label)
        why = (
            f"Another class won: the candidate there (IoU {near.iou[k]:.2f}) has a logit of {logit:.2f} for {name!r}"
            f" (score {score:.2f}), and of {near.logits[k]:.2f} for {own!r} (score {near.scores[k]:.2f})."
        )
        also, more = self._also(near, k, needed)
        figures = {"other": float(other), "other_logit": logit, "other_score": score, **more}
        return self._candidate(near, k, "class", why + also, figures)

    def _also(self, near: Near, k: int, needed: tuple[float, float] | None) -> tuple[str, dict[str, float]]:
        """That the score is too low whatever won, and by how much.

        Args:
            near, k: the candidate.
            needed: the logit and the score with which it would be reported; None if it would anyway.
        """
        if needed is None:
            return "", {}
        logit, score = needed
        said = (
            f" That is also below what the model reports: {near.scores[k]:.3g}, and {score:.3g} would be reported (a"
            f" logit of {logit:.2f})."
        )
        return said, {"threshold": score, "threshold_logit": logit}

    def _suppressed_by(self, near: Near, k: int, place: Place) -> Candidate | None:
        """That a better box suppresses the candidate: with this one alone beside it, it is not reported."""
        box = near.boxes[k]
        if self._is_kept_out_from_afar(near, k, place):
            return None  # by its rank, and so does what overlaps it
        shares = iou(self._found.boxes, box)
        number = self._suppressing(place, self._found.origin, shares, np.flatnonzero(shares > 0))
        if number is not None:
            share, score = float(shares[number]), float(self._found.scores[number])
            why = (
                f"It was suppressed by {self._number(number)} ({self._found.names[number]!r}, score {score:.2f}), which"
                f" overlaps it by an IoU of {share:.2f}; its own score is {near.scores[k]:.2f}."
            )
            return self._candidate(near, k, "suppressed", why, {"by": number + 1, "by_iou": share})
        shares = iou(near.boxes, box)
        better = np.flatnonzero((near.scores > near.scores[k]) & (shares > 0))
        number = self._suppressing(place, near.origin, shares, better)
        if number is not None:
            why = (
                f"It was suppressed by a better candidate (score {near.scores[number]:.2f}, IoU"
                f" {shares[number]:.2f}), which was not reported either; its own score is {near.scores[k]:.2f}."
            )
            return self._candidate(near, k, "suppressed", why, {"by_iou": float(shares[number])})
        return None

    def _suppressing(
        self, place: Place, origin: Int, shares: npt.NDArray[np.float64], some: npt.NDArray[np.int64]
    ) -> int | None:
        """Which of some boxes suppresses a candidate if it is the only one beside it; None if none does.

        A candidate that is reported beside all of them together is suppressed by none: what suppresses it would have to
        be suppressed itself, and does nothing to it then. So only where it is not, each is asked about.

        Args:
            place: the candidate.
            origin: int64 [N, D], of boxes.
            shares: float64 [N], by how much they overlap it.
            some: which of them.
        """
        order = some[np.argsort(-shares[some], kind="stable")][:_TRIED].tolist()
        others: dict[int, Place] = {number: tuple(origin[number].tolist()) for number in order}
        others = {number: other for number, other in others.items() if other != place}
        together = [place, *others.values()]
        if not others or self._is_reported_with(together, whole=together):
            return None
        for number, other in others.items():
            if not self._is_reported_with([place, other], whole=[place, other]):
                return number
        return None

    def _is_kept_out_from_afar(self, near: Near, k: int, place: Place) -> bool:
        """Whether a candidate is not reported next to one that does not overlap it and has the best score there can be:
        then the model keeps one box, whatever it suppresses."""
        apart = np.flatnonzero(iou(near.boxes, near.boxes[k]) == 0)
        if not len(apart):
            return False
        far: Place = tuple(near.origin[apart[near.planted[apart].argmax()]].tolist())
        high = self._finding.plantings[far[0]].high
        return place not in self._run([far, place], [far, place], high).places

    def _by_rank(self, near: Near, k: int) -> Candidate:
        rank = self._finding.rank(float(near.scores[k]), near)
        why = (
            f"It was left out by its rank: with a score of {near.scores[k]:.3g} it is number {rank} of all candidates,"
            " and the model keeps fewer."
        )
        return self._candidate(near, k, "rank", why, {"rank": rank})

    def _needed(self, place: Place) -> tuple[float, float] | None:
        """The lowest logit at which a candidate would be reported, and its score then; None if none would do."""
        low, high = _LOWEST, _HIGHEST
        if self._finding.plantings[place[0]].activation not in ("Sigmoid", "Softmax"):
            low, high = 0.0, 1.0
        if self._finding.plantings[place[0]].activation == "Softmax":
            largest = float(self._finding.logits(self._finding.row(place)).max())
            low, high = largest + _LOWEST, largest + _HIGHEST
        if not self._is_reported_with([place], whole=[place], logit=high):
            return None
        for _ in range(_STEPS):
            middle = (low + high) / 2
            if self._is_reported_with([place], whole=[place], logit=middle):
                high = middle
            else:
                low = middle
        rows = self._run([place], [place], high)
        k = [tuple(row) for row in rows.origin.tolist()].index(place)
        return high, float(rows.scores[k])

    def _is_reported_with(self, kept: Iterable[Place], whole: Iterable[Place], logit: float | None = None) -> bool:
        """Whether the first candidate of ``whole`` is reported where only some logits are what they are.

        Args:
            kept: these; all others are low.
            whole: of these candidates, what shares a softmax with them is kept too.
            logit: of the first one, instead of its own.
        """
        asked = list(whole)
        return asked[0] in self._run(list(kept), asked, logit).places

    def _run(self, kept: list[Place], whole: list[Place], logit: float | None) -> Any:
        selection, plantings = self._finding.selection, self._finding.plantings
        if self._low is None:
            self._low = selection.low(plantings)
        changed = list(dict.fromkeys([*kept, *self._softmax(whole)]))
        for place in changed:
            number, *at = place
            where = tuple(at[: plantings[number].values.ndim])
            self._low[selection.name(place)][where] = plantings[number].values[where]
        if logit is not None:
            number, *at = whole[0]
            self._low[selection.name(whole[0])][tuple(at[: plantings[number].values.ndim])] = logit
        try:
            return selection.reported(self._finding.prediction.outputs, self._low)
        finally:  # the tensors may be large: they are not copied for each question
            for place in {*changed, *whole[:1]}:
                number, *at = place
                self._low[selection.name(place)][tuple(at[: plantings[number].values.ndim])] = plantings[number].low

    def _softmax(self, places: Iterable[Place]) -> list[Place]:
        """The other classes of some candidates, where their probabilities depend on each other."""
        found: list[Place] = []
        for place in places:
            if self._finding.plantings[place[0]].activation == "Softmax":
                found += [tuple(row) for row in self._finding.row(place).tolist()]
        return found

    def _candidate(self, near: Near, k: int, reason: Any, why: str, figures: dict[str, float]) -> Candidate:
        x1, y1, x2, y2 = (float(side) for side in near.boxes[k])
        return Candidate(
            name=self._name(near.label),
            label=near.label,
            box=(x1, y1, x2, y2),
            iou=float(near.iou[k]),
            score=float(near.scores[k]),
            logit=float(near.logits[k]),
            reason=reason,
            why=why,
            figures=figures,
            origin=near.origin[k],
        )

    def _number(self, k: int) -> str:
        """Which of the model's boxes, counted from the best one."""
        return f"box {k + 1} of {len(self._found)}"

    def _name(self, label: int) -> str:
        return self._names[label] if label < len(self._names) else f"class {label}"
