"""What the user says of outputs, held against what the graph and the numbers of a run show."""

from __future__ import annotations

import warnings

import numpy as np

from boxcam.errors import BoxcamWarning, SourceError
from boxcam.export.graphs.query import Array
from boxcam.export.heads.conventions.entry import Match
from boxcam.export.heads.conventions.fits import makers_of
from boxcam.export.heads.evidence.forms import form_of
from boxcam.export.heads.evidence.makers import is_activation
from boxcam.export.heads.evidence.values import are_probabilities, largest_sizes, may_be_corners, ordered

_SIZES = {"cxcywh": "centre and size", "xywh": "corner and size", "xyxy": "corners", "yxyx": "corners, y first"}


def check(match: Match) -> None:
    """Refuse or warn of what cannot be as the user says.

    Raises:
        SourceError: an activation is put on probabilities, or none on logits; a class has no name.

    Warns:
        BoxcamWarning: a format or unit is said that the boxes do not seem to have.
    """
    question, entry = match.question, match.entry
    if question.score_activation is not None and entry.kind != "selected":
        _check_activation(match, question.score_activation)
    if entry.labels and question.classes is not None:
        scores, labels = match.rows(entry.scores), match.rows(entry.labels)
        check_names(str(match.piece(entry.labels)), labels[scores > 0], question.classes)
    if not entry.boxes:
        return
    if question.box_format is not None:
        _check_format(match, question.box_format)
    if question.box_scale is not None:
        _check_scale(match, question.box_scale)


def _check_activation(match: Match, said: str) -> None:
    entry, scores = match.entry, match.piece(match.entry.scores)
    rows = match.rows(entry.scores)
    makers = sorted(name for name in makers_of(match, entry.scores) if is_activation(name))
    if said != "none" and makers and are_probabilities(rows):
        raise SourceError(
            f'score_activation="{said}" has no meaning here: the scores {scores} are probabilities, which'
            f" {makers[0]} makes in the graph. Leave it out."
        )
    if said == "none" and not are_probabilities(rows):
        raise SourceError(
            f"the scores {scores} are from {rows.min():.3g} to {rows.max():.3g}, so they are not probabilities. Pass"
            ' score_activation="sigmoid" or score_activation="softmax".'
        )
    try:
        told = entry.activation if isinstance(entry.activation, str) else entry.activation(match)
    except SourceError:  # it has to be asked for, and the user says it
        return
    if told not in ("none", said):
        warnings.warn(
            f"the scores {scores} are meant for a {told}, as of {entry.title}. Pass"
            f' score_activation="{told}" if the scores are wrong.',
            BoxcamWarning,
            stacklevel=4,
        )


def check_names(what: str, labels: Array, known: int) -> None:
    """Refuse classes without a name: how many there are is not known, but those of the run are.

    Args:
        what: where the classes are, for people.
        labels: those of the run; -1 where there is none.
        known: how many names there are, from class 0 on.

    Raises:
        SourceError: a class has no name.
    """
    labels = labels[np.isfinite(labels) & (labels >= 0)]
    highest = labels.max(initial=-1)
    if highest == known and known > 1 and labels.min(initial=known) >= 1:
        raise SourceError(
            f"{what} has classes {int(labels.min())} to {known} and no class 0, and there {_names(known)}: the model"
            " seems to count its classes from 1, and each would have the name of another. Pass a name for class 0"
            ' first, such as "background", with class_names=.'
        )
    if highest >= known:
        raise SourceError(
            f"{what} has class {int(highest)}, but there {_names(known)}, from class 0 on. Pass one name for each"
            " class with class_names=."
        )


def _names(count: int) -> str:
    return "is 1 class name" if count == 1 else f"are {count} class names"


def _check_format(match: Match, said: str) -> None:
    entry, boxes = match.entry, match.rows(match.entry.boxes)
    told = None if entry.decode is not None else form_of(match.span(entry.boxes))
    if entry.kind == "selected" and (told, said) == ("xywh", "xyxy") and may_be_corners(boxes):
        return  # a table whose numbers speak for corners: this was asked
    declared = entry.form if isinstance(entry.form, str) else None
    shown, who = (told, "the graph computes") if told is not None else (declared, f"{entry.title} has")
    if shown is not None and shown != said:
        _warn(f"{who} {match.piece(entry.boxes)} as {_SIZES[shown]}", f'box_format="{shown}"')
    elif shown is None and said in ("xyxy", "yxyx") and ordered(boxes) < 0.5:
        _warn(f"most boxes of {match.piece(entry.boxes)} would have no area with box_format={said}", "another one")


def _check_scale(match: Match, said: str) -> None:
    declared = match.entry.scale
    if match.entry.decode is not None and isinstance(declared, str):  # the numbers are none of boxes yet
        if said != declared:
            _warn(f"boxes as of {match.entry.title} are in {declared}", f'box_scale="{declared}"')
        return
    sizes = largest_sizes(match.rows(match.entry.boxes))
    if not sizes.size:
        return
    middle = float(sorted(sizes)[len(sizes) // 2])
    if (said == "normalized") is not (middle <= 1.5):
        better = "pixels" if said == "normalized" else "normalized"
        _warn(
            f"numbers of {match.piece(match.entry.boxes)} are about {middle:.3g}, which does not look {said}",
            f'box_scale="{better}"',
        )


def _warn(what: str, better: str) -> None:
    warnings.warn(f"{what}. Pass {better} if the boxes lie in the wrong place.", BoxcamWarning, stacklevel=3)
