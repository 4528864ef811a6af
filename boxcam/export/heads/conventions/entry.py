"""An entry of the table of conventions, and what it is to fit one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property

from boxcam.export.graphs.query import Array
from boxcam.export.heads.convention import Convention, Decode, Kind, Piece
from boxcam.export.heads.conventions import shapes
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.evidence.columns import Segment, Span, segments
from boxcam.export.heads.evidence.makers import is_computed
from boxcam.export.heads.observed import ObservedTensor


class Fit(IntEnum):
    """How sure it is that outputs are of a convention."""

    NO = 0
    POSSIBLE = 1  # by their shapes; it is asked for, unless the user says something that settles it
    LAST = 2  # if nothing else fits
    LIKELY = 3  # by how the graph computes them, or by their numbers
    CERTAIN = 4  # by their names, or by something that no other convention has


@dataclass(frozen=True, eq=False)
class Match:
    """Outputs whose shapes are those of an entry.

    Attributes:
        entry: whose.
        tensors: by their roles.
        sizes: of the names in the shapes.
        question: what they were found in.
    """

    entry: Entry
    tensors: Mapping[str, ObservedTensor]
    sizes: Mapping[str, int]
    question: Question

    def piece(self, written: str) -> Piece:
        """A part of a tensor: ``output[4:4+C]``."""
        role, first, end = shapes.slot(written)
        columns = None if first is None or end is None else (self.number(first), self.number(end))
        return Piece(self.tensors[role].value, columns, self.across(role))

    def number(self, written: str) -> int:
        """A sum of sizes."""
        return shapes.amount(written, self.sizes)

    def across(self, role: str) -> bool:
        """Whether a tensor's columns come before its rows."""
        return shapes.axes(self.entry.tensors[role])[-1] in ("N", "K") and self.tensors[role].array.ndim > 1

    def rows(self, written: str) -> Array:
        """The numbers of some columns, [N, columns]."""
        role, first, end = shapes.slot(written)
        array = self.tensors[role].array
        if self.across(role) and array.ndim == 3:
            array = array.transpose(0, 2, 1)
        found: Array = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array[:, None]
        return found if first is None or end is None else found[:, self.number(first) : self.number(end)]

    def axis(self, role: str) -> int:
        """The axis of a tensor's columns."""
        return self.tensors[role].array.ndim - (2 if self.across(role) else 1)

    def span(self, written: str) -> Span:
        """Some columns in the graph."""
        role, first, end = shapes.slot(written)
        one, axis = self.tensors[role], self.axis(role)
        ends = (0, one.array.shape[axis]) if first is None or end is None else (self.number(first), self.number(end))
        return Span(one.made, axis, *ends)

    @cached_property
    def segments(self) -> Mapping[str, list[Segment]]:
        """The columns of each tensor by what makes them."""
        return {role: segments(one.made, self.axis(role)) for role, one in self.tensors.items()}

    def made_by(self, written: str) -> list[Segment]:
        """The segments that some columns lie in."""
        role, _, _ = shapes.slot(written)
        span = self.span(written)
        return [one for one in self.segments[role] if one.first < span.end and span.first < one.end]


Told = str | Callable[[Match], str]
"""What an entry declares, or a function that tells it of the outputs at hand."""


def always(match: Match) -> Fit:
    return Fit.LIKELY


