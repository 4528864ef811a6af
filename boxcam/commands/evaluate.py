"""`boxcam evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from boxcam.commands.console import error_line, one_line, say
from boxcam.commands.headings import Command, Option
from boxcam.commands.limits import limited
from boxcam.commands.options import Count, Name, Share, common
from boxcam.commands.progress import WholeRun, progress_line
from boxcam.commands.running import METHOD, Opener, with_model

if TYPE_CHECKING:
    from boxcam.explain.evaluation.run import Watch


def _metrics() -> Collection[str]:
    """The metrics, imported when they are needed."""
    from boxcam.explain.metrics import METRICS

    return METRICS


def _fills() -> Collection[str]:
    """What images are hidden by, imported when it is needed."""
    from boxcam.explain.metrics.fills import FILLS

    return FILLS


def _described() -> str:
    """The metrics, with what each says."""
    from boxcam.explain.metrics import METRICS

    arrows = {"higher": "higher is better", "lower": "lower is better", "neither": ""}
    needs = {"box": "", "objects": "annotations", "masks": "masks"}
    rows = [
        (name, "; ".join(filter(None, (one.shows, arrows[one.better], needs[one.needs]))))
        for name, one in METRICS.loaded().items()
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name.ljust(width)}  {said}" for name, said in rows)


_TOP = 10
_protocol = partial(click.option, cls=Option, heading="How it is measured")
_boxes = partial(click.option, cls=Option, heading="Which boxes")


@click.command(
    cls=Command,
    fill={"METRICS": _described},
    epilog="Exit codes: 0 done, 1 an input, a result or the bundle failed or lacks what was asked for, 2 wrong"
    " usage, 130 interrupted.",
)
@click.argument("bundle", type=click.Path())
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@common("-o", "--output", default="evaluation", show_default=True, type=click.Path(), help="Folder to write to.")
@common(
    "--annotations",
    type=click.Path(),
    metavar="PATH",
    help="The objects in the images: a JSON file of COCO's form, or a folder of YOLO's text files or Pascal VOC's XML"
    " files. [default: the boxes of the model itself]",
)
@common(
    "--method",
    "methods",
    multiple=True,
    type=METHOD,
    default=("gradcam", "hirescam"),
    show_default=True,
    help="CAM method; repeatable.",
)
@common(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="Layer to look at, each by each method; repeatable. [default: the bundle's first]",
)
@_protocol(
    "--metric",
    "metrics",
    multiple=True,
    type=Name("metric", _metrics),
    help="What is measured; repeatable. [default: all that the annotations allow]",
)
@_protocol(
    "--fill",
    "fills",
    multiple=True,
    type=Name("fill", _fills),
    default=("blur",),
    show_default=True,
    help="What hides pixels in insertion, deletion and oa; repeatable.",
)
@_protocol("--steps", type=Count(1), default=20, show_default=True, help="Steps of their curves.")
@_protocol("--iou", type=Share(), default=0.5, show_default=True, help="IoU above which a box shows an object.")
@_protocol("--seed", type=Count(0), default=0, show_default=True, help="Of noise, ties, shuffling and intervals.")
@_protocol(
    "--sanity",
    type=Count(0),
    default=0,
    metavar="STAGES",
    help="Also shuffle the model's weights in so many stages, from the outputs down, and compare the maps: 5, say.",
)
@_protocol("--agreement", is_flag=True, help="Also compare the maps of methods and layers with each other.")
@_boxes("--score", type=Share(), help="Lowest score of a box. [default: 0.3]")
@_boxes("--top", type=Count(1), default=_TOP, show_default=True, help="At most so many boxes an image.")
@with_model
@limited
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the table, errors and warnings.")
def evaluate(
    bundle: str,
    inputs: tuple[str, ...],
    output: str,
    annotations: str | None,
    methods: tuple[str, ...],
    layers: tuple[str, ...],
    metrics: tuple[str, ...],
    fills: tuple[str, ...],
    steps: int,
    iou: float,
    seed: int,
    sanity: int,
    agreement: bool,
    score: float | None,
    top: int,
    load: Opener,
    quiet: bool,
) -> None:
    """Measure how good heatmaps are, by methods and layers.

    INPUT is images, folders or patterns. All methods are measured on the same boxes: those that match an object of the
    annotations, or, without annotations, all that the model draws. The table is printed, and written as
    evaluation.json (with the figures of each box), .csv and .md.

    \b
    Metrics:
    {METRICS}

    \b
    Examples:
      boxcam evaluate retinanet.boxcam photos/ --method gradcam --method hirescam
      boxcam evaluate retinanet.boxcam val2017/ --annotations instances_val2017.json --layer neck --layer backbone
      boxcam evaluate yolov8n.boxcam images/val/ --annotations labels/val/ --metric pointing --metric energy
      boxcam evaluate retinanet.boxcam photos/ --metric sparseness --sanity 5 --agreement
      boxcam evaluate retinanet.boxcam street.jpg --metric oa --fill blur --fill black --steps 50
    """
    from boxcam.explain.evaluation.report import as_text, check_free, notes
    from boxcam.explain.evaluation.request import Request
    from boxcam.explain.evaluation.run import Run
    from boxcam.explain.files import make_folder
    from boxcam.explain.names import check_is_folder

    check_is_folder(output)
    check_free(output)
    model = load(bundle, inputs)
    request = Request(
        method=methods,
        layer=layers or None,
        metrics=metrics or None,
        fills=fills,
        steps=steps,
        iou=iou,
        seed=seed,
        score=score,
        top=top,
        sanity=sanity,
        agreement=agreement,
    )
    run = Run(model.runtime, inputs, annotations, request)
    found = run.result
    try:
        if run.files:
            make_folder(output)  # for an error before the first image, not after the last
        run.all(_watch(len(run.files), quiet))
        if found.images:
            for text in as_text(found):
                say(one_line(text))
            paths = found.save(output)
            if not quiet:
                for text in (*notes(found), f"wrote {', '.join(path.name for path in paths)} to {output}"):
                    say(one_line(text))
    finally:
        for failure in found.failures:
            say(error_line(failure), err=True)
    if found.failures:
        raise click.exceptions.Exit(1)


def _watch(total: int, quiet: bool) -> Watch:
    """Tells of each image how far it is, and what time is left of all."""
    whole = WholeRun(total)

    @contextmanager
    def watch(number: int, total: int, file: Path) -> Iterator[Callable[[int, int], None]]:
        with progress_line(f"[{number + 1}/{total}] {file.name}", "map", quiet, whole) as line:
            yield line.counter("measuring")

    return watch
