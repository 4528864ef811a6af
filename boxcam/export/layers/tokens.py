"""Which tokens of a sequence [1, n, C] are the cells of a map, and of which rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from boxcam.bundle import Preprocess
from boxcam.errors import ExportError
from boxcam.export.graphs.query import name_and_shape, static_shape
from boxcam.export.layers.coordinates import TokenGrid
from boxcam.export.layers.receptive_field import Placement, place

_MOST_PREFIX_TOKENS = 8
_ADVICE = "Pass their rows and columns, such as tokens=(14, 14)."


@dataclass(frozen=True)
class ImageInput:
    """The image input of a graph.

    Attributes:
        name: of the graph's input.
        preprocess: what it takes.
    """

    name: str
    preprocess: Preprocess

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.preprocess.height, self.preprocess.width

    def placed(self, graph: ir.Graph) -> Placement:
        """Where the values of the graph lie on the image."""
        source = next(value for value in graph.inputs if value.name == self.name)
        return place(graph, source, (1, 2) if self.preprocess.layout == "NHWC" else (2, 3))


@dataclass(frozen=True)
class Tokens:
    """The tokens that are a map, row by row.

    Attributes:
        first: how many other tokens come before them.
        rows, columns: of the map.
    """

    first: int
    rows: int
    columns: int


def tokens_of(graph: ir.Graph, value: ir.Value, image: ImageInput, asked: Sequence[int] | None) -> Tokens:
    """The tokens of a sequence that are a map: those that come from the cells of one, or else as many as fit.

    Where the graph does not tell where the tokens come from, they are taken for square patches that tile the image,
    after a few tokens that are none.

    Args:
        graph: the graph.
        value: the tokens, [1, n, C].
        image: the graph's image input.
        asked: rows and columns as the user says them; None to find them.

    Raises:
        ExportError: they are no map, or not as many as asked; or it is not clear which map they are.
    """
    known = image.placed(graph).tokens
    return choose(value, known, image.size) if asked is None else _as_asked(value, known.get(value), asked)


def choose(value: ir.Value, known: Mapping[ir.Value, TokenGrid], size: tuple[int, int]) -> Tokens:
    """The tokens that are a map, where nobody says how many rows and columns it has.

    Args:
        value: the tokens, [1, n, C].
        known: the sequences of the graph whose tokens' places are known.
        size: height and width of the model's input.

    Raises:
        ExportError: see `tokens_of`.
    """
    if (grid := known.get(value)) is not None:
        return Tokens(grid.first, grid.rows, grid.columns)
    if known:
        raise ExportError(
            f"{name_and_shape(value)}: these tokens do not come from the cells of a feature map, as queries and"
            " detection tokens do not. Choose another layer with layers=, or pass their rows and columns with tokens=."
        )
    height, width = size
    count = (static_shape(value) or (1, 0))[1] or 0
    found = []
    for patch in range(1, min(height, width) + 1):
        if height % patch == 0 == width % patch:
            rows, columns = height // patch, width // patch
            if 0 <= (first := count - rows * columns) <= _MOST_PREFIX_TOKENS:
                found.append(Tokens(first, rows, columns))
    if len(found) != 1:
        raise ExportError(
            f"{name_and_shape(value)}: {'no grid' if not found else 'more than one grid'} of {count} tokens fits"
            f" {height}x{width} pixels. {_ADVICE}"
        )
    return found[0]


def _as_asked(value: ir.Value, grid: TokenGrid | None, asked: Sequence[int]) -> Tokens:
    """The tokens where the user says of how many rows and columns they are."""
    rows, columns = asked
    if grid is not None and (grid.rows, grid.columns) != (rows, columns):
        raise ExportError(
            f"{name_and_shape(value)}: tokens={rows}x{columns} was asked for, but the tokens come from a map of"
            f" {grid.rows}x{grid.columns} cells. Leave tokens= out."
        )
    first = grid.first if grid is not None else ((static_shape(value) or (1, 0))[1] or 0) - rows * columns
    if not 0 <= first <= (_MOST_PREFIX_TOKENS if grid is None else first):
        raise ExportError(f"{name_and_shape(value)} has no {rows}x{columns} tokens for a map. {_ADVICE}")
    return Tokens(first, rows, columns)
