"""`boxcam compare`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from boxcam.commands.console import one_line, say
from boxcam.commands.headings import Command, Option
from boxcam.commands.limits import limited
from boxcam.commands.options import PATH, Count, Name, common
from boxcam.commands.progress import progress_line
from boxcam.commands.running import METHOD, Opener, with_engine, with_model
from boxcam.targets import TARGETS

if TYPE_CHECKING:
    from boxcam.explain.comparison.cell import Cell
    from boxcam.explain.comparison.compare import Comparison, Watch


_boxes = partial(click.option, cls=Option, heading="Which box")


@click.command(
    cls=Command,
    epilog="Exit codes: 0 done, 1 the image, the result or the bundle failed or lacks what was asked for, 2 wrong"
    " usage, 130 interrupted.",
)
@click.argument("bundle", type=PATH)
@click.argument("image", type=PATH)
@common(
    "-o",
    "--output",
    default="comparison.png",
    show_default=True,
    type=PATH,
    metavar="FILE.png",
    help="Picture to write; the figures go into the .json of the same name.",
)
@common(
    "--method",
    "methods",
    multiple=True,
    type=METHOD,
    help="CAM method, a row; repeatable. [default: those of gradients and one forward pass that the bundle can do]",
)
@common(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="Layer to look at, a column; see `boxcam inspect`; repeatable. [default: all of the bundle]",
)
@common(
    "--target",
    type=Name("target", lambda: TARGETS),
    help="What of the box to explain. [default: the bundle's first, the logit]",
)
@_boxes(
    "--box",
    type=Count(1),
    default=1,
    show_default=True,
    help="Which box, counted from the best one, which is 1 (with --class: the best of these).",
)
@_boxes(
    "--class", "classes", multiple=True, metavar="NAME", help="Only boxes of this class, by name or number; repeatable."
)
@with_model
@with_engine
@limited
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
def compare(
    bundle: str,
    image: str,
    output: str,
    methods: tuple[str, ...],
    layers: tuple[str, ...],
    target: str | None,
    box: int,
    classes: tuple[str, ...],
    load: Opener,
    engine: str,
    quiet: bool,
) -> None:
    """Draw one box by several methods and layers, as a grid.

    The picture has a row for each method and a column for each layer; the methods of a single layer stand side by side.
    Every cell shows the same part of the image under its map, scaled to its own peak (a map of pixels: to the hottest
    1 % of its positive pixels), with the share of heat inside the box and the peak; above, the whole image shows where
    the part lies. Where a method cannot be used at a layer, it says why.

    \b
    Examples:
      boxcam compare retinanet.boxcam street.jpg
      boxcam compare retinanet.boxcam street.jpg --box 3 --method gradcam --method hirescam -o third.png
      boxcam compare yolov8n.boxcam street.jpg --class car --layer neck --layer image
      boxcam compare resnet50.boxcam cat.jpg --class 'tiger cat' --method gradcam --method d-rise
    """
    from boxcam.explain.comparison.compare import compare as made_of
    from boxcam.explain.comparison.files import check_picture, save
    from boxcam.explain.options import Options

    check_picture(Path(output), Path(image))
    options = Options(target=target, engine=engine, classes=classes or None)
    model = load(bundle, (image,)).runtime
    found = made_of(
        model, Path(image), options, box=box, methods=methods or None, layers=layers or None, watch=_watch(quiet)
    )
    paths = save(found, Path(output))
    if not quiet:
        for line in _table(found):
            say(one_line(line))
        say(f"wrote {paths[0]} and {paths[1]}")


def _watch(quiet: bool) -> Watch:
    """Tells which map is made, and of one that takes long what time is left."""

    @contextmanager
    def watch(done: int, total: int, cell: Cell) -> Iterator[Callable[[int, int], None]]:
        from boxcam.explain.methods import METHODS

        text = f"[{done + 1}/{total}] {cell.method} at {cell.layer}"
        with progress_line(text, METHODS[cell.method].counts, quiet) as line:
            yield line.counter()

    return watch


def _table(found: Comparison) -> list[str]:
    """The figures: a line for each method, a column for each layer."""
    from boxcam.explain.comparison.body import caption

    heads = ["method", *found.layers]
    lines = [heads, *([row[0].method, *(caption(found, cell) for cell in row)] for row in found.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
