"""`boxcam explain`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from boxcam.commands.console import error_line, one_line, say
from boxcam.commands.headings import Command, Option
from boxcam.commands.limits import limited
from boxcam.commands.options import PATH, Box, Count, Name, Share, common
from boxcam.commands.progress import ProgressLine, progress_line
from boxcam.commands.running import METHOD, Opener, with_engine, with_model
from boxcam.errors import ArgumentError, BoxcamError, InputError, OutputError, RunError
from boxcam.explain.look import SCALES, STYLES, Scale, Style
from boxcam.targets import TARGETS

_TOP = 10
"""How many boxes of an image are explained, if nothing else is said."""
_LARGE = 1 << 28
"""Bytes of maps from which on it is said how large they are going to be."""
_boxes = partial(click.option, cls=Option, heading="Which boxes")
_missed = partial(click.option, cls=Option, heading="Why not, and why not another class")
_again = partial(click.option, cls=Option, heading="Of methods that run the model again")
_sheets = partial(click.option, cls=Option, heading="How sheets look")


@click.command(
    cls=Command,
    epilog="Exit codes: 0 done (also if there is no box), 1 an input, a result or the bundle failed or lacks what was"
    " asked for, 2 wrong usage, 130 interrupted.",
)
@click.argument("bundle", type=PATH)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@common("-o", "--output", default="explanations", show_default=True, type=PATH, help="Folder to write to.")
@common(
    "--method",
    type=METHOD,
    help="CAM method. [default: hirescam for detectors and with --against, gradcam for classifiers]",
)
@common(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="Layer to look at; see `boxcam inspect`; repeatable. [default: the bundle's first]",
)
@common(
    "--fuse",
    type=Name("fusion", lambda: ("max", "mean")),
    help="How the maps of several layers become one, each as a share of its peak. [default: max]",
)
@common(
    "--target",
    type=Name("target", lambda: TARGETS),
    help="What of a box to explain. [default: the bundle's first, the logit]",
)
@_boxes(
    "--score",
    type=Share(),
    help="Lowest score of a box. [default: 0.3; 0 with --rank, and with --class of a classifier]",
)
@_boxes("--top", type=Count(1), help="At most so many boxes an image. [default: 10; all with --rank]")
@_boxes(
    "--class", "classes", multiple=True, metavar="NAME", help="Only boxes of this class, by name or number; repeatable."
)
@_boxes(
    "--rank",
    multiple=True,
    type=Count(1),
    help="Only this box, counted from the best one, which is 1 (with --class: the best of these); repeatable.",
)
@_missed(
    "--at",
    type=Box(),
    help="Explain the best candidate at this place, of --class or of the likeliest class, and say why it was not"
    " reported; in image pixels.",
)
@_missed(
    "--against",
    metavar="CLASS",
    help="Explain what speaks for a box's class rather than for this one; 'runner-up' for the one that comes next.",
)
@_again("--masks", type=Count(1), help="Of d-rise: how many masks, each for a forward pass. [default: 5000]")
@_again("--passes", type=Count(1), help="Of patch-search: how many forward passes for each box. [default: 40]")
@_again("--samples", type=Count(1), help="Of smooth-grad: how many noisy images. [default: 50]")
@_again(
    "--noise",
    type=Share(),
    help="Of smooth-grad: how much noise, as a share of the range of the image's values. [default: 0.15]",
)
@_again("--seed", type=Count(0), help="Of what these draw: the same for the same seed. [default: 0]")
@_sheets(
    "--style",
    type=Name("style", lambda: STYLES),
    default="blend",
    show_default=True,
    help="Heat as colours, or as lines of equal heat on the picture as it is.",
)
@_sheets(
    "--scale",
    type=Name("scale", lambda: SCALES),
    default="per-box",
    show_default=True,
    help="The strongest colour is each map's own peak, or the largest peak of the image's boxes for all of them.",
)
@with_model
@with_engine
@limited
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
def explain(
    bundle: str,
    inputs: tuple[str, ...],
    output: str,
    method: str | None,
    layers: tuple[str, ...],
    fuse: str | None,
    target: str | None,
    engine: str,
    score: float | None,
    top: int | None,
    classes: tuple[str, ...],
    rank: tuple[int, ...],
    at: tuple[float, float, float, float] | None,
    against: str | None,
    masks: int | None,
    passes: int | None,
    samples: int | None,
    noise: float | None,
    seed: int | None,
    style: Style,
    scale: Scale,
    load: Opener,
    quiet: bool,
) -> None:
    """Draw a heatmap for each box that a bundle's detector finds.

    INPUT is images, folders or patterns. Each image gives a sheet of heatmaps (.png), the raw maps (.npz, float32
    [K, height, width]) and the facts (.json). The page index.html shows all boxes of the run in a browser, to sort and
    filter them; it is one file that loads nothing else.

    \b
    Examples:
      boxcam explain retinanet.boxcam street.jpg -o out
      boxcam explain retinanet.boxcam photos/ 'more/**/*.png' --class car --top 3
      boxcam explain faster-rcnn.boxcam street.jpg --layer roi --score 0.5
      boxcam explain resnet50.boxcam cat.jpg --class 'tiger cat' --class tabby
      boxcam explain resnet50.boxcam cat.jpg --rank 1 --rank 2
      boxcam explain retinanet.boxcam street.jpg --at 10,20,50,80 --class car
      boxcam explain retinanet.boxcam street.jpg --class car --against truck
      boxcam explain retinanet.boxcam street.jpg --style contours --scale common
    """
    from boxcam.commands.summary import WORDS, lines_of, total
    from boxcam.explain.browse.index import Index
    from boxcam.explain.files import make_folder
    from boxcam.explain.look import look
    from boxcam.explain.methods import METHODS
    from boxcam.explain.names import check_is_folder, choose_names
    from boxcam.runtime.images import find_images

    asked: dict[str, Any] = {
        "method": method, "layer": layers or None, "fuse": fuse, "target": target, "engine": engine,
        "score": score, "top": _TOP if top is None and not rank and at is None else top,
        "classes": classes or None, "rank": rank or None, "at": at, "against": against,
        "masks": masks, "passes": passes, "samples": samples, "noise": noise, "seed": seed,
    }  # fmt: skip
    check_is_folder(output)
    index = Index(Path(output))
    model = load(bundle, inputs)
    model.prepare(**asked)
    channels = model.manifest.preprocess.channels
    one, _ = WORDS[model.manifest.outputs.whole_image]
    missing: list[InputError] = []
    files = find_images(inputs, missing, model.manifest.preprocess.channels)
    broken: list[BoxcamError] = [*missing]
    written, empty = 0, 0
    counts = "box" if method is None else METHODS[method].counts  # the defaults run the model once
    try:
        names = choose_names(files, Path(output))
        folder = make_folder(output) if files else Path(output)
        for number, (file, name) in enumerate(zip(files, names, strict=True), 1):
            with progress_line(f"[{number}/{len(files)}] {file.name}", one, quiet) as line:
                try:
                    count = _counter(line, file, channels) if counts == "box" else line.counter(one=counts)
                    explanation = model.explain(file, **asked, progress=count)
                    how = look(style, scale, explanation.signed, explanation.of_pixels)
                    index.save(explanation, name, line.counter("writing"), how)
                except (InputError, OutputError) as error:
                    broken.append(error)
                    continue
                except ArgumentError as error:  # what is asked for is no part of this image: it may be of others
                    if at is None:
                        raise
                    broken.append(InputError(f"{file}: {error}"))
                    continue
                except RunError as error:
                    broken.append(RunError(f"{file}: {error}"))
                    continue
            written, empty = written + 1, empty + (not len(explanation))
            if not quiet:
                for said in lines_of(explanation):
                    say(one_line(f"{file.name}: {said}"))
        page = index.write()
        if files and not quiet:
            say(total(written, empty, len(files) + len(missing), folder, one))
            if page is not None:
                say(f"browse them in {page}")
    except BaseException:  # what is done has its page, and no page of an earlier run stands beside it
        with contextlib.suppress(BoxcamError):
            index.write()
        raise
    finally:
        for failure in broken:
            say(error_line(failure), err=True)
    if broken:
        raise click.exceptions.Exit(1)


def _counter(line: ProgressLine, file: Path, channels: int) -> Callable[[int, int], None]:
    """Counts what is explained of an image; says before how large the maps are going to be, if they are many."""
    from boxcam.runtime.planes import read_planes

    count = line.counter()

    def counter(done: int, total: int) -> None:
        if done == 0 and total > _TOP:
            height, width = read_planes(file, channels).shape[:2]  # as it was read to be explained
            size = 4 * total * height * width
            if size >= _LARGE:
                line.announce(
                    f"{total} maps of {height}x{width} pixels, {size / 1e9:.1f} GB before compression. --top, --score"
                    " or --class make them fewer."
                )
        count(done, total)

    return counter
