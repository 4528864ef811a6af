"""`boxcam methods`."""

from __future__ import annotations

import click

from boxcam.commands.console import one_line, say
from boxcam.commands.headings import Command

_HEADINGS = ("method", "layers", "passes", "gradient", "what it shows")


@click.command(cls=Command)
def methods() -> None:
    """List the methods of `boxcam explain`: what each costs, and what it is good for.

    \b
    layers    where it can be used: at feature maps, at the layer image, at any, or at both together
    passes    forward passes of the model for each image, all of its boxes together
    gradient  what it reads of the gradient: each channel's mean, which is the cheapest, each cell's
              own, that of guided backpropagation, or none; gradients cost more at earlier layers
    """
    from boxcam.explain.methods import METHODS

    rows = [(name, one.layers, str(one.passes), one.reads, one.shows) for name, one in METHODS.loaded().items()]
    widths = [max(map(len, column)) for column in zip(*[_HEADINGS, *rows], strict=True)]
    for row in (_HEADINGS, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        say(one_line("  ".join(cells).rstrip()))