@dataclass(frozen=True, eq=False)
class Entry:
    """How models of a kind report their detections, as it is published.

    Attributes:
        title: what it is, for `boxcam inspect` and messages.
        models: whose it is, for the page of the documentation.
        tensors: the shape of each output that it needs, by its role, see `shapes`; roles are names for this entry
            alone. The axis ``N`` (``K`` where detections are selected) is that of rows, another one that of columns.
        kind: see `boxcam.export.heads.convention.Convention`, as are all that follow.
        scores, boxes, labels, objectness: which columns of which tensor: ``output[4:4+C]``, ``output[4]``, ``labels``.
        fits: how sure it is, of outputs whose shapes are right.
        names: the names that a role's tensor must have one of.
        integers: roles whose tensors hold integers; those of all others are real.
        form, scale, activation, background: declared, or told of the outputs.
        decode: makes what computes boxes and scores, where they do not lie in the outputs as they are.
        decoding: what that is, for people.
        rest: what is left out, for people.
        preset: preprocessing, as ``preprocess=`` takes it.
        solve: tells sizes of names that the shapes leave open; None if the outputs are not of the entry.
    """

    title: str
    models: str
    tensors: Mapping[str, str]
    kind: Kind
    scores: str
    boxes: str = ""
    labels: str = ""
    objectness: str = ""
    fits: Callable[[Match], Fit] = always
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    integers: tuple[str, ...] = ()
    form: Told = "xyxy"
    scale: Told = "pixels"
    activation: Told = "none"
    background: Told = "none"
    best_class_only: bool | Callable[[Convention], bool] = False
    iou: float | None = None
    padded: bool | Callable[[Match], bool] = False
    decode: Callable[[Match], Decode] | None = None
    decoding: Told = ""
    rest: Told = ""
    preset: tuple[str, ...] = ()
    solve: Callable[[Match], Mapping[str, int] | None] | None = None

    def matches(self, question: Question) -> Iterator[Match]:
        """The ways to take some of the tensors that were seen as those of the entry."""
        able = [one for one in question.seen if is_computed(one.value)]
        for tensors, sizes in self._taken(able, list(self.tensors), {}, {}):
            match: Match | None = Match(self, tensors, sizes, question)
            if self.solve is not None and match is not None:
                more = self.solve(match)
                match = None if more is None else replace(match, sizes={**sizes, **more})
            if match is not None and self._is_as_named(match):
                yield match

    def _taken(
        self, able: list[ObservedTensor], roles: list[str], taken: dict[str, ObservedTensor], sizes: dict[str, int]
    ) -> Iterator[tuple[dict[str, ObservedTensor], dict[str, int]]]:
        if not roles:
            yield taken, sizes
            return
        role, *others = roles
        for one in able:
            if one in taken.values() or (role in self.names and one.name not in self.names[role]):
                continue
            if one.real is (role in self.integers) or one.array.dtype.kind not in "fiu":
                continue
            found = shapes.matched(self.tensors[role], one.array.shape, sizes)
            if found is not None:
                yield from self._taken(able, others, {**taken, role: one}, found)

    def _is_as_named(self, match: Match) -> bool:
        """Whether each part that the user names is of the tensor that he names."""
        for part, one in match.question.named.items():
            written: str = getattr(self, part)
            if not written or match.tensors[shapes.slot(written)[0]].value is not one.value:
                return False
        return True

    def convention(self, match: Match) -> Convention:
        """How outputs that fit are read.

        Raises:
            SourceError: something about them has to be asked.
        """
        question, sizes = match.question, match.sizes
        selected = self.kind == "selected"
        found = Convention(
            self.title,
            self.kind,
            match.piece(self.scores),
            match.piece(self.boxes) if self.boxes else None,
            match.piece(self.labels) if self.labels else None,
            match.piece(self.objectness) if self.objectness else None,
            form=question.box_format or _told(self.form, match),
            scale=question.box_scale or _told(self.scale, match),
            activation=question.score_activation or _told(self.activation, match),
            background=question.background or _told(self.background, match),
            sizes=(0, 0) if selected else (sizes.get("N", 1), sizes["C"]),
            iou=self.iou,
            padded=self.padded if isinstance(self.padded, bool) else self.padded(match),
            decoding=_told(self.decoding, match),
            rest=_told(self.rest, match),
            preset=self.preset,
        )
        single = self.best_class_only
        found = replace(found, best_class_only=single if isinstance(single, bool) else single(found))
        return found if self.decode is None else replace(found, decode=self.decode(match))


def _told(declared: Told, match: Match) -> str:
    return declared if isinstance(declared, str) else declared(match)
