"""`boxcam export`."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from boxcam.bundle import Manifest, check_target
from boxcam.commands.console import one_line, say
from boxcam.commands.headings import Command, Option
from boxcam.commands.limits import limited
from boxcam.commands.options import PATH, Name, Shape, Share, accept_option, common, needs_exporter, reading_options
from boxcam.commands.progress import report_steps
from boxcam.plurals import counted
from boxcam.runtime.engines import ENGINES
from boxcam.targets import TARGETS

_boxes = partial(click.option, cls=Option, heading="Which boxes")
_gradients = partial(click.option, cls=Option, heading="What can be explained, and how")


def _models() -> str:
    """What MODEL can be, as a table."""
    from boxcam.export.sources.table import forms

    width = max(len(usage) for usage, _ in forms())
    return "\n".join(f"  {usage:<{width}}  {meaning}" for usage, meaning in forms())


def _examples() -> str:
    from boxcam.export.sources.table import examples

    return "\n".join(f"  {line}" for line in examples())


def _kinds() -> str:
    from boxcam.export import sources as _sources  # noqa: F401  (registers boxcam's own)
    from boxcam.export.source import SOURCES

    *others, last = SOURCES
    return f"{', '.join(others)} or {last}"


@click.command(
    cls=Command,
    fill={"MODELS": _models, "EXAMPLES": _examples},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
)
@click.argument("model", nargs=-1, required=True)
@common("-o", "--output", type=PATH, help="The bundle to write. [default: MODEL's name + .boxcam]")
@common(
    "--sample",
    type=PATH,
    metavar="IMAGE",
    help="Image to verify with, in which the model finds something. [default: synthetic images]",
)
@common(
    "--expect",
    type=PATH,
    metavar="FILE.json",
    help="What your own code finds on the sample (COCO results, or boxes, scores, labels), to prove that the model is"
    " read right.",
)
@common(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="neck (of detectors), roi (of two-stage ones), features (of classifiers), backbone (but of ONNX files), image,"
    " or a tensor's name; repeatable. [default: the model's own]",
)
@common(
    "--shape",
    type=Shape(),
    help="Size of the model's input. [default: the model's own; where that is dynamic, each image's]",
)
@_boxes("--score-threshold", type=Share(), help="Lowest score of a box. [default: the model's own]")
@_boxes(
    "--nms-threshold",
    "--nms",
    type=Share(),
    help="IoU above which NMS suppresses the lower-scoring box. [default: the model's own]",
)
@_gradients(
    "--target",
    "targets",
    multiple=True,
    type=Name("target", lambda: TARGETS, more=("all",)),
    default=["logit"],
    show_default=True,
    help="What of a box to make explainable: its class logit, its score as reported, a side; repeatable.",
)
@_gradients(
    "--engine",
    type=Name("engine", lambda: ("auto", *ENGINES, "both")),
    default="auto",
    show_default=True,
    help="Gradient engines to build; two of them check each other. auto: both where PyTorch is installed and has the"
    " operators, otherwise onnx.",
)
@_gradients(
    "--stop",
    "stops",
    multiple=True,
    metavar="TENSOR",
    help="Tensor that no gradient passes, as where the framework detaches it; repeatable.",
)
@reading_options()
@click.option(
    "--source",
    cls=Option,
    metavar="KIND",
    fill=_kinds,
    help="Kind of MODEL: {}. [default: recognised from MODEL]",
)
@limited
@accept_option()
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
def export(
    model: tuple[str, ...],
    output: str | None,
    source: str | None,
    layers: tuple[str, ...],
    shape: tuple[int, int] | None,
    score_threshold: float | None,
    nms_threshold: float | None,
    sample: str | None,
    engine: str,
    targets: tuple[str, ...],
    overwrite: bool,
    accept: tuple[str, ...],
    expect: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Make a bundle from a trained detector or classifier.

    MODEL is one of

    \b
    {MODELS}

    It says what it finds, and checks the bundle against the model. With the default layer and target that takes half a
    minute to two minutes; an ONNX file of a small model, seconds. Every target of every layer is differentiated and
    checked by itself: --target all takes about four times as long, --layer image ten times and more, that is minutes,
    and all targets of the image several times as long again.

    \b
    Examples:
    {EXAMPLES}
    """
    from boxcam.export import sources as _sources  # noqa: F401  (registers boxcam's own)
    from boxcam.export.source import detect_source

    kind = source or detect_source(model)
    target = Path(output) if output else _bundle_of(model, kind)
    check_target(target, overwrite=overwrite)  # before what takes time
    with needs_exporter(model, kind), report_steps(quiet) as step:
        from boxcam.export.pipeline import export as run

        began = time.monotonic()
        manifest = run(
            *model,
            output=target,
            source=kind,
            layers=layers,
            shape=shape,
            score_threshold=score_threshold,
            nms_threshold=nms_threshold,
            sample=sample,
            engine=engine,
            targets=targets,
            overwrite=overwrite,
            accept=accept,
            expect=expect,
            progress=step,
            **options,
        )
    if not quiet:
        if manifest.sample is not None:
            from boxcam.inspection import found_line

            say(one_line(f"found {found_line(manifest.sample, manifest.outputs.whole_image)}"))
        say(f"checked: {_checked(manifest)}; 'boxcam inspect' has the figures")
        names = ", ".join(layer.name for layer in manifest.layers)
        say(one_line(f"wrote {target} in {time.monotonic() - began:.0f} s (layers: {names})"))


def _checked(manifest: Manifest) -> str:
    """What was proved, and what is believed."""
    proved = f"the bundle computes what the model computes ({counted(len(manifest.verification), 'check')})"
    if manifest.sample is not None and manifest.sample.expected:
        return f"{proved}, and finds what {manifest.sample.expected} expects"
    accepted = [one.check for one in manifest.plausibility if one.accepted]
    doubts = [one.check for one in manifest.plausibility if one.verdict == "doubtful" and not one.accepted]
    if accepted or doubts:
        told = [f"{', '.join(names)} {word}" for names, word in ((doubts, "doubtful"), (accepted, "accepted")) if names]
        return f"{proved}; whether it was read right: {', '.join(told)}"
    return f"{proved}; nothing speaks against how it was read"


def _bundle_of(model: tuple[str, ...], kind: str) -> Path:
    """What a bundle is called if nobody says: as the model."""
    from boxcam.export.source import source_of

    found = source_of(model, kind)
    return Path(Path(model[0] if found is None else model[0].removeprefix(found.prefix)).stem + ".boxcam")
