"""`boxcam methods`."""

from __future__ import annotations

import json

import click

from boxcam.commands.console import one_line, say
from boxcam.commands.headings import Command
from boxcam.commands.options import common

_HEADINGS = ("method", "layers", "passes", "gradient", "what it shows")


@click.command(cls=Command)
@common("--json", "as_json", is_flag=True, help="Print it as JSON.")
def methods(as_json: bool) -> None:
    """List the methods of `boxcam explain`, and what each costs.

    \b
    layers    where it can be used: at feature maps, at the layer image, at any, at both
              together, or at none, as it hides parts of the image
    passes    forward passes of the model for each image, all of its boxes together, or for each box;
              channels are those of the layer's maps that its boxes come from; rests are runs of what
              comes after the layer, one for each channel or cell: where boxes depend on windows of
              cells, on these only
    gradient  what it reads of the gradient: each channel's mean, which is the cheapest, each cell's
              own, that of guided backpropagation, or none; gradients cost more at earlier layers

    \b
    Examples:
      boxcam methods
      boxcam methods --json
    """
    from boxcam.explain.methods import METHODS

    rows = [(name, one.layers, str(one.passes), one.reads, one.shows) for name, one in METHODS.loaded().items()]
    if as_json:
        keys = ("method", "layers", "passes", "gradient", "shows")
        say(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2, ensure_ascii=False))
        return
    widths = [max(map(len, column)) for column in zip(*[_HEADINGS, *rows], strict=True)]
    for row in (_HEADINGS, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        say(one_line("  ".join(cells).rstrip()))
