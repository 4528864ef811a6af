"""Where the rows of a matched tensor lie on the image."""

from __future__ import annotations

from boxcam.errors import SourceError
from boxcam.export.graphs.query import name_and_shape
from boxcam.export.heads.conventions.entry import Match
from boxcam.export.heads.evidence import cells


def located(match: Match, role: str = "output") -> cells.Cells:
    """The cells of a tensor's rows.

    Raises:
        SourceError: the graph does not tell them.
    """
    found = cells_of(match, role)
    if found is None:
        raise SourceError(
            f"the boxes of {name_and_shape(match.tensors[role].value)} are offsets from cells, and which cell of"
            " which map each row is of cannot be seen in the graph. Export the model with decoded boxes, or compute"
            " boxes and scores from the outputs with decode=."
        )
    return found


def cells_of(match: Match, role: str = "output") -> cells.Cells | None:
    """The cells of a tensor's rows, if each row is one of a map of the graph."""
    one = match.tensors[role]
    axis = one.array.ndim - 3 + (2 if match.across(role) else 1)
    return cells.cells(cells.levels(one.made, axis), match.question.size)
