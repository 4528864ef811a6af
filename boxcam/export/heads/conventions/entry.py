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
from boxcam.export.heads.evidence.columns import Segment, Span, copied, cut_out, segments
from boxcam.export.heads.evidence.forms import form_of
from boxcam.export.heads.evidence.makers import is_computed, is_transformer, last_joined, selects
from boxcam.export.heads.evidence.values import are_classes
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
        return Piece(self.tensors[role].value, columns, self.across(role), single=self.single(role))

    def number(self, written: str) -> int:
        """A sum of sizes."""
        return shapes.amount(written, self.sizes)

    def across(self, role: str) -> bool:
        """Whether a tensor's columns come before its rows."""
        axes = shapes.columns(self.entry.tensors[role])
        return len(axes) > 1 and axes[-1] in _ROWS

    def single(self, role: str) -> bool:
        """Whether a tensor has one number for each row, and so no axis of columns or one of a single column."""
        return shapes.columns(self.entry.tensors[role])[-1:] in (["N"], ["K"]) and not self.across(role)

    def rows(self, written: str) -> Array:
        """The numbers of some columns, [N, columns]."""
        role, first, end = shapes.slot(written)
        array = self.tensors[role].array
        if self.across(role):
            array = array.swapaxes(-1, -2)
        width = 1 if self.single(role) or array.ndim == 0 else array.shape[-1]
        found: Array = array.reshape(-1, width) if width else array.reshape(0, 0)
        return found if first is None or end is None else found[:, self.number(first) : self.number(end)]

    def axis(self, role: str) -> int:
        """The axis of a tensor's columns."""
        shape = self.tensors[role].array.shape
        if self.single(role) and len(shape) > 1 and shape[-1] != 1:
            return 0  # the batch's, of one
        return len(shape) - (2 if self.across(role) else 1)

    def span(self, written: str) -> Span:
        """Some columns in the graph."""
        role, first, end = shapes.slot(written)
        one, axis = self.tensors[role], self.axis(role)
        ends = (0, one.array.shape[axis]) if first is None or end is None else (self.number(first), self.number(end))
        return Span(one.made, axis, *ends)

    @cached_property
    def segments(self) -> Mapping[str, list[Segment]]:
        """The columns of each tensor by what makes them."""
        tensors = ((role, one) for role, one in self.tensors.items() if one.array.ndim)
        return {role: self._segments(role, one) for role, one in tensors}

    def _segments(self, role: str, one: ObservedTensor) -> list[Segment]:
        cut = cut_out(one.made) if self.single(role) else None
        if cut is None:
            return segments(one.made, self.axis(role))
        return [Segment(0, 1, part) for part in copied(cut)]

    def made_by(self, written: str) -> list[Segment]:
        """The segments that some columns lie in."""
        role, _, _ = shapes.slot(written)
        span = self.span(written)
        return [one for one in self.segments[role] if one.first < span.end and span.first < one.end]


_ROWS = ("N", "K")

Told = str | Callable[[Match], str]
"""What an entry declares, or a function that tells it of the outputs at hand."""


def is_selected(match: Match) -> bool:
    """Whether an operator chooses the rows, or they are a transformer's queries, of which each reports."""
    made = [one.made for one in match.tensors.values()]
    return any(selects(value) or is_transformer(value) or is_transformer(last_joined(value)) for value in made)


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
        whole: roles whose tensors hold integers, or real numbers that are all whole.
        form, scale, activation, background: declared, or told of the outputs.
        has_form: whether its layout itself has one form, which `form` falls back to: then nothing is guessed.
        decode: makes what computes boxes and scores, where they do not lie in the outputs as they are.
        decoding: what that is, for people.
        rest: what is left out, for people.
        preset: preprocessing, as ``preprocess=`` takes it.
        solve: tells sizes of names that the shapes leave open; None if the outputs are not of the entry.
        possible: whether the sizes of some of the tensors may be those of the entry, so that what cannot be is not
            joined with everything else: there are as many ways to share out outputs as powers of their number.
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
    whole: tuple[str, ...] = ()
    form: Told = "xyxy"
    has_form: bool = False
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
    possible: Callable[[Question, shapes.Sizes], bool] = lambda question, sizes: True

    def matches(self, question: Question) -> Iterator[Match]:
        """The ways to take some of the tensors that were seen as those of the entry."""
        able = replace(question, seen=tuple(one for one in question.seen if is_computed(one.value)))
        for tensors, sizes in self._taken(able, list(self.tensors), {}, {}):
            match: Match | None = Match(self, tensors, sizes, question)
            if self.solve is not None and match is not None:
                more = self.solve(match)
                match = None if more is None else replace(match, sizes={**sizes, **more})
            if match is not None and self._is_as_named(match):
                yield match

    def _taken(
        self, question: Question, roles: list[str], taken: dict[str, ObservedTensor], sizes: dict[str, int]
    ) -> Iterator[tuple[dict[str, ObservedTensor], dict[str, int]]]:
        if not roles:
            yield taken, sizes
            return
        role, *others = roles
        for one in question.seen:
            if one in taken.values() or (role in self.names and one.name not in self.names[role]):
                continue
            if not self._is_of_type(one, role):
                continue
            found = shapes.matched(self.tensors[role], one.array.shape, sizes)
            if found is not None and self.possible(question, found):
                yield from self._taken(question, others, {**taken, role: one}, found)

    def _is_of_type(self, one: ObservedTensor, role: str) -> bool:
        if one.array.dtype.kind not in "fiu":
            return False
        if role in self.whole:
            return not one.real or are_classes(one.array)
        return one.real is not (role in self.integers)

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
        question = match.question
        kind = self.kind_of(match)
        found = Convention(
            self.title,
            kind,
            match.piece(self.scores),
            match.piece(self.boxes) if self.boxes else None,
            match.piece(self.labels) if self.labels else None,
            match.piece(self.objectness) if self.objectness else None,
            form=question.box_format or _told(self.form, match),
            form_is_guessed=self._guesses_the_form(match),
            scale=question.box_scale or _told(self.scale, match),
            activation=question.score_activation or _told(self.activation, match),
            background=question.background or _told(self.background, match),
            sizes=self._sizes(match),
            iou=self.iou,
            padded=self.padded if isinstance(self.padded, bool) else self.padded(match),
            decoding=_told(self.decoding, match),
            rest=_told(self.rest, match),
            preset=self.preset,
        )
        single = self.best_class_only
        found = replace(found, best_class_only=single if isinstance(single, bool) else single(found))
        return found if self.decode is None else replace(found, decode=self.decode(match))

    def kind_of(self, match: Match) -> Kind:
        """A model that is said to select its detections, and has no operator that does, gives all its boxes."""
        if self.kind != "selected" or self.decode is not None or is_selected(match):
            return self.kind
        return "candidates"

    def _guesses_the_form(self, match: Match) -> bool:
        """Whether a few rows are all that there is to see the form by: of a transformer's queries it is known."""
        told = isinstance(self.form, str) or self.has_form or match.question.box_format is not None
        if told or self.kind_of(match) != "selected":
            return False
        made = match.tensors[shapes.slot(self.boxes)[0]].made
        known = is_transformer(made) or is_transformer(last_joined(made))
        return not known and form_of(match.span(self.boxes)) is None

    def _sizes(self, match: Match) -> tuple[int, int]:
        if self.kind == "selected":
            return 0, 0 if self.labels else 1
        return match.sizes.get("N", 1), match.sizes["C"]


def _told(declared: Told, match: Match) -> str:
    return declared if isinstance(declared, str) else declared(match)
